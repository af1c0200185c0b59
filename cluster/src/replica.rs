//! This node's replica of one group: the running consensus, and what it says about itself.

mod stores;
mod votes;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use covey_state::{GroupId, NodeId};
use covey_storage::GroupLog;
use futures::FutureExt as _;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::admission::Busy;
use crate::consensus::{Fatal, Raft, Request};
use crate::contact::Contacts;
use crate::damage::Damage;
use crate::error::{Error, chain};
use crate::forward::Outcome;
use crate::freshness::{Freshness, MetricsWatch};
use crate::host::Inner;
use crate::identity::Peer;
use crate::leadership::Leadership;
use crate::log_store::LogStore;
use crate::machine::Committed;
use crate::probation::Probation;
use crate::proposals::Proposals;
use crate::round::{NoAnswer, Rounds};
use crate::snapshot::SnapshotStore;
use crate::status::GroupStatus;
use crate::transport::NetworkFactory;
use stores::{check_no_hole, open_state};
use votes::{newest_membership, votes_alone};

pub(crate) use votes::save_probation;

/// A running replica.
pub(crate) struct Replica {
    pub(crate) group: GroupId,
    pub(crate) raft: Raft,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) freshness: Arc<Freshness>,
    /// Confirmations of this node's leadership.
    confirmations: Arc<Rounds<Outcome<u64>>>,
    leadership: Leadership,
    /// The index that readers at other members wait for.
    awaited: Arc<watch::Sender<u64>>,
    /// Indexes for reads on this node, wherever the leader is.
    pub(crate) read_indexes: Arc<Rounds<Result<u64, Error>>>,
    /// Until when it neither votes nor asks for votes; see [`Replica::may_vote`].
    votes_from: Instant,
    /// What it has to hear of first, if it began anew.
    probation: Mutex<Option<Probation>>,
    /// Whether it asks for votes when its leader is silent.
    campaigns: AtomicBool,
    proposals: Semaphore,
    proposals_max: usize,
    /// Proposals on their way into the log.
    rounds: Arc<Proposals>,
    reads_max: usize,
    retry_after: Duration,
    /// Tells how far the disk is behind.
    log: GroupLog,
    metrics: MetricsWatch,
    applied: watch::Receiver<u64>,
    /// Whether the state includes that this node is a member.
    belongs: Arc<AtomicBool>,
    /// Whether nothing more is to be said about its end: it was stopped on purpose, or its fault was reported.
    silent: AtomicBool,
    /// Whether its store was found damaged.
    damage: Damage,
}

impl Replica {
    /// Opens what this node has of a group, which may be nothing, and lets it run.
    ///
    /// # Errors
    /// [`Error::Damaged`] when what is there is damaged, others when it cannot be read now.
    pub(crate) async fn open(inner: &Inner, group: GroupId) -> Result<Arc<Self>, Error> {
        let damage = Damage::default();
        let opened = Self::open_stores(inner, group, &damage).await;
        opened.map_err(|error| match damage.found() {
            Some(reason) => Error::Damaged {
                group,
                reason: reason.to_owned(),
            },
            None => error,
        })
    }

    async fn open_stores(inner: &Inner, group: GroupId, damage: &Damage) -> Result<Arc<Self>, Error> {
        let stores = &inner.stores;
        let (snapshots, machine) = open_state(inner, group, damage).await?;
        let (applied, belongs) = (machine.applied(), machine.belongs());
        let log = stores.raftdb.group(group);
        // A state that was lost as a whole comes back from the snapshot, if that is there.
        let saved = snapshots.current().and_then(|saved| saved.meta.last_log_id);
        check_no_hole(&log, machine.last_applied().max(saved), damage)?;
        let append_bytes_max = inner.config.append_bytes_max;
        let log_store = LogStore::new(log.clone(), inner.flush.clone(), damage.clone(), append_bytes_max);
        let contacts = Arc::new(Contacts::default());
        let freshness = Arc::new(Freshness::new(Arc::clone(&contacts)));
        let confirming = Arc::new(AtomicBool::new(false));
        let awaited = Arc::new(watch::Sender::new(0));
        let network = NetworkFactory {
            transport: Arc::clone(&inner.transport),
            group,
            freshness: Arc::clone(&freshness),
            contacts: Arc::clone(&contacts),
            confirming: Arc::clone(&confirming),
            awaited: Arc::clone(&awaited),
        };
        let consensus = Arc::clone(&inner.consensus);
        let raft = Raft::new(inner.identity.node.get(), consensus, network, log_store, machine)
            .await
            .map_err(|fatal| stopped(group, &fatal))?;
        let probation = log
            .probation()
            .map_err(Error::storage("read the probation", group))?;
        let probation = probation.map(|stored| Probation::load(&stored)).transpose()?;
        let metrics = raft.metrics();
        let trusted = probation.is_none_or(|probation| !probation.lasts(newest_membership(&metrics)));
        let may_vote = Instant::now() >= inner.votes_from || votes_alone(&raft, group).await?;
        let campaigns = trusted && may_vote;
        raft.runtime_config().elect(campaigns);
        freshness.watch(metrics.clone());
        let config = &inner.config;
        Ok(Arc::new(Self {
            group,
            rounds: Proposals::new(inner, group, raft.clone()),
            leadership: Leadership::new(raft.clone(), contacts, confirming, config),
            raft,
            snapshots,
            freshness,
            confirmations: Rounds::new(config.reads_max),
            awaited,
            votes_from: inner.votes_from,
            campaigns: AtomicBool::new(campaigns),
            probation: Mutex::new(probation),
            read_indexes: Rounds::new(config.reads_max),
            proposals: Semaphore::new(config.proposals_max),
            proposals_max: config.proposals_max,
            reads_max: config.reads_max,
            retry_after: config.retry_after,
            log,
            metrics,
            applied,
            belongs,
            silent: AtomicBool::new(false),
            damage: damage.clone(),
        }))
    }

    pub(crate) fn status(&self) -> GroupStatus {
        let mut status = GroupStatus::of(self.group, &self.metrics.borrow_watched());
        status.damaged = self.damage.found().map(str::to_owned);
        status
    }

    /// Takes note that its store is damaged.
    pub(crate) fn found_damaged(&self, reason: &str) {
        if self.damage.note_found(reason) {
            tracing::error!(group = %self.group, damage = reason, "the store of this group is damaged on this node");
        }
    }

    pub(crate) fn metrics(&self) -> MetricsWatch {
        self.metrics.clone()
    }

    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.clone()
    }

    /// Whether its state is at least as new as its admission to the group. Before that it is empty, or of long ago.
    pub(crate) fn is_filled(&self) -> bool {
        self.belongs.load(Ordering::Acquire) && !self.on_probation()
    }

    pub(crate) fn applied_index(&self) -> u64 {
        *self.applied.borrow()
    }

    /// Who leads, as far as this replica knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let metrics = self.metrics.borrow_watched();
        metrics
            .running_state
            .is_ok()
            .then_some(metrics.current_leader)
            .flatten()
            .map(NodeId::new)
    }

    /// How long ago `leader` gave the last sign of leading, if it leads as far as this replica can tell. A leader on this
    /// node does so all the time: if it was replaced, it hears so from whoever can tell it.
    pub(crate) fn silence_of(&self, leader: NodeId) -> Option<Duration> {
        if self.leader() != Some(leader) {
            return None;
        }
        match self.metrics.borrow_watched().id == leader.get() {
            true => Some(Duration::ZERO),
            false => self.freshness.silence(leader.get()),
        }
    }

    /// Everybody in the group.
    pub(crate) fn members(&self) -> Vec<NodeId> {
        let metrics = self.metrics.borrow_watched();
        metrics
            .membership_config
            .nodes()
            .map(|(node, _)| NodeId::new(*node))
            .collect()
    }

    /// A member and its address.
    pub(crate) fn peer(&self, node: NodeId) -> Option<Peer> {
        let metrics = self.metrics.borrow_watched();
        let address = metrics.membership_config.get_node(&node.get());
        address.map(|address| address.of_node(node.get()))
    }

    /// On the leader: how many others must hear from it. 0 on everybody else.
    pub(crate) fn followers(&self) -> usize {
        let metrics = self.metrics.borrow_watched();
        if metrics.running_state.is_err() || !metrics.state.is_leader() {
            return 0;
        }
        let members = metrics.membership_config.nodes();
        members.filter(|(node, _)| **node != metrics.id).count()
    }

    /// Has the leader show its followers that it leads. A group that is too busy even for that is left alone: what
    /// keeps it busy shows as much.
    pub(crate) fn beat(&self) {
        let trigger = self.raft.trigger();
        // Never waits. The scheduler's budget must not make it seem to.
        let _ = tokio::task::unconstrained(trigger.heartbeat()).now_or_never();
    }

    /// The fault that stopped it, the first time it is asked for.
    pub(crate) fn new_fault(&self) -> Option<Error> {
        if self.silent.load(Ordering::Relaxed) {
            return None;
        }
        let fault = self.fault()?;
        (!self.silent.swap(true, Ordering::Relaxed)).then_some(fault)
    }

    /// The fault that stopped it.
    pub(crate) fn fault(&self) -> Option<Error> {
        let metrics = self.metrics.borrow_watched();
        metrics
            .running_state
            .as_ref()
            .err()
            .map(|fatal| stopped(self.group, fatal))
    }

    /// Proposes an entry, if this replica leads.
    pub(crate) async fn propose(&self, entry: Bytes) -> Outcome<Committed> {
        let Ok(_turn) = self.proposals.try_acquire() else {
            return self.busy("queue of proposals", self.proposals_max);
        };
        let backlog = self.log.backlog();
        if backlog.is_long() {
            return self.busy("queue of the log in bytes", backlog.limit_bytes);
        }
        self.rounds.propose(Request::Entry(entry)).await
    }

    /// Proposes a mark, if this replica leads.
    pub(crate) async fn mark(&self) -> Outcome<Committed> {
        self.rounds.propose(Request::Mark).await
    }

    /// Confirms with a quorum that this replica leads, and tells the index that a read must wait for.
    pub(crate) async fn confirm(&self) -> Outcome<u64> {
        let leadership = self.leadership.clone();
        let round = move || {
            let leadership = leadership.clone();
            async move { leadership.confirm().await }
        };
        match self.confirmations.join(round).await {
            Ok(outcome) => outcome,
            Err(NoAnswer::Full) => self.busy("queue of reads", self.reads_max),
            Err(NoAnswer::Lost) => {
                Outcome::Unavailable("the confirmation of leadership broke off".to_owned())
            }
        }
    }

    /// The same for a reader at another member, which must hear soon that everything up to that index is committed.
    pub(crate) async fn confirm_to_follower(&self) -> Outcome<u64> {
        let confirmed = self.confirm().await;
        if let Outcome::Done(index) = confirmed {
            self.awaited.send_if_modified(|awaited| {
                let later = index > *awaited;
                *awaited = index.max(*awaited);
                later
            });
        }
        confirmed
    }

    fn busy<T>(&self, queue: &'static str, limit: usize) -> Outcome<T> {
        Outcome::Busy(Busy {
            queue: queue.into(),
            limit,
            retry_after: self.retry_after,
        })
    }

    /// Stops it. Its store may be opened again afterwards.
    pub(crate) async fn stop(&self) {
        self.silent.store(true, Ordering::Relaxed);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(group = %self.group, %error, "a replica did not stop in order");
        }
    }
}

/// A replica that a fault has stopped.
fn stopped(group: GroupId, fatal: &Fatal) -> Error {
    Error::Stopped {
        group,
        reason: chain(fatal),
    }
}
