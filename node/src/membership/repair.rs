//! A damaged replica is rebuilt from the others: its group lets it go, it erases what it has, and it is admitted anew as a
//! learner, as every replica that the placement wants and that is not there.
//!
//! Invariants: it erases nothing before its group has committed a membership without it, because until then its vote and
//! the entries that it has acknowledged count; its group lets it go only when a majority of the voters is intact, and
//! alive, without it; it votes again only when it has heard of its own admission (see `Probation`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use covey_cluster::{Consistency, GroupStatus, Role, Wipe};
use covey_proto::node::v1 as node_v1;
use covey_state::{GroupId, NodeId, Rejection};
use tokio::time::{Instant, sleep, timeout};

use super::reconcile::Change;
use super::report::Reports;
use super::{Membership, has_member};
use crate::api::Caller;
use crate::error::{Failure, chain};
use crate::peers::Peers;

/// How often a node looks for damaged replicas.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a group gets to let a replica go.
const DISMISS_LIMIT: Duration = Duration::from_secs(10);
/// How long nodes get to say whether they are intact.
const REPORT_LIMIT: Duration = Duration::from_secs(2);
/// Voters that are let go do not stay as learners: they have to begin anew.
const RETAIN: bool = false;

impl Membership {
    /// Has the damaged replicas of this node rebuilt, again and again.
    pub(super) async fn keep_repaired(self) {
        let mut told: BTreeMap<GroupId, String> = BTreeMap::new();
        loop {
            // sleep: that a store is damaged is noticed without an event here.
            sleep(LOOK_EVERY).await;
            let statuses = self.context.ledger.host().groups();
            let damaged: Vec<_> = statuses
                .iter()
                .filter(|status| status.damaged.is_some())
                .collect();
            told.retain(|group, _| damaged.iter().any(|status| status.group == *group));
            for status in damaged {
                let Err(failure) = self.rebuild(status).await else {
                    continue;
                };
                let reason = chain(&failure);
                if told.get(&status.group) != Some(&reason) {
                    let (group, damage) = (status.group, status.damaged.as_deref());
                    tracing::error!(%group, damage, reason, "a damaged replica cannot be rebuilt yet");
                    told.insert(group, reason);
                }
            }
        }
    }

    async fn rebuild(&self, status: &GroupStatus) -> Result<(), Failure> {
        let (group, host) = (status.group, self.context.ledger.host());
        // Held to the end, so that a leader that adds this node again waits for a clean start.
        let _held = self.replicas.lock().await;
        if status.role == Role::Leader {
            self.hand_over_damaged(status).await?;
        }
        self.ask_dismissal(group).await?;
        fault!("repair::dismissed");
        let damage = status.damaged.as_deref();
        tracing::warn!(%group, damage, "the damaged replica is erased, and waits to be filled anew");
        host.close_group(group, Wipe::Erase).await?;
        fault!("repair::erased");
        Ok(())
    }

    /// A leader cannot let itself go, so it hands over to an intact voter that is alive: to a dead one it would hand over
    /// the group's life. It stays where the others could not let it go anyway.
    async fn hand_over_damaged(&self, status: &GroupStatus) -> Result<(), Failure> {
        let intact = self.intact_voters(status, self.context.ledger.node()).await;
        let held = status.replication.iter();
        let heir = held
            .filter(|(node, _)| intact.contains(node))
            .max_by_key(|(_, held)| *held);
        let (Some((heir, _)), true) = (heir, intact.len() * 2 > status.voters.len()) else {
            return Err(too_few(status.group, intact.len(), status.voters.len()));
        };
        let deadline = Instant::now() + DISMISS_LIMIT;
        let tenure = self.context.ledger.host().tenure(status.group, status.term);
        Ok(tenure.transfer_leader(*heir, deadline).await?)
    }

    /// Asks everybody who might lead the group to let this node's replica go.
    async fn ask_dismissal(&self, group: GroupId) -> Result<(), Failure> {
        let here = self.context.ledger.node();
        let wanted = self.desired(group).map(|desired| desired.voters);
        // Whoever has lost the control group knows only its peers.
        let known = wanted.unwrap_or_else(|| self.context.ledger.host().peers().into_iter().collect());
        let leader = self.context.ledger.leader(group);
        let candidates: BTreeSet<NodeId> = known.into_iter().chain(leader).collect();
        ask_dismissal(&self.context.peers, candidates, group, here).await
    }

    /// Lets a damaged replica of another node go, if this node leads the group and a majority is intact without it.
    pub async fn dismiss(&self, group: GroupId, node: NodeId, deadline: Instant) -> Result<(), Failure> {
        let host = self.context.ledger.host();
        let nobody = || Failure::unavailable(format!("the leader of group {group}"));
        if !self.context.ledger.leads(group) {
            return Err(nobody());
        }
        // A leader that was replaced without knowing it must not answer.
        host.read(group, Consistency::Linearizable, deadline).await?;
        let _change = self.begin_change(group).ok_or_else(nobody)?;
        let status = host.group(group).ok_or_else(nobody)?;
        // An entry that is not committed may be lost with its leader, and with it what was promised.
        if status.joint || status.members_index > status.committed_index {
            return Err(nobody());
        }
        if !has_member(&status, node) {
            return Ok(());
        }
        // Under a later leader others may be damaged.
        let tenure = host.tenure(group, status.term);
        if !status.voters.contains(&node) {
            return Ok(tenure.remove_learner(node, deadline).await?);
        }
        let intact = self.intact_voters(&status, node).await;
        if intact.len() * 2 <= status.voters.len() {
            return Err(too_few(group, intact.len(), status.voters.len()));
        }
        tracing::warn!(%group, %node, "a damaged replica is let go, to be rebuilt from the others");
        let others = status.voters.iter().copied().filter(|voter| *voter != node);
        fault!("repair::dismissing");
        Ok(tenure.change_voters(others.collect(), RETAIN, deadline).await?)
    }

    /// The other voters that answer and know of no damage.
    async fn intact_voters(&self, status: &GroupStatus, except: NodeId) -> BTreeSet<NodeId> {
        let caller = Caller::internal("repair");
        let copy = self.context.catalog.current();
        let reports = Reports::gather(&self.context, &caller, &copy, REPORT_LIMIT).await;
        let intact = reports.replicas().filter(|(node, replica)| {
            let sound = replica.damaged.is_empty() && replica.fault.is_empty();
            *node != except && replica.group == status.group.get() && sound && status.voters.contains(node)
        });
        intact.map(|(node, _)| node).collect()
    }

    /// Marks a group as one whose members this node is changing, unless it is already.
    pub(super) fn begin_change(&self, group: GroupId) -> Option<Change> {
        let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        changing.insert(group).then(|| Change {
            membership: self.clone(),
            group,
        })
    }
}

/// Asks each of those who might lead a group to let the replica of `node` go. The last answer is the reason.
pub async fn ask_dismissal(
    peers: &Peers,
    candidates: impl IntoIterator<Item = NodeId>,
    group: GroupId,
    node: NodeId,
) -> Result<(), Failure> {
    let mut answer = Err(Failure::unavailable(format!("the leader of group {group}")));
    for candidate in candidates.into_iter().filter(|candidate| *candidate != node) {
        match ask_dismissal_of(peers, candidate, group, node).await {
            Ok(()) => return Ok(()),
            // What a leader says counts more than that somebody does not lead.
            Err(failure) if failure.may_pass() && answer.as_ref().is_err_and(|last| !last.may_pass()) => {}
            Err(failure) => answer = Err(failure),
        }
    }
    answer
}

async fn ask_dismissal_of(
    peers: &Peers,
    candidate: NodeId,
    group: GroupId,
    node: NodeId,
) -> Result<(), Failure> {
    let caller = Caller::internal("repair").by_deadline(Instant::now() + DISMISS_LIMIT);
    let request = caller.request(node_v1::DismissRequest {
        group: group.get(),
        node: node.to_string(),
    });
    let mut peer = peers.node_peer(candidate)?;
    let asked = timeout(DISMISS_LIMIT, peer.dismiss(request)).await;
    let asked = asked.map_err(|_| Failure::unavailable(format!("an answer of node {candidate}")))?;
    asked
        .map(drop)
        .map_err(|status| Failure::from_peer(candidate, status))
}

fn too_few(group: GroupId, intact: usize, voters: usize) -> Failure {
    Failure::Rejected(Rejection::WrongState {
        kind: "group".to_owned(),
        name: group.to_string(),
        state: format!("left with {intact} intact voters of {voters}, which is no majority"),
        hint: "bring the other nodes back; nothing is erased until then".to_owned(),
    })
}
