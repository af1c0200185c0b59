//! Whether a replica may vote and ask for votes.
//!
//! Invariant: on probation it does neither, whenever and by whomever it was opened.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use covey_state::GroupId;
use covey_storage::GroupLog;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Replica, stopped};
use crate::consensus::Raft;
use crate::error::Error;
use crate::freshness::MetricsWatch;
use crate::probation::Probation;

impl Replica {
    /// Whether it may vote. For one lease after the start of a node that was there before it may not: the node may have
    /// confirmed a leader just before it stopped, and that leader relies on it until its lease is over.
    pub(crate) fn may_vote(&self) -> bool {
        Instant::now() >= self.votes_from && !self.on_probation()
    }

    /// Whether it began anew and has not heard of its own admission yet.
    pub(crate) fn on_probation(&self) -> bool {
        let probation = *self.probation.lock().unwrap_or_else(PoisonError::into_inner);
        probation.is_some_and(|probation| probation.lasts(newest_membership(&self.metrics)))
    }

    /// Takes in that a later leader admits it.
    pub(crate) async fn admitted(&self, again: Probation) -> Result<(), Error> {
        let earlier = *self.probation.lock().unwrap_or_else(PoisonError::into_inner);
        let believed = match earlier {
            Some(earlier) => self.on_probation() && again.replaces(earlier),
            // A replica that has nothing yet may have been opened without it, before somebody thought of admitting it.
            None => newest_membership(&self.metrics).is_none(),
        };
        if !believed {
            return Ok(());
        }
        // It was opened without it.
        self.campaigns.store(false, Ordering::Relaxed);
        self.raft.runtime_config().elect(false);
        save_probation(&self.log, again).await?;
        *self.probation.lock().unwrap_or_else(PoisonError::into_inner) = Some(again);
        Ok(())
    }

    /// Whether it waits to be told that it is to live.
    pub(crate) fn is_prepared(&self) -> bool {
        let probation = *self.probation.lock().unwrap_or_else(PoisonError::into_inner);
        probation == Some(Probation::UNTIL_TOLD)
    }

    /// Takes in that it is to live.
    pub(crate) async fn told(&self) -> Result<(), Error> {
        save_probation(&self.log, Probation::OVER).await?;
        *self.probation.lock().unwrap_or_else(PoisonError::into_inner) = Some(Probation::OVER);
        self.allow_campaign();
        Ok(())
    }

    /// Lets it ask for votes as soon as it may vote.
    pub(crate) fn allow_campaign(&self) {
        if self.may_vote() && !self.campaigns.load(Ordering::Relaxed) {
            self.campaigns.store(true, Ordering::Relaxed);
            self.raft.runtime_config().elect(true);
        }
    }
}

/// Whether nobody else has a vote, so that nobody can be contradicted.
pub(super) async fn votes_alone(raft: &Raft, group: GroupId) -> Result<bool, Error> {
    let voters = raft.with_raft_state(|state| {
        let effective = state.membership_state.effective();
        effective.membership().voter_ids().count()
    });
    let voters = voters.await.map_err(|fatal| stopped(group, &fatal))?;
    Ok(voters <= 1)
}

/// The index of the newest membership that a replica has.
pub(super) fn newest_membership(metrics: &MetricsWatch) -> Option<u64> {
    let metrics = metrics.borrow_watched();
    metrics.membership_config.log_id().as_ref().map(|id| id.index)
}

/// Writes down what a replica has to hear of before it may vote; returns when that is durable.
pub(crate) async fn save_probation(log: &GroupLog, probation: Probation) -> Result<(), Error> {
    let group = log.id();
    let (done, saved) = oneshot::channel();
    let told = Box::new(move |outcome| drop(done.send(outcome)));
    log.save_probation(probation.store(), told)
        .map_err(Error::storage("write the probation", group))?;
    match saved.await {
        Ok(outcome) => outcome.map_err(Error::storage("write the probation", group)),
        Err(_) => Err(Error::Stopped {
            group,
            reason: "the log committer is gone".to_owned(),
        }),
    }
}
