//! A group's leader carries out the group's placement.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use covey_cluster::{Consistency, GroupStatus, Members, Probation, Role, Step, next_steps};
use covey_proto::node::v1 as node_v1;
use covey_proto::v1::list_groups_reply::Replica;
use covey_state::topology::Placement;
use covey_state::{GroupId, NodeId};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::{CHANGES_MAX, Membership, peer_of};
use crate::api::Caller;
use crate::error::{Failure, chain};

/// How often the groups are looked at when the catalog does not change.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long one step may take; a step that takes longer is tried again at a later pass.
const STEP_LIMIT: Duration = Duration::from_secs(20);
/// How long a quorum gets to confirm a leader that is to admit somebody.
const CONFIRM_LIMIT: Duration = Duration::from_secs(2);
/// Leaderships that one node hands over at one time.
const HAND_OVERS_MAX: usize = 8;
/// Voters that leave stay as learners until they are dismissed.
const RETAIN: bool = true;
/// How long a node gets to say what it holds.
const REPORT_LIMIT: Duration = Duration::from_secs(2);

/// How much is done at one time.
struct Slots {
    changes: Arc<Semaphore>,
    hand_overs: Arc<Semaphore>,
}

/// A group that is being changed; ends when dropped.
pub(super) struct Change {
    pub(super) membership: Membership,
    pub(super) group: GroupId,
}

impl Drop for Change {
    fn drop(&mut self) {
        self.membership
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.group);
    }
}

impl Membership {
    /// Looks at the groups that this node leads, again and again.
    pub(super) async fn keep_members(self) {
        let slots = Slots {
            changes: Arc::new(Semaphore::new(CHANGES_MAX)),
            hand_overs: Arc::new(Semaphore::new(HAND_OVERS_MAX)),
        };
        let mut changes = self.context.catalog.changes();
        let mut last = GroupId::CONTROL;
        loop {
            // After the one that was changed last: groups that fail again and again must not keep the slots from others.
            let groups = self.context.ledger.host().groups();
            let (before, after) = groups.split_at(groups.partition_point(|status| status.group <= last));
            for status in after.iter().chain(before) {
                if self.start_change(status, &slots) {
                    last = status.group;
                }
            }
            // Err means that nothing changed in the meantime, which is fine: replicas catch up without it.
            if let Ok(Err(_)) = timeout(LOOK_EVERY, changes.changed()).await {
                return;
            }
        }
    }

    /// Starts to change a group's members, if this node leads it, it is not as desired, and there is a free slot. True if
    /// the change takes a slot of those that move data.
    fn start_change(&self, status: &GroupStatus, slots: &Slots) -> bool {
        let group = status.group;
        let Some(desired) = self.desired(group) else {
            return false;
        };
        let steps = self.steps(status, &desired);
        if steps.is_empty() {
            return false;
        }
        // Handing over moves no data; it may wait for a node that is down, and must not keep others from moving.
        let moves = !matches!(steps.as_slice(), [Step::HandOver(_)]);
        let slots = if moves { &slots.changes } else { &slots.hand_overs };
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            return false;
        };
        let Some(change) = self.begin_change(group) else {
            return false;
        };
        let term = status.term;
        tokio::spawn(async move {
            for step in steps {
                change.membership.carry_out(group, term, step).await;
            }
            drop((change, slot));
        });
        moves
    }

    fn steps(&self, status: &GroupStatus, desired: &Placement) -> Vec<Step> {
        match status.role {
            Role::Leader => next_steps(&Members::of(self.context.ledger.node(), status), desired),
            Role::Follower | Role::Learner | Role::Candidate | Role::Stopped => Vec::new(),
        }
    }

    async fn carry_out(&self, group: GroupId, term: u64, step: Step) {
        match self.perform(group, term, &step).await {
            Ok(()) => tracing::info!(%group, ?step, "the group has changed"),
            // It is tried again at the next pass, and may have to wait for a node to come back.
            Err(failure) => {
                tracing::debug!(%group, ?step, reason = chain(&failure), "the group's change has to wait")
            }
        }
    }

    /// Takes a step that was decided by the leader of `term`, as that leader.
    async fn perform(&self, group: GroupId, term: u64, step: &Step) -> Result<(), Failure> {
        let host = self.context.ledger.host();
        let deadline = Instant::now() + STEP_LIMIT;
        match step {
            Step::Admit(node) => {
                let copy = self.context.catalog.current();
                let known = copy
                    .nodes
                    .get(node)
                    .ok_or_else(|| Failure::not_found("node", node.to_string()))?;
                // One without a quorum can admit nobody, and would have others hold empty replicas.
                let confirmed = Instant::now() + CONFIRM_LIMIT;
                host.read(group, Consistency::Linearizable, confirmed).await?;
                let probation = self.ask_to_open(group, term, *node, deadline).await?;
                fault!("move::admitting");
                let admitted = host.admit_learner(group, peer_of(known), probation);
                timeout_at(deadline, admitted)
                    .await
                    .map_err(|_| Failure::DeadlineExceeded {
                        what: format!("admitting node {node} to group {group}"),
                    })??;
                fault!("move::admitted");
            }
            Step::Vote(voters) => {
                fault!("move::voting");
                let tenure = host.tenure(group, term);
                tenure.change_voters(voters.clone(), RETAIN, deadline).await?;
                fault!("move::voted");
            }
            Step::Dismiss(node) => {
                self.check_dismissal(group, *node).await?;
                fault!("move::dismissing");
                host.tenure(group, term).remove_learner(*node, deadline).await?;
                fault!("move::dismissed");
            }
            Step::HandOver(node) => {
                // A leader that hands over to a dead node takes no entries until somebody else is elected.
                // And one whose replica is damaged hands it back at once, for ever.
                // One whose clock is doubted takes no writes, and hands it back likewise.
                let report = self.report_of(*node).await.unwrap_or_default();
                let sound = |replica: &Replica| replica.damaged.is_empty() && replica.fault.is_empty();
                let fit = |replica: &Replica| replica.group == group.get() && sound(replica);
                let alive = report.groups.iter().any(fit);
                (alive && !report.clock_doubted)
                    .then_some(())
                    .ok_or_else(|| Failure::unavailable(format!("node {node}")))?;
                fault!("move::handing_over");
                host.tenure(group, term).transfer_leader(*node, deadline).await?;
                fault!("move::handed_over");
            }
        }
        Ok(())
    }

    /// A node that can be reached hears of the cluster's decisions until it holds nothing any more.
    async fn check_dismissal(&self, group: GroupId, node: NodeId) -> Result<(), Failure> {
        if group != GroupId::CONTROL {
            return Ok(());
        }
        match self.holdings_of(node).await {
            Some(held) if held.iter().any(|other| *other != group) => Err(Failure::unavailable(format!(
                "the departure of node {node}, which still holds replicas,"
            ))),
            Some(_) | None => Ok(()),
        }
    }

    /// The groups that a node has replicas of, if it answers.
    async fn holdings_of(&self, node: NodeId) -> Option<Vec<GroupId>> {
        let replicas = self.report_of(node).await?.groups;
        Some(
            replicas
                .iter()
                .map(|replica| GroupId::new(replica.group))
                .collect(),
        )
    }

    /// What a node says of itself, if it answers.
    async fn report_of(&self, node: NodeId) -> Option<node_v1::ReportReply> {
        let caller = Caller::internal("placement").by_deadline(Instant::now() + REPORT_LIMIT);
        let request = caller.request(node_v1::ReportRequest {});
        let mut peer = self.context.peers.node_peer(node).ok()?;
        let reply = timeout(REPORT_LIMIT, peer.report(request)).await.ok()?.ok()?;
        Some(reply.into_inner())
    }

    /// The replica must run before the leader of `term` sends it anything. Gives what it has to hear of before it may vote.
    async fn ask_to_open(
        &self,
        group: GroupId,
        term: u64,
        node: NodeId,
        deadline: Instant,
    ) -> Result<Probation, Failure> {
        // The log of a leader that was replaced may end before memberships in which the newcomer votes.
        let leads = |status: &GroupStatus| status.role == Role::Leader && status.term == term;
        let leader = self.context.ledger.host().group(group).filter(leads);
        let leader = leader.ok_or_else(|| Failure::unavailable(format!("the leader of group {group}")))?;
        let probation = Probation {
            term: leader.term,
            index: leader.last_log_index.unwrap_or(0),
        };
        if node == self.context.ledger.node() {
            self.open_replica(group, probation).await?;
            return Ok(probation);
        }
        let caller = Caller::internal("placement").by_deadline(deadline);
        let request = caller.request(node_v1::OpenReplicaRequest {
            group: group.get(),
            term: probation.term,
            last_log_index: probation.index,
        });
        let opened = self.context.peers.node_peer(node)?.open_replica(request).await;
        opened
            .map(|_| probation)
            .map_err(|status| Failure::from_peer(node, status))
    }
}
