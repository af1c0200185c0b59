//! What the parts of a host share: its groups, its transport, and what is known about leaders.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use covey_state::{GroupId, NodeId};
use covey_storage::planted::{Bug, is_planted};
use rand::seq::SliceRandom as _;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::Stores;
use super::groups::Slot;
use crate::admission::Admission;
use crate::cohort::Cohorts;
use crate::config::HostConfig;
use crate::error::Error;
use crate::flush::StateFlush;
use crate::identity::Identity;
use crate::machine::StateMachine;
use crate::marks::Marks;
use crate::metrics::HostMetrics;
use crate::replica::Replica;
use crate::transport::{Gate, Transport};

/// Sums of states that a node takes at one time; each reads as fast as the disk gives.
const SUMS_MAX: usize = 2;

/// What the parts of a host share.
pub(crate) struct Inner {
    pub(crate) identity: Identity,
    pub(crate) config: Arc<HostConfig>,
    pub(crate) consensus: Arc<openraft::Config>,
    pub(crate) stores: Stores,
    pub(crate) machine: Arc<dyn StateMachine>,
    pub(crate) transport: Arc<Transport>,
    pub(crate) gate: Gate,
    pub(crate) metrics: HostMetrics,
    pub(crate) admission: Admission,
    pub(crate) cohorts: Arc<Cohorts>,
    /// Flushes of the state, shared by all groups.
    pub(crate) flush: StateFlush,
    /// When replicas on this node may vote: one lease after the start, unless nothing was here before.
    pub(crate) votes_from: Instant,
    pub(crate) snapshot_receives: Semaphore,
    /// What the groups were at the marks that they applied last.
    pub(crate) marks: Arc<Marks>,
    /// Sums that are taken at one time.
    pub(crate) sums: Semaphore,
    pub(super) slots: RwLock<BTreeMap<GroupId, Slot>>,
    /// One opening or closing of a group at a time.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// Where the leader of a group was found last.
    leaders: Mutex<BTreeMap<GroupId, NodeId>>,
    pub(super) closing: watch::Sender<bool>,
}

impl Inner {
    /// A host without any group.
    pub(crate) fn new(
        config: HostConfig,
        identity: Identity,
        stores: Stores,
        machine: Arc<dyn StateMachine>,
    ) -> Result<Self, Error> {
        let consensus = config.consensus()?;
        let logs = stores.raftdb.groups();
        let has_past = !logs
            .map_err(Error::storage("list the logs", GroupId::CONTROL))?
            .is_empty();
        let metrics = HostMetrics::new(config.registry.as_ref())?;
        let config = Arc::new(config);
        let flush = StateFlush::new(stores.statedb.clone());
        Ok(Self {
            identity,
            consensus,
            stores,
            machine,
            transport: Arc::new(Transport::new(identity, Arc::clone(&config), metrics.clone())),
            gate: Gate::new(identity),
            metrics,
            cohorts: Arc::default(),
            admission: Admission::new(&config),
            flush,
            votes_from: if has_past && !is_planted(Bug::LeaseAfterRestart) {
                Instant::now() + config.election_max
            } else {
                Instant::now()
            },
            snapshot_receives: Semaphore::new(config.snapshot_receives_max),
            marks: Arc::default(),
            sums: Semaphore::new(SUMS_MAX),
            slots: RwLock::default(),
            turn: tokio::sync::Mutex::default(),
            leaders: Mutex::default(),
            closing: watch::Sender::new(false),
            config,
        })
    }

    /// The running replica of a group.
    pub(crate) fn replica(&self, group: GroupId) -> Option<Arc<Replica>> {
        match self
            .slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&group)
        {
            Some(Slot::Running(replica)) => Some(Arc::clone(replica)),
            Some(Slot::Failed(_) | Slot::Damaged(_)) | None => None,
        }
    }

    /// Every running replica.
    pub(super) fn replicas(&self) -> Vec<Arc<Replica>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let running = |slot: &Slot| match slot {
            Slot::Running(replica) => Some(Arc::clone(replica)),
            Slot::Failed(_) | Slot::Damaged(_) => None,
        };
        slots.values().filter_map(running).collect()
    }

    /// The replica of a group, or why there is none.
    pub(crate) fn hosted(&self, group: GroupId) -> Result<Arc<Replica>, Error> {
        match self
            .slots
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&group)
        {
            Some(Slot::Running(replica)) => replica.fault().map_or_else(|| Ok(Arc::clone(replica)), Err),
            Some(Slot::Failed(reason)) => Err(Error::Stopped {
                group,
                reason: reason.clone(),
            }),
            Some(Slot::Damaged(reason)) => Err(Error::Damaged {
                group,
                reason: reason.clone(),
            }),
            None => Err(Error::NotHosted { group }),
        }
    }

    /// The node that most likely leads a group.
    pub(crate) fn leader_guess(&self, group: GroupId) -> Option<NodeId> {
        let known = self.replica(group).and_then(|replica| replica.leader());
        known.or_else(|| {
            self.leaders
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&group)
                .copied()
        })
    }

    /// Notes where the leader of a group was found.
    pub(crate) fn note_leader(&self, group: GroupId, node: NodeId) {
        self.leaders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(group, node);
    }

    /// Forgets where the leader of a group was found.
    pub(crate) fn forget_leader(&self, group: GroupId) {
        self.leaders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&group);
    }

    /// The members of a group as this node knows them, in random order.
    pub(crate) fn members(&self, group: GroupId) -> Vec<NodeId> {
        shuffled(
            self.replica(group)
                .map_or_else(Vec::new, |replica| replica.members()),
        )
    }

    /// This node and every peer, in random order.
    pub(crate) fn everybody(&self) -> Vec<NodeId> {
        let mut nodes = self.transport.peers();
        nodes.push(self.identity.node);
        shuffled(nodes)
    }

    /// Tells when the host begins to shut down.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Whether the host shuts down.
    pub(crate) fn is_closing(&self) -> bool {
        *self.closing.borrow()
    }
}

fn shuffled(mut nodes: Vec<NodeId>) -> Vec<NodeId> {
    nodes.shuffle(&mut rand::rng());
    nodes
}
