//! What the leader of one term changes in its group.
//!
//! Invariant: what was decided in a term is done by that term's leader, or never. Whoever decides looks at who takes part and
//! which replicas are intact, and under a later leader both may be otherwise. Only a leader that is to lose its vote cannot make
//! the change itself: it hands over, and whoever leads then makes it.

use std::collections::BTreeSet;

use covey_state::{GroupId, NodeId};
use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::forward::{LeaderCall as _, Outcome};
use crate::host::Host;
use crate::members::{self, Change, ChangeCall};

/// A group in one term of its leader, who is on this node. Nothing asked of it outlasts the term.
pub struct Tenure {
    host: Host,
    group: GroupId,
    term: u64,
}

impl Tenure {
    pub(crate) fn new(host: Host, group: GroupId, term: u64) -> Self {
        Self { host, group, term }
    }

    /// Replaces the voters; new ones must be learners and are waited for until they have nearly caught up.
    ///
    /// # Errors
    /// [`Error::Refused`] when it cannot be, or this node does not lead in that term any more; then a change may be half
    /// done. [`Error::Deadline`] when time runs out.
    pub async fn change_voters(
        &self,
        voters: BTreeSet<NodeId>,
        retain_as_learners: bool,
        deadline: impl Into<Instant> + Send,
    ) -> Result<(), Error> {
        if !voters.contains(&self.host.identity().node) {
            members::leads_in(&*self.host.inner.hosted(self.group)?, self.term)?;
            let changed = self
                .host
                .change_voters(self.group, voters, retain_as_learners, deadline);
            return changed.await;
        }
        let change = Change::ReplaceVoters {
            voters,
            retain_as_learners,
        };
        self.change(change, deadline.into()).await
    }

    /// Removes a node that does not vote.
    ///
    /// # Errors
    /// As [`Tenure::change_voters`].
    pub async fn remove_learner(
        &self,
        node: NodeId,
        deadline: impl Into<Instant> + Send,
    ) -> Result<(), Error> {
        self.change(Change::RemoveLearner(node), deadline.into()).await
    }

    /// Hands leadership to a voter and returns when it leads. A later leader is not asked to.
    ///
    /// # Errors
    /// As [`Tenure::change_voters`]; the voter may still take over.
    pub async fn transfer_leader(
        &self,
        to: NodeId,
        deadline: impl Into<Instant> + Send,
    ) -> Result<(), Error> {
        self.change(Change::TransferLeader(to), deadline.into()).await
    }

    async fn change(&self, change: Change, deadline: Instant) -> Result<(), Error> {
        let group = self.group;
        let replica = self.host.inner.hosted(group)?;
        let lag_max = self.host.inner.config.promote_lag_max;
        let made = members::make(&replica, change, lag_max, deadline, Some(self.term));
        let refused = |reason| Err(Error::Refused { group, reason });
        match timeout_at(deadline, made).await {
            Ok(Outcome::Done(())) => Ok(()),
            Ok(Outcome::Busy(busy)) => Err(busy.into()),
            Ok(Outcome::Ahead(_) | Outcome::NotLeader(_)) => refused(members::leads_no_more(self.term)),
            Ok(Outcome::NotHosted) => refused("the replica has stopped".to_owned()),
            Ok(Outcome::Unavailable(reason) | Outcome::Rejected(reason)) => refused(reason),
            Err(_) => Err(Error::Deadline {
                group,
                operation: ChangeCall::NAME,
                obstacle: "the change was not committed".to_owned(),
            }),
        }
    }
}
