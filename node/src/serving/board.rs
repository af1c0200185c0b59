//! What serves on this node: deployments, their replicas, and how they are. Written by the reconciler and the actors
//! that it supervises, read by every request.
//!
//! Invariant: a deployment that is taken away leaves its tally here until that has been flushed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covey_proto::v1;
use covey_state::NodeId;
use covey_state::deployment::Deployment;
use ractor::ActorRef;

use super::admission::Admission;
use super::loaded::Loaded;
use super::replica::Work;
use super::traffic::Traffic;
use crate::drift::Tally;

/// Everything that serves on one node. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Board {
    parts: Arc<Parts>,
}

#[derive(Default)]
struct Parts {
    slots: Mutex<BTreeMap<String, Arc<Slot>>>,
    retired: Mutex<Vec<(String, Arc<Tally>)>>,
    traffic: Traffic,
}

/// A deployment on this node.
pub(super) struct Slot {
    /// Rows served and not yet flushed.
    pub(super) tally: Arc<Tally>,
    /// Length of its drift windows, in microseconds.
    window_micros: AtomicI64,
    state: Mutex<SlotState>,
    next: AtomicUsize,
}

struct SlotState {
    spec: Deployment,
    /// Of the deployment, with the specification.
    revision: u64,
    loaded: Option<Arc<Loaded>>,
    error: String,
    seats: Vec<Arc<Seat>>,
}

/// The place of one replica. It stays when the replica is restarted.
#[derive(Default)]
pub(super) struct Seat {
    /// The queue in front of the replica.
    pub(super) admission: Admission,
    /// Rows predicted.
    pub(super) predictions: AtomicU64,
    /// How often the replica was started again.
    pub(super) restarts: AtomicU64,
    standing: Mutex<Standing>,
}

/// How a replica is.
#[derive(Clone, Default)]
pub(super) enum Standing {
    /// It has not been started yet.
    #[default]
    Starting,
    /// It runs.
    Running(ActorRef<Work>),
    /// It failed, in these words, and is started again after a pause.
    Restarting(String),
}

/// A replica that can be asked now, and the version it answers with.
pub(super) struct Ready {
    pub(super) slot: Arc<Slot>,
    pub(super) seat: Arc<Seat>,
    pub(super) actor: ActorRef<Work>,
    pub(super) loaded: Arc<Loaded>,
}

impl Board {
    /// What is known about the other nodes' replicas.
    pub(super) fn traffic(&self) -> &Traffic {
        &self.parts.traffic
    }

    /// A deployment on this node.
    pub(super) fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        lock(&self.parts.slots).get(name).cloned()
    }

    /// All deployments on this node, by name.
    pub(super) fn slots(&self) -> Vec<(String, Arc<Slot>)> {
        lock(&self.parts.slots)
            .iter()
            .map(|(name, slot)| (name.clone(), Arc::clone(slot)))
            .collect()
    }

    /// A deployment comes to this node.
    pub(super) fn open(&self, spec: Deployment) -> Arc<Slot> {
        let name = spec.name.clone();
        let slot = Arc::new(Slot::new(spec));
        lock(&self.parts.slots).insert(name, Arc::clone(&slot));
        slot
    }

    /// A deployment leaves this node.
    pub(super) fn close(&self, name: &str) {
        if let Some(slot) = lock(&self.parts.slots).remove(name) {
            lock(&self.parts.retired).push((name.to_owned(), Arc::clone(&slot.tally)));
        }
    }

    /// The tallies of all deployments that serve or have served here. Those that are over and empty are forgotten.
    pub(crate) fn tallies(&self) -> Vec<(String, Arc<Tally>)> {
        let mut retired = lock(&self.parts.retired);
        // A request that is being answered still holds the tally of a deployment that is over.
        retired.retain(|(_, tally)| !tally.is_empty() || Arc::strong_count(tally) > 1);
        let serving = lock(&self.parts.slots)
            .iter()
            .map(|(name, slot)| (name.clone(), Arc::clone(&slot.tally)))
            .collect();
        [retired.clone(), serving].concat()
    }

    /// The state of every replica on this node.
    pub(crate) fn report(&self, node: NodeId) -> Vec<(String, Vec<v1::Replica>)> {
        self.slots()
            .into_iter()
            .map(|(name, slot)| (name, slot.report(node)))
            .collect()
    }
}

impl Slot {
    fn new(spec: Deployment) -> Self {
        let state = SlotState {
            spec,
            revision: 0,
            loaded: None,
            error: String::new(),
            seats: Vec::new(),
        };
        Self {
            tally: Arc::default(),
            window_micros: AtomicI64::new(crate::drift::WINDOW_MICROS_DEFAULT),
            state: Mutex::new(state),
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn spec(&self) -> Deployment {
        lock(&self.state).spec.clone()
    }

    pub(super) fn set_spec(&self, spec: &Deployment, revision: u64) {
        let mut state = lock(&self.state);
        state.spec = spec.clone();
        state.revision = revision;
    }

    pub(super) fn window_micros(&self) -> i64 {
        self.window_micros.load(Ordering::Relaxed)
    }

    pub(super) fn set_window_micros(&self, micros: i64) {
        self.window_micros.store(micros, Ordering::Relaxed);
    }

    /// The version that answers now.
    pub(super) fn loaded(&self) -> Option<Arc<Loaded>> {
        lock(&self.state).loaded.clone()
    }

    /// From here on this version answers; requests that have begun end with the one before.
    pub(super) fn switch(&self, loaded: Loaded) {
        let mut state = lock(&self.state);
        state.loaded = Some(Arc::new(loaded));
        state.error.clear();
    }

    /// Why the version that is wanted cannot be loaded; the one before goes on answering.
    pub(super) fn set_error(&self, error: String) {
        lock(&self.state).error = error;
    }

    pub(super) fn error(&self) -> String {
        lock(&self.state).error.clone()
    }

    pub(super) fn seats(&self) -> Vec<Arc<Seat>> {
        lock(&self.state).seats.clone()
    }

    /// Adds seats or takes the last ones away; gives those that were taken away.
    pub(super) fn resize(&self, count: usize) -> Vec<Arc<Seat>> {
        let mut state = lock(&self.state);
        let kept = state.seats.len().min(count);
        let surplus = state.seats.split_off(kept);
        state.seats.resize_with(count, Arc::default);
        surplus
    }

    /// Requests that wait at its replicas.
    pub(super) fn waiting(&self) -> u32 {
        lock(&self.state)
            .seats
            .iter()
            .map(|seat| seat.admission.waiting())
            .sum()
    }

    /// The ready replicas, beginning with the one whose turn it is.
    pub(super) fn ready(self: &Arc<Self>) -> Vec<Ready> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let state = lock(&self.state);
        let Some(loaded) = &state.loaded else {
            return Vec::new();
        };
        let count = state.seats.len();
        let in_turn = (0..count).map(|step| &state.seats[(turn % count + step) % count]);
        let ready = in_turn.filter_map(|seat| match seat.standing() {
            Standing::Running(actor) => Some(Ready {
                slot: Arc::clone(self),
                seat: Arc::clone(seat),
                actor,
                loaded: Arc::clone(loaded),
            }),
            Standing::Starting | Standing::Restarting(_) => None,
        });
        ready.collect()
    }

    fn report(&self, node: NodeId) -> Vec<v1::Replica> {
        let state = lock(&self.state);
        let loaded = state.loaded.as_ref().map(|loaded| &loaded.version);
        let version = loaded.map_or(0, |version| version.number);
        let model = loaded.map_or_else(String::new, |version| version.model.clone());
        let replica = |seat: &Arc<Seat>| {
            let (name, error) = match seat.standing() {
                Standing::Running(_) if version > 0 => ("ready", state.error.clone()),
                Standing::Starting | Standing::Running(_) => ("starting", state.error.clone()),
                Standing::Restarting(error) => ("restarting", error),
            };
            v1::Replica {
                node: node.to_string(),
                state: name.to_owned(),
                version,
                predictions: seat.predictions.load(Ordering::Relaxed),
                restarts: seat.restarts.load(Ordering::Relaxed),
                error,
                model: model.clone(),
                revision: state.revision,
            }
        };
        state.seats.iter().map(replica).collect()
    }
}

impl Seat {
    pub(super) fn standing(&self) -> Standing {
        lock(&self.standing).clone()
    }

    pub(super) fn stand(&self, standing: Standing) {
        *lock(&self.standing) = standing;
    }
}

/// Nothing panics while it holds a lock of the board.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
