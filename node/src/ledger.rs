//! The way to the groups: everything durable that a node does is a request asked of a group through the ledger, and
//! everything it knows is read from a group through it.
//!
//! Invariant: a request keeps its id however often it is tried, so trying again is harmless.

mod led;
mod nearest;
mod read;
mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use covey_cluster::{Consistency, GroupStatus, Host, ReadPoint};
use covey_state::answer::Answer;
use covey_state::{Command, GroupId, NodeId, Position, Rejection, Request, RequestId, slot};
use covey_storage::{GroupView, StateDb};
use futures::future::try_join_all;
use tokio::sync::watch;
use tokio::time::Instant;

pub use led::LedGroups;
pub use read::{collect, same_kind, same_named};
pub use remote::{PAGE_RECORDS_MAX, consistency_of, decode, encode, wire_consistency};

use crate::api::Caller;
use crate::catalog::CatalogWatch;
use crate::clock::Clock;
use crate::error::Failure;
use crate::peers::Peers;

/// The answer to a request that was carried out, and where it stands in the group's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// What the state machine said.
    pub answer: Answer,
    /// The request's entry. A repeat has its own, later one.
    pub position: Position,
}

/// The way to the groups. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    parts: Arc<Parts>,
    /// By group, how often the replica here was read.
    reads: Arc<[AtomicU64]>,
}

/// What a ledger is made of.
pub struct Parts {
    /// This node.
    pub node: NodeId,
    /// Data groups of the namespace `default`.
    pub groups: u64,
    /// The Raft groups on this node.
    pub host: Host,
    /// Their state.
    pub statedb: StateDb,
    /// Control's state: tells where groups are that are not on this node.
    pub catalog: CatalogWatch,
    /// The other nodes.
    pub peers: Peers,
    /// The time that requests carry.
    pub clock: Clock,
}

impl Ledger {
    /// A ledger over a running host.
    pub fn new(parts: Parts) -> Self {
        let counters = usize::from(slot::SLOTS) + 1;
        Self {
            parts: Arc::new(parts),
            reads: (0..counters).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// This node.
    pub fn node(&self) -> NodeId {
        self.parts.node
    }

    /// The Raft groups on this node.
    pub fn host(&self) -> &Host {
        &self.parts.host
    }

    /// The state of the groups on this node.
    pub fn statedb(&self) -> &StateDb {
        &self.parts.statedb
    }

    /// The data group that holds everything named `name`.
    pub fn group_of_name(&self, name: &str) -> GroupId {
        slot::group_of_name(name, self.parts.groups)
    }

    /// The groups of the namespace `default`, which hold everything that has a name and no rows, in order.
    pub fn data_groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (1..=self.parts.groups).map(GroupId::new)
    }

    /// Asks a group to carry out a command and waits for the answer; a refusal is [`Failure::Rejected`].
    ///
    /// The host finds the leader and tries again, with the same id, until the caller's deadline. A node whose clock is
    /// doubted asks nothing: [`Failure::Clock`].
    pub async fn ask(
        &self,
        caller: &Caller,
        group: GroupId,
        id: RequestId,
        command: Command,
    ) -> Result<Answered, Failure> {
        let request = Request {
            id,
            at: self.parts.clock.stamp().await?,
            by: caller.by.clone(),
            command,
        };
        let entry = Bytes::from(request.encode());
        let request = format!("{:032x}", caller.request_id);
        let committed = self
            .parts
            .host
            .propose_for(request, group, entry, caller.deadline)
            .await?;
        answered(group, &committed)
    }

    /// Asks with the next free part number of the caller's request id.
    pub async fn ask_unique(
        &self,
        caller: &Caller,
        group: GroupId,
        command: Command,
    ) -> Result<Answered, Failure> {
        self.ask(caller, group, caller.next_request_id(), command).await
    }

    /// Waits until the replica on this node is as fresh as asked, and gives a consistent view of it.
    pub async fn view(
        &self,
        group: GroupId,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<(GroupView, ReadPoint), Failure> {
        let point = self.parts.host.read(group, consistency, deadline).await?;
        self.count_read(group);
        let view = self.parts.statedb.group(group).read();
        self.check_still_here(&point)?;
        Ok((view, point))
    }

    /// A replica may have been erased since it was asked how far it is: then a view shows it empty.
    fn check_still_here(&self, point: &ReadPoint) -> Result<(), Failure> {
        match self.parts.host.still_has(point) {
            true => Ok(()),
            false => Err(Failure::unavailable(format!(
                "the replica of group {}",
                point.group
            ))),
        }
    }

    /// The same of several groups, all of one moment: that in which the last of them was as fresh as asked.
    pub async fn views(
        &self,
        wanted: Vec<(GroupId, Consistency)>,
        deadline: Instant,
    ) -> Result<BTreeMap<GroupId, (GroupView, ReadPoint)>, Failure> {
        let waits = wanted.into_iter().map(async |(group, consistency)| {
            let point = self.parts.host.read(group, consistency, deadline).await?;
            self.count_read(group);
            Ok::<_, Failure>((group, point))
        });
        let points = try_join_all(waits).await?;
        let moment = self.parts.statedb.snapshot();
        for (_, point) in &points {
            self.check_still_here(point)?;
        }
        let view = |(group, point)| (group, (moment.group(group), point));
        Ok(points.into_iter().map(view).collect())
    }

    /// How often the replica of the group on this node was read since the node started.
    pub fn reads(&self, group: GroupId) -> u64 {
        self.counter(group)
            .map_or(0, |reads| reads.load(Ordering::Relaxed))
    }

    fn count_read(&self, group: GroupId) {
        if let Some(reads) = self.counter(group) {
            reads.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counter(&self, group: GroupId) -> Option<&AtomicU64> {
        usize::try_from(group.get())
            .ok()
            .and_then(|position| self.reads.get(position))
    }

    /// Whether a replica runs on this node that takes part in the group, and is to go on doing so.
    pub fn hosts(&self, group: GroupId) -> bool {
        let node = self.parts.node;
        let catalog = self.parts.catalog.current();
        let desired = catalog.placements.get(&group);
        let leaves = desired.is_some_and(|placed| !placed.holds(node));
        let takes_part = |status: GroupStatus| {
            status.fault.is_none() && (status.voters.contains(&node) || status.learners.contains(&node))
        };
        !leaves && self.parts.host.group(group).is_some_and(takes_part)
    }

    /// The applied index of the replica on this node; wakes on every applied batch.
    pub fn applied(&self, group: GroupId) -> Option<watch::Receiver<u64>> {
        self.parts.host.applied(group)
    }

    /// Whether this node leads the group.
    pub fn leads(&self, group: GroupId) -> bool {
        self.leader(group) == Some(self.parts.node)
    }

    /// The group's leader as the replica on this node knows it.
    pub fn leader(&self, group: GroupId) -> Option<NodeId> {
        self.parts.host.group(group).and_then(|status| status.leader)
    }

    /// The group's voters: as the replica on this node knows them, else as they are desired.
    pub fn members(&self, group: GroupId) -> Vec<NodeId> {
        let here = self
            .parts
            .host
            .group(group)
            .map(|status| status.voters)
            .unwrap_or_default();
        let voters: BTreeSet<NodeId> = match here.is_empty() {
            false => here.into_iter().collect(),
            true => {
                let catalog = self.parts.catalog.current();
                catalog
                    .placements
                    .get(&group)
                    .map(|placement| placement.voters.clone())
                    .unwrap_or_default()
            }
        };
        voters.into_iter().collect()
    }
}

fn answered(group: GroupId, committed: &covey_cluster::Committed) -> Result<Answered, Failure> {
    let outcome: Result<Answer, Rejection> = postcard::from_bytes(&committed.answer)
        .map_err(|error| Failure::internal("decoding the answer of the state machine", error))?;
    let position = Position {
        group,
        index: committed.position.index,
    };
    Ok(Answered {
        answer: outcome?,
        position,
    })
}
