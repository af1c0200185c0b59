//! Who is in the group: nodes leave it for a while, forget it, and are admitted anew.
//!
//! It does one step at a time and looks again, as a node's own membership does: a new member is opened on probation,
//! then admitted by the leader it heard of, then made a voter; a leaving one loses its vote, then its place, then its data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covey_cluster::{GroupStatus, Host, Peer, Probation, Role, Wipe};
use covey_state::NodeId;
use tokio::time::Instant;

use super::World;
use crate::event::Event;
use crate::node::{GROUP, Node};
use crate::trace::Trace;

/// How long a step may take on the clock of its node.
const STEP_WITHIN: Duration = Duration::from_secs(3);

impl World {
    /// Makes the next step towards the members that the group is to have.
    pub(super) fn keep_members(&mut self) {
        if !self.founded {
            return;
        }
        let leads = |node: &&Node| node.status().is_some_and(|status| status.role == Role::Leader);
        let Some(leader) = self
            .nodes
            .iter()
            .filter(leads)
            .max_by_key(|node| node.status().map(|status| status.term))
        else {
            return;
        };
        let (Some(status), Some((host, runtime))) = (leader.status(), leader.host()) else {
            return;
        };
        // A leader that has been followed by another one may not know who is a member.
        if status.term < self.newest_term {
            return;
        }
        self.newest_term = status.term;
        let wanted: BTreeSet<NodeId> = self.schedule.ids().filter(|id| !self.away.contains(id)).collect();
        let voters: BTreeSet<NodeId> = status.voters.iter().copied().collect();
        let learners: BTreeSet<NodeId> = status.learners.iter().copied().collect();
        let member = |id: &NodeId| voters.contains(id) || learners.contains(id);
        let newcomer = self
            .nodes
            .iter()
            .find(|node| wanted.contains(&node.id) && !member(&node.id) && node.is_up());
        if let Some(node) = newcomer {
            let probation = Probation {
                term: status.term,
                index: status.last_log_index.unwrap_or(0),
            };
            let held = lock(&self.admitted).get(&node.id).copied();
            if held.is_some_and(|held| held.term == status.term) && node.status().is_some() {
                runtime.spawn(admit(host.clone(), node.peer(), probation));
            } else if let Some((theirs, runtime)) = node.host() {
                runtime.spawn(open(
                    theirs.clone(),
                    node.id,
                    probation,
                    Arc::clone(&self.admitted),
                ));
            }
            return;
        }
        let next = wanted.iter().copied().filter(member).collect::<BTreeSet<_>>();
        if next != voters && next.len() > self.nodes.len() / 2 {
            runtime.spawn(vote(host.clone(), next.clone()));
            self.trace.event(Event::VotersAsked { voters: next });
        } else if let Some(gone) = learners.iter().copied().find(|id| !wanted.contains(id)) {
            runtime.spawn(dismiss(host.clone(), gone));
        } else {
            self.forget(&status);
        }
    }

    /// Has nodes forget the group that are not in it any more.
    fn forget(&self, leader: &GroupStatus) {
        let settled = leader.committed_index >= leader.last_log_index;
        let member = |id: &NodeId| leader.voters.contains(id) || leader.learners.contains(id);
        for node in self
            .nodes
            .iter()
            .filter(|node| self.away.contains(&node.id) && !member(&node.id))
        {
            if let Some((host, runtime)) = node.host().filter(|_| settled && node.status().is_some()) {
                lock(&self.admitted).remove(&node.id);
                runtime.spawn(close(host.clone(), node.id, self.trace.clone()));
            }
        }
    }
}

/// What each newcomer has stored of what it has to hear of.
pub(super) type Admitted = Arc<Mutex<BTreeMap<NodeId, Probation>>>;

fn lock(admitted: &Admitted) -> MutexGuard<'_, BTreeMap<NodeId, Probation>> {
    admitted.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn open(newcomer: Host, node: NodeId, probation: Probation, admitted: Admitted) {
    if newcomer.admit_group(GROUP, probation).await.is_ok() {
        lock(&admitted).insert(node, probation);
    }
}

async fn close(leaver: Host, node: NodeId, trace: Trace) {
    if leaver.close_group(GROUP, Wipe::Erase).await.is_ok() {
        trace.event(Event::Forgot { node });
    }
}

async fn admit(leader: Host, peer: Peer, probation: Probation) {
    // It is tried again at the next look.
    drop(leader.admit_learner(GROUP, peer, probation).await);
}

async fn vote(leader: Host, voters: BTreeSet<NodeId>) {
    drop(
        leader
            .change_voters(GROUP, voters, true, Instant::now() + STEP_WITHIN)
            .await,
    );
}

async fn dismiss(leader: Host, node: NodeId) {
    drop(
        leader
            .remove_learner(GROUP, node, Instant::now() + STEP_WITHIN)
            .await,
    );
}
