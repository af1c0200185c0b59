//! Whether this replica leads, as far as a reader may rely on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covey_storage::planted::{Bug, is_planted};
use openraft::LinearizerOption;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::time::Instant;

use crate::config::HostConfig;
use crate::consensus::Raft;
use crate::contact::Contacts;
use crate::forward::Outcome;

/// What confirms the leadership of one replica.
#[derive(Clone)]
pub(crate) struct Leadership {
    raft: Raft,
    contacts: Arc<Contacts>,
    confirming: Arc<AtomicBool>,
    /// What is asked of the library.
    question: LinearizerOption,
    /// A quorum that accepted the leader no longer ago than this is enough; zero without leases.
    lease: Duration,
    /// How long a quorum may take to answer.
    patience: Duration,
}

impl Leadership {
    /// `confirming` is set while a confirmation is under way, so that the heartbeats that bring it do not wait for those of
    /// other groups.
    pub(crate) fn new(
        raft: Raft,
        contacts: Arc<Contacts>,
        confirming: Arc<AtomicBool>,
        config: &HostConfig,
    ) -> Self {
        Self {
            raft,
            contacts,
            confirming,
            question: config.confirmation(),
            lease: config.lease(),
            patience: config.election_max,
        }
    }

    /// Confirms with a quorum that this replica leads, and tells the index that a read must wait for.
    pub(crate) async fn confirm(&self) -> Outcome<u64> {
        if is_planted(Bug::SkipReadIndex) {
            return self.guess();
        }
        let asked = Instant::now();
        self.confirming.store(true, Ordering::Relaxed);
        let confirmed = tokio::time::timeout(self.patience, self.confirmed(asked)).await;
        self.confirming.store(false, Ordering::Relaxed);
        confirmed.unwrap_or_else(|_| {
            Outcome::Unavailable(format!(
                "no quorum answered the leader within {:?}",
                self.patience
            ))
        })
    }

    /// The library has the members asked, and says up to where a read must wait. Whether a quorum has really answered a
    /// question asked since, the contacts say.
    async fn confirmed(&self, asked: Instant) -> Outcome<u64> {
        let (leader, index) = match self.raft.get_read_linearizer(self.question.clone()).await {
            Ok(linearizer) => {
                let read = linearizer.read_log_id();
                (*read.committed_leader_id(), read.index())
            }
            Err(RaftError::Fatal(_)) => return Outcome::NotHosted,
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                return Outcome::elsewhere(to);
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error))) => {
                return Outcome::Unavailable(error.to_string());
            }
        };
        let since = asked.checked_sub(self.lease).unwrap_or(asked);
        let mut server = self.raft.server_metrics();
        // It is the newest membership or the one before, and each quorum of the one meets each quorum of the other.
        let members = Arc::clone(&server.borrow_watched().membership_config);
        let replaced = async {
            while server.borrow_watched().vote.leader_id.term <= leader.term && server.changed().await.is_ok()
            {
            }
        };
        tokio::select! {
            biased;
            () = self.contacts.wait(leader, members.membership(), since) => Outcome::Done(index),
            () = replaced => Outcome::Unavailable("the leader was replaced meanwhile".to_owned()),
        }
    }

    /// See [`Bug::SkipReadIndex`].
    fn guess(&self) -> Outcome<u64> {
        let applied = self.raft.metrics().borrow_watched().last_applied;
        let index = applied.map_or(0, |last| last.index);
        let leads = self.raft.as_leader();
        leads.map_or_else(Outcome::elsewhere, |_| Outcome::Done(index))
    }
}
