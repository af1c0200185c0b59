//! Changes of who takes part in a group and who leads it.
//!
//! Invariants: a node becomes a voter only when it has nearly caught up and has heard of its admission; a leader gives up
//! leading before its vote; every change is one committed entry or one joint change, and a second one waits for the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::change_members_request::Change as WireChange;
use covey_state::{GroupId, NodeId};
use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::Precondition;
use tokio::time::Instant;

use crate::codec;
use crate::config::HostConfig;
use crate::consensus::{LeaderId, RaftMetrics, TypeConfig};
use crate::error::{Error, chain};
use crate::forward::{LeaderCall, Outcome};
use crate::identity::Peer;
use crate::replica::Replica;
use crate::service;
use crate::status::GroupStatus;
use crate::transport::Transport;

/// A change that the leader makes.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Add a node that follows without voting.
    AddLearner(Peer),
    /// Replace the voters.
    ReplaceVoters {
        /// Every voter afterwards.
        voters: BTreeSet<NodeId>,
        /// Whether voters that leave stay as learners.
        retain_as_learners: bool,
    },
    /// Remove a node that does not vote.
    RemoveLearner(NodeId),
    /// Hand leadership to this voter.
    TransferLeader(NodeId),
}

/// A change on its way to the leader.
pub(crate) struct ChangeCall {
    pub(crate) group: GroupId,
    pub(crate) change: Change,
    /// How many entries a learner may miss when it becomes a voter.
    pub(crate) promote_lag_max: u64,
}

impl LeaderCall for ChangeCall {
    type Answer = ();

    const NAME: &'static str = "change of members";

    fn patience(&self, _: &HostConfig) -> Duration {
        // A learner that catches up may take any time; the caller's deadline is the limit.
        Duration::from_secs(24 * 3_600)
    }

    async fn here(&self, replica: Arc<Replica>, until: Instant) -> Outcome<()> {
        make(&replica, self.change.clone(), self.promote_lag_max, until, None).await
    }

    async fn there(&self, transport: &Transport, to: NodeId, until: Instant) -> Outcome<()> {
        let mut client = match transport.client(to) {
            Ok(client) => client,
            Err(error) => return Outcome::Unavailable(error.to_string()),
        };
        let request = wire::ChangeMembersRequest {
            group: self.group.get(),
            timeout_ms: service::timeout_ms(until),
            change: Some(into_wire(&self.change)),
        };
        match client.change_members(request).await {
            Ok(reply) => service::change_members_outcome(reply.into_inner()),
            Err(status) => service::failed(&status),
        }
    }
}

/// Makes a change, if `replica` leads, and does so in `term` if one is given.
pub(crate) async fn make(
    replica: &Replica,
    change: Change,
    promote_lag_max: u64,
    until: Instant,
    term: Option<u64>,
) -> Outcome<()> {
    if let Err(to) = replica.raft.as_leader() {
        return Outcome::elsewhere(to);
    }
    if let Some(term) = term.filter(|term| *term != replica.status().term) {
        return Outcome::Rejected(leads_no_more(term));
    }
    // Looked at once more by the library, in the moment in which it writes the entry.
    let condition = term.map(|term| Precondition::CommittedLeaderId {
        committed_leader_id: LeaderId {
            term,
            node_id: *replica.raft.node_id(),
        },
    });
    match change {
        Change::AddLearner(peer) => outcome(
            replica
                .raft
                .add_learner(peer.node.get(), peer.into(), false)
                .await,
        ),
        Change::ReplaceVoters {
            voters,
            retain_as_learners,
        } => {
            if let Err(obstacle) = caught_up(replica, &voters, promote_lag_max, until).await {
                return obstacle;
            }
            if let Some(heir) = heir(&replica.status(), &voters) {
                // A leader that loses its vote would lead on for ever, so it hands over before the change.
                return match transfer(replica, heir, until).await {
                    Outcome::Done(()) => Outcome::NotLeader(replica.peer(heir)),
                    failed => failed,
                };
            }
            let voters: BTreeSet<u64> = voters.into_iter().map(NodeId::get).collect();
            let changed = replica
                .raft
                .change_membership_if(voters, retain_as_learners, condition);
            outcome(changed.await)
        }
        Change::RemoveLearner(node) => remove_learner(replica, node, condition).await,
        Change::TransferLeader(to) => transfer(replica, to, until).await,
    }
}

/// Adds a node that follows without voting, if `replica` leads in this term.
pub(crate) async fn admit(replica: &Replica, peer: Peer, term: u64) -> Result<(), Error> {
    leads_in(replica, term)?;
    let added = replica.raft.add_learner(peer.node.get(), peer.into(), false);
    added.await.map(drop).map_err(|error| Error::Refused {
        group: replica.group,
        reason: chain(&error),
    })
}

/// Refuses unless `replica` leads in this term.
pub(crate) fn leads_in(replica: &Replica, term: u64) -> Result<(), Error> {
    if replica.status().term == term && replica.raft.as_leader().is_ok() {
        return Ok(());
    }
    Err(Error::Refused {
        group: replica.group,
        reason: leads_no_more(term),
    })
}

/// Why a change of an earlier term is refused.
pub(crate) fn leads_no_more(term: u64) -> String {
    format!("the leader of term {term} leads no more")
}

fn outcome<T>(written: Result<T, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>) -> Outcome<()> {
    match written {
        Ok(_) => Outcome::Done(()),
        Err(error) => Outcome::of_failure(error),
    }
}

/// When the leader is not among the future voters: the present voter among them that holds most of the log.
fn heir(leader: &GroupStatus, voters: &BTreeSet<NodeId>) -> Option<NodeId> {
    if leader.leader.is_none_or(|leader| voters.contains(&leader)) {
        return None;
    }
    let stays = |node: &NodeId| voters.contains(node) && leader.voters.contains(node);
    let staying = leader.replication.iter().filter(|(node, _)| stays(node));
    staying.max_by_key(|(_, held)| *held).map(|(node, _)| *node)
}

async fn remove_learner(
    replica: &Replica,
    node: NodeId,
    condition: Option<Precondition<TypeConfig>>,
) -> Outcome<()> {
    let status = replica.status();
    if status.voters.contains(&node) {
        return Outcome::Rejected(format!("{node} is a voter, it has to become a learner first"));
    }
    if !status.learners.contains(&node) {
        return Outcome::Done(());
    }
    let removal = ChangeMembers::RemoveNodes(BTreeSet::from([node.get()]));
    outcome(replica.raft.change_membership_if(removal, false, condition).await)
}

/// Waits until every voter-to-be has nearly all of the log.
async fn caught_up(
    replica: &Replica,
    voters: &BTreeSet<NodeId>,
    lag_max: u64,
    until: Instant,
) -> Result<(), Outcome<()>> {
    let mut metrics = replica.metrics();
    loop {
        let behind = {
            let metrics = metrics.borrow_watched();
            if !metrics.state.is_leader() {
                return Err(Outcome::NotLeader(None));
            }
            first_behind(&metrics, voters, lag_max)?
        };
        let Some((node, missing)) = behind else {
            return Ok(());
        };
        if !matches!(
            tokio::time::timeout_at(until, metrics.changed()).await,
            Ok(Ok(()))
        ) {
            return Err(Outcome::Unavailable(format!(
                "{node} still misses {missing} entries"
            )));
        }
    }
}

/// The first voter-to-be that misses too much, and how much.
fn first_behind(
    metrics: &RaftMetrics,
    voters: &BTreeSet<NodeId>,
    lag_max: u64,
) -> Result<Option<(NodeId, u64)>, Outcome<()>> {
    let membership = metrics.membership_config.membership();
    let present: BTreeSet<u64> = membership.voter_ids().collect();
    let known: BTreeMap<u64, Option<u64>> = metrics
        .replication
        .iter()
        .flatten()
        .map(|(node, id)| (*node, id.map(|id| id.index)))
        .collect();
    let end = metrics.last_log_index.map_or(0, |last| last + 1);
    let admitted = metrics
        .membership_config
        .log_id()
        .as_ref()
        .map_or(0, |id| id.index);
    for node in voters.iter().filter(|node| !present.contains(&node.get())) {
        if membership.get_node(&node.get()).is_none() {
            return Err(Outcome::Rejected(format!(
                "{node} has to be added as a learner first"
            )));
        }
        let held = known
            .get(&node.get())
            .copied()
            .flatten()
            .map_or(0, |index| index + 1);
        let missing = end.saturating_sub(held);
        // An untouched replica may be empty even where the log is short. And one that has not heard of its admission
        // votes for nobody: if the leader went, it could never hear of it.
        if held == 0 || held <= admitted || missing > lag_max {
            return Ok(Some((*node, missing)));
        }
    }
    Ok(None)
}

/// Hands over and waits until the other one leads.
async fn transfer(replica: &Replica, to: NodeId, until: Instant) -> Outcome<()> {
    if !replica.status().voters.contains(&to) {
        return Outcome::Rejected(format!("{to} is no voter, it cannot lead"));
    }
    // A leader that hands over to itself takes no entries until somebody else is elected.
    if replica.status().leader == Some(to) {
        return Outcome::Done(());
    }
    if replica.raft.trigger().transfer_leader(to.get()).await.is_err() {
        return Outcome::NotHosted;
    }
    let mut metrics = replica.metrics();
    let election_max = Duration::from_millis(replica.raft.config().election_timeout_max);
    let patience = until.min(Instant::now() + election_max);
    loop {
        if metrics.borrow_watched().current_leader == Some(to.get()) {
            return Outcome::Done(());
        }
        if !matches!(
            tokio::time::timeout_at(patience, metrics.changed()).await,
            Ok(Ok(()))
        ) {
            return Outcome::Unavailable(format!("{to} did not take over"));
        }
    }
}

fn into_wire(change: &Change) -> WireChange {
    match change {
        Change::AddLearner(peer) => WireChange::AddLearner(codec::member(peer)),
        Change::ReplaceVoters {
            voters,
            retain_as_learners,
        } => WireChange::ChangeVoters(wire::ChangeVoters {
            voters: voters.iter().map(|voter| voter.get()).collect(),
            retain_as_learners: *retain_as_learners,
        }),
        Change::RemoveLearner(node) => WireChange::RemoveLearner(node.get()),
        Change::TransferLeader(to) => WireChange::TransferLeader(to.get()),
    }
}

/// The change in a request.
pub(crate) fn from_wire(change: Option<WireChange>) -> Result<Change, Error> {
    Ok(
        match change.ok_or_else(|| Error::decode("change of members", "its field `change` is missing"))? {
            WireChange::AddLearner(member) => Change::AddLearner(codec::peer(member)),
            WireChange::ChangeVoters(change) => Change::ReplaceVoters {
                voters: change.voters.into_iter().map(NodeId::new).collect(),
                retain_as_learners: change.retain_as_learners,
            },
            WireChange::RemoveLearner(node) => Change::RemoveLearner(NodeId::new(node)),
            WireChange::TransferLeader(to) => Change::TransferLeader(NodeId::new(to)),
        },
    )
}
