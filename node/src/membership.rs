//! Who holds what: desired placements are decided on the leader of group 0, and every group's leader carries its own
//! out, one change at a time. Nodes make replicas ready when asked and erase those that are no longer theirs.
//!
//! Invariant: nothing is remembered between passes. Each pass compares what is with what should be, so it goes on
//! after any crash, and a step that was carried out twice does no harm.

mod census;
mod clocks;
mod found;
pub mod groups;
mod hand_over;
mod join;
pub mod namespaces;
pub mod operate;
mod plan;
mod reconcile;
mod release;
mod repair;
pub mod report;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covey_cluster::{Consistency, GroupStatus, Peer, Probation, Role};
use covey_state::topology::{Node, NodeState, Placement};
use covey_state::{GroupId, NodeId};
use tokio::time::Instant;

pub use census::Census;
pub use hand_over::hand_over;
pub use join::{join, keep_seeds, spec_of};
pub use repair::ask_dismissal;

use crate::context::Context;
use crate::error::Failure;
use crate::run::RootSupervisor;

/// Groups that one node changes the members of at one time.
const CHANGES_MAX: usize = 4;
/// Replicas that one node fills at one time.
const FILLS_MAX: usize = 4;

/// This node's part in the membership of groups. Clones share it.
#[derive(Clone)]
pub struct Membership {
    context: Context,
    /// Groups that this node leads and is changing.
    changing: Arc<Mutex<BTreeSet<GroupId>>>,
    /// Held while a replica is opened or erased here.
    replicas: Arc<tokio::sync::Mutex<()>>,
    expelled: Arc<AtomicBool>,
    census: Census,
}

/// Whether a node takes part in a group, as its leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// It is a member or is to become one.
    Member,
    /// It is not.
    Stranger,
    /// The asked node cannot tell now.
    Unknown,
}

impl Membership {
    /// The membership of the node that `context` belongs to.
    pub fn new(context: Context) -> Self {
        Self {
            census: context.census.clone(),
            context,
            changing: Arc::default(),
            replicas: Arc::default(),
            expelled: Arc::default(),
        }
    }

    /// Starts everything that keeps the groups' members as desired.
    pub fn spawn(&self, root: &RootSupervisor) {
        let this = self.clone();
        root.run("addresses", move || this.clone().keep_addresses());
        let this = self.clone();
        root.run("announce", move || this.clone().announce());
        let this = self.clone();
        root.run("clocks", move || this.clone().keep_clocks_compared());
        let this = self.clone();
        root.run("census", move || this.clone().keep_census());
        let this = self.clone();
        root.run("founding", move || this.clone().make_groups());
        let this = self.clone();
        root.run("placement", move || this.clone().keep_placed());
        let this = self.clone();
        root.run("members", move || this.clone().keep_members());
        let this = self.clone();
        root.run("release", move || this.clone().release_strangers());
        let this = self.clone();
        root.run("repair", move || this.clone().keep_repaired());
    }

    /// This node, if it no longer belongs to the cluster.
    pub fn expelled(&self) -> Option<NodeId> {
        let node = self.context.ledger.node();
        let copy = self.context.catalog.current();
        let removed = copy
            .nodes
            .get(&node)
            .is_some_and(|known| known.state == NodeState::Removed);
        (removed || self.expelled.load(Ordering::Relaxed)).then_some(node)
    }

    /// Brings the gauges of the groups on this node up to date.
    pub fn observe(&self) {
        self.context.ledger.host().observe();
    }

    fn expel(&self) {
        if !self.expelled.swap(true, Ordering::Relaxed) {
            let node = self.context.ledger.node();
            tracing::error!(%node, "this node has been removed from the cluster; its data directory is of no more use");
        }
    }

    /// Makes this node ready to hold a replica of the group, as its leader wants it.
    pub async fn open_replica(&self, group: GroupId, probation: Probation) -> Result<(), Failure> {
        let _held = self.replicas.lock().await;
        let host = self.context.ledger.host();
        let known = host.group(group);
        // Only another leader asks for this. One of the two is out of date, and it may be the other one.
        if known.as_ref().is_some_and(|status| status.role == Role::Leader) {
            return Err(Failure::unavailable(format!(
                "a place for group {group}, which this node leads,"
            )));
        }
        if known.is_none() && self.fills().await >= FILLS_MAX {
            return Err(Failure::unavailable(format!(
                "a place for group {group} beside the {FILLS_MAX} that are being filled"
            )));
        }
        fault!("move::opening");
        host.admit_group(group, probation).await?;
        fault!("move::opened");
        Ok(())
    }

    /// Replicas on this node that have not caught up with their group yet.
    async fn fills(&self) -> usize {
        let host = self.context.ledger.host();
        let mut fills = 0;
        for status in host
            .groups()
            .into_iter()
            .filter(|status| status.role == Role::Learner)
        {
            let here = host.read(status.group, Consistency::Local, Instant::now()).await;
            fills += usize::from(here.map_or(true, |point| point.staleness == Duration::MAX));
        }
        fills
    }

    /// Whether `node` takes part in a group that this node leads.
    pub async fn part_of(&self, group: GroupId, node: NodeId, deadline: Instant) -> Part {
        if !self.context.ledger.leads(group) || self.is_changing(group) {
            return Part::Unknown;
        }
        // A leader that was replaced without knowing it must not answer.
        if self
            .context
            .ledger
            .host()
            .read(group, Consistency::Linearizable, deadline)
            .await
            .is_err()
        {
            return Part::Unknown;
        }
        match (self.context.ledger.host().group(group), self.desired(group)) {
            (Some(status), Some(desired)) if !self.is_changing(group) => {
                if has_member(&status, node) || desired.holds(node) {
                    Part::Member
                } else {
                    Part::Stranger
                }
            }
            _ => Part::Unknown,
        }
    }

    fn desired(&self, group: GroupId) -> Option<Placement> {
        self.context.catalog.current().placements.get(&group).cloned()
    }

    fn is_changing(&self, group: GroupId) -> bool {
        self.changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&group)
    }

    /// Tells the host where every node is, as often as the catalog changes.
    async fn keep_addresses(self) {
        let mut changes = self.context.catalog.changes();
        loop {
            let copy = Arc::clone(&changes.borrow_and_update());
            for node in copy
                .nodes
                .values()
                .filter(|node| node.state != NodeState::Removed)
            {
                if let Err(error) = self.context.ledger.host().knows(peer_of(node)) {
                    tracing::warn!(node = %node.id, %error, "the node's address is not usable");
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

/// A node as its peers reach it.
pub fn peer_of(node: &Node) -> Peer {
    Peer {
        node: node.id,
        peer_addr: node.peer_addr.clone(),
        api_addr: node.api_addr.clone(),
    }
}

fn has_member(status: &GroupStatus, node: NodeId) -> bool {
    status.voters.contains(&node) || status.learners.contains(&node)
}
