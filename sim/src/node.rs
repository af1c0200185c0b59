//! A node of a world: the production host on a runtime, a clock and a disk of its own.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use covey_cluster::{GroupStatus, Host, HostConfig, Identity, Peer, Stores};
use covey_proto::peer::v1 as wire;
use covey_state::{GroupId, Key, NodeId, Record, View as _};
use covey_storage::{Committer, GroupLog, GroupView, RaftDb, RaftDbConfig, StateDb, StateDbConfig, Written};
use tokio::runtime::Runtime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::chance::Chance;
use crate::disk::{self, Lengths};
use crate::event::{Durable, Event};
use crate::ledger::Ledger;
use crate::machine::Watched;
use crate::moment::Moment;
use crate::network::Network;
use crate::trace::Trace;
use crate::workload::MODELS;

/// The group that a world has.
pub(crate) const GROUP: GroupId = GroupId::new(1);

/// What all nodes of a world share.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) home: PathBuf,
    pub(crate) config: HostConfig,
    pub(crate) network: Network,
    pub(crate) trace: Trace,
}

/// A node, running or not.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    surroundings: Surroundings,
    /// How fast its clock runs.
    rate: f64,
    /// How long a sync takes, in milliseconds.
    pub(crate) sync_ms: (u64, u64),
    chance: Chance,
    incarnation: u64,
    running: Option<Running>,
}

/// A node that runs.
struct Running {
    // The order matters: tasks go before what they use.
    runtime: Runtime,
    host: Host,
    raftdb: RaftDb,
    statedb: StateDb,
    committer: Committer,
    /// The batch that is being synced, and when that ends.
    written: Option<(Written, Moment)>,
    began: Moment,
    origin: Instant,
    synced: Lengths,
    syncs: u64,
}

impl Node {
    pub(crate) fn new(id: NodeId, seed: u64, rate: f64, surroundings: Surroundings) -> Self {
        Self {
            id,
            surroundings,
            rate,
            sync_ms: (1, 3),
            chance: Chance::new(seed, &format!("disk of {id}")),
            incarnation: 0,
            running: None,
        }
    }

    /// How others know it.
    pub(crate) fn peer(&self) -> Peer {
        Peer {
            node: self.id,
            peer_addr: format!("{}.sim:1", self.id),
            api_addr: format!("{}.sim:2", self.id),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The host and the runtime to call it on.
    pub(crate) fn host(&self) -> Option<(&Host, &Runtime)> {
        self.running
            .as_ref()
            .map(|running| (&running.host, &running.runtime))
    }

    pub(crate) fn status(&self) -> Option<GroupStatus> {
        self.running.as_ref()?.host.group(GROUP)
    }

    pub(crate) fn log(&self) -> Option<GroupLog> {
        Some(self.running.as_ref()?.raftdb.group(GROUP))
    }

    pub(crate) fn view(&self) -> Option<GroupView> {
        Some(self.running.as_ref()?.statedb.group(GROUP).read())
    }

    pub(crate) fn statedb(&self) -> Option<StateDb> {
        Some(self.running.as_ref()?.statedb.clone())
    }

    fn directory(&self) -> PathBuf {
        self.surroundings
            .home
            .join(format!("{}-{}", self.id, self.incarnation))
    }

    /// Starts it on what its disk holds.
    pub(crate) fn start(&mut self, now: Moment, peers: &[Peer]) -> anyhow::Result<()> {
        let directory = self.directory();
        let (raftdb, committer) = RaftDb::open_by_hand(&directory.join("raft"), log_config())?;
        let statedb = StateDb::open(&directory.join("state"), state_config())?;
        let stores = Stores {
            raftdb: raftdb.clone(),
            statedb: statedb.clone(),
            snapshot_dir: directory.join("snapshots"),
        };
        let durable = durable(&raftdb, &statedb)?;
        let identity = Identity {
            cluster: Uuid::from_u128(1),
            node: self.id,
            incarnation: self.incarnation + 1,
        };
        let Surroundings {
            config,
            network,
            trace,
            ..
        } = &self.surroundings;
        let config = HostConfig {
            carrier: Some(network.carrier(self.id)),
            ..config.clone()
        };
        let machine = Arc::new(Watched {
            node: self.id,
            trace: trace.clone(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        let incarnation = self.incarnation;
        trace.event(Event::Started {
            node: self.id,
            incarnation,
            durable,
        });
        let (host, origin) = runtime.block_on(async {
            let starting = Host::start(config, identity, stores, machine);
            let host = tokio::select! {
                biased;
                host = starting => host?,
                never = commit(&committer) => match never {},
            };
            for peer in peers {
                host.knows(peer.clone())?;
            }
            anyhow::Ok((host, Instant::now()))
        })?;
        network.open(self.id, host.peer_service(), runtime.handle().clone());
        self.running = Some(Running {
            runtime,
            host,
            synced: disk::logs(&directory.join("state").join("db"))?,
            syncs: statedb.syncs(),
            raftdb,
            statedb,
            committer,
            written: None,
            began: now,
            origin,
        });
        Ok(())
    }

    /// Takes its power away.
    pub(crate) fn crash(&mut self) -> anyhow::Result<()> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        self.surroundings.network.close(self.id);
        let before = self.directory();
        self.incarnation += 1;
        let after = self.directory();
        disk::copy(&before, &after)?;
        let states = |directory: &PathBuf| directory.join("state").join("db");
        let torn = disk::tear(
            &states(&before),
            &states(&after),
            &running.synced,
            &mut self.chance,
        )?;
        drop(running);
        let (log, copied) = (before.join("raft"), after.join("raft"));
        let late = disk::straggle(&log, &copied, &mut self.chance)?;
        disk::remove(&before)?;
        let trace = &self.surroundings.trace;
        trace.line(format_args!(
            "{} lost {torn} bytes of state and kept {late} of an unfinished log",
            self.id
        ));
        trace.event(Event::Stopped { node: self.id });
        Ok(())
    }

    /// Lets its clock come up to the world's and everything happen on it that is due.
    pub(crate) fn advance(&mut self, now: Moment) -> anyhow::Result<()> {
        let directory = self.directory();
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        if let Some((written, _)) = running.written.take_if(|(_, due)| *due <= now) {
            written.sync();
        }
        let elapsed = (now.micros() - running.began.micros()) as f64 * self.rate;
        let local = running.origin + Duration::from_millis((elapsed / 1e3) as u64);
        running.runtime.block_on(async {
            // sleep: this is what makes the time of the node pass.
            tokio::time::sleep_until(local).await;
        });
        if running.written.is_none()
            && let Some(written) = running.committer.write()
        {
            let (min, max) = self.sync_ms;
            running.written = Some((written, now.plus_ms(self.chance.within(min, max))));
        }
        if running.statedb.syncs() != running.syncs {
            running.syncs = running.statedb.syncs();
            running.synced = disk::logs(&directory.join("state").join("db"))?;
        }
        Ok(())
    }
}

/// Writes and syncs whatever a starting host waits for: a log that ends before its state begins is purged then.
async fn commit(committer: &Committer) -> Infallible {
    loop {
        while let Some(written) = committer.write() {
            written.sync();
        }
        // sleep: the host asks for the next one in its own time.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// What the stores of a node hold.
fn durable(raftdb: &RaftDb, statedb: &StateDb) -> anyhow::Result<Durable> {
    let vote = raftdb
        .group(GROUP)
        .vote()?
        .map(|stored| unseal::<wire::Vote>(&stored));
    let vote = vote.transpose()?;
    let view = statedb.group(GROUP).read();
    let mut durable = Durable {
        term: vote.as_ref().map_or(0, |vote| vote.term),
        candidate: vote.map(|vote| NodeId::new(vote.node)),
        applied: position(&view)?,
        ledger: Ledger::read(&view)?,
        ..Durable::default()
    };
    for model in MODELS {
        durable.counts.insert(model.to_owned(), count(&view, model)?);
    }
    Ok(durable)
}

/// The last entry that a state has taken in, 0 if none.
pub(crate) fn position(view: &GroupView) -> anyhow::Result<u64> {
    let applied = view.applied()?.map(|stored| unseal::<wire::Applied>(&stored));
    let id = applied.transpose()?.and_then(|applied| applied.log_id);
    Ok(id.map_or(0, |id| id.index))
}

/// How many versions a model has.
pub(crate) fn count(view: &GroupView, model: &str) -> anyhow::Result<u64> {
    match view.get(&Key::Model(model.to_owned()))? {
        Some(Record::Model(model)) => Ok(model.next_version - 1),
        Some(_) | None => Ok(0),
    }
}

/// A stored value without its version byte.
pub(crate) fn unseal<M: prost::Message + Default>(stored: &Bytes) -> anyhow::Result<M> {
    Ok(M::decode(stored.slice(1.min(stored.len())..))?)
}

fn log_config() -> RaftDbConfig {
    RaftDbConfig {
        memtable_bytes: MEMTABLE_BYTES,
        tail_bytes_max: TAIL_BYTES,
        ..RaftDbConfig::default()
    }
}

fn state_config() -> StateDbConfig {
    StateDbConfig {
        memtable_bytes: MEMTABLE_BYTES,
        block_cache_bytes: BLOCK_CACHE_BYTES,
        ..StateDbConfig::default()
    }
}

/// More than a world writes, so that nothing is written by itself in the background.
const MEMTABLE_BYTES: usize = 4 << 20;

/// Little, so that entries are read from disk too.
const TAIL_BYTES: usize = 4 << 10;

/// Enough for a small state.
const BLOCK_CACHE_BYTES: usize = 1 << 20;
