//! A running node: its parts in the order in which they are started, and stopped in the opposite one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use covey_cluster::{Host, HostConfig, Probation, Stores};
use covey_state::GroupId;
use covey_storage::{ArtifactStore, RaftDb, RaftDbConfig, StateDb, StateDbConfig};
use futures::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::supervisor::RootSupervisor;
use super::{founding, rebuild, services};
use crate::api::{self, Gate, Health, Ports};
use crate::artifacts::Artifacts;
use crate::catalog::{CatalogCopy, CatalogWatch, feed};
use crate::clock::{Clock, TimedMachine};
use crate::config::Config;
use crate::context::{ComputePool, Context};
use crate::drift;
use crate::error::chain;
use crate::features::service_plan::Plans;
use crate::identity::{DataDir, Identity};
use crate::ledger::{Ledger, Parts};
use crate::membership::{self, Census, Membership, hand_over};
use crate::metrics::Metrics;
use crate::peers::Peers;

/// How long handing over the leaderships may take when the node stops.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(1);
/// How long requests that were begun get to finish when the node stops.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How often it is looked whether a store has been stopped.
const STORES_LOOK_EVERY: Duration = Duration::from_millis(500);

/// The parts of a node that is up.
pub(super) struct RunningNode {
    context: Context,
    root: RootSupervisor,
    health: Health,
    ports: Listening,
    failures: Mutex<mpsc::Receiver<anyhow::Error>>,
    _data: Arc<DataDir>,
}

/// The ports while they are served.
struct Listening {
    failed: mpsc::Sender<anyhow::Error>,
    api: CancellationToken,
    peer: CancellationToken,
    tasks: Mutex<Vec<tokio::task::JoinHandle<()>>>,
}

/// The stores of a node.
struct Opened {
    raftdb: RaftDb,
    statedb: StateDb,
    artifacts: ArtifactStore,
}

impl RunningNode {
    /// Builds the node bottom-up: stores, consensus, the way to it, services, ports.
    pub(super) async fn start(
        config: Config,
        data: DataDir,
        identity: Identity,
        ports: Ports,
    ) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::new()?);
        let stores = open_stores(&config, &identity, &metrics).await?;
        let (raftdb, statedb) = (stores.raftdb.clone(), stores.statedb.clone());
        let clock = Clock::new(identity.node_id, config.max_clock_skew);
        if identity.founding.is_some() {
            // Nobody else is there yet.
            clock.compared();
        }
        let machine = Arc::new(TimedMachine::new(clock.clone()));
        let host = start_host((&config, &metrics), &identity, &stores, machine).await?;
        if identity.founding.is_some() {
            founding::bootstrap(&host, &config, &identity).await?;
        } else if host.group(GroupId::CONTROL).is_none() {
            // It may have been erased here to be rebuilt, and the node have died before it was admitted anew. Whoever
            // admits it says what it has to hear of.
            host.admit_group(GroupId::CONTROL, Probation::UNTIL_TOLD).await?;
        }
        let (copies, catalog) = CatalogWatch::channel();
        let context = assemble((config, metrics), &identity, (host, stores, catalog), clock)?;
        let root = RootSupervisor::start(context.ledger.node()).await?;
        keep_catalog(&context, &root, copies);

        let (failed, failures) = mpsc::channel(4);
        watch_stores(&root, raftdb, statedb, failed.clone());
        let listening = Listening::new(failed);
        let membership = Membership::new(context.clone());
        let gate = Gate::new(context.clone(), membership.clone());
        let peer_routes = services::peer_routes(&context, &membership, gate.clone());
        listening.serve(ports.peer, peer_routes, &listening.peer).await;
        founding::write_down(&context.ledger, &context.config, &data, identity.clone()).await?;
        let data = Arc::new(data);
        keep_seeds(&context, &root, &data, identity);
        membership.spawn(&root);
        services::spawn(&context, &root).await?;
        let (health, api_routes) = services::public_routes(&context, gate).await?;
        listening.serve(ports.api, api_routes, &listening.api).await;
        tracing::info!(node = %context.ledger.node(), api = %context.config.api_listen, peers = %context.config.peer_listen, "ready");
        Ok(Self {
            context,
            root,
            health,
            ports: listening,
            failures: Mutex::new(failures),
            _data: data,
        })
    }

    /// Waits until something that the node cannot do without has failed.
    pub(super) async fn failure(&self) -> anyhow::Error {
        let failure = self.failures.lock().await.recv().await;
        failure.unwrap_or_else(|| anyhow!("the node's ports are gone"))
    }

    /// Stops top-down: no new requests, leaderships away, actors, consensus, stores.
    pub(super) async fn stop(self) {
        self.health.stop().await;
        self.ports.api.cancel();
        drift::flush_before_stop(&self.context).await;
        hand_over(&self.context, HAND_OVER_LIMIT).await;
        self.root.stop().await;
        // The peers' streams end with consensus; the port would wait for them.
        self.context.ledger.host().clone().shutdown().await;
        self.ports.peer.cancel();
        let tasks = std::mem::take(&mut *self.ports.tasks.lock().await);
        if tokio::time::timeout(DRAIN_LIMIT, join_all(tasks)).await.is_err() {
            tracing::debug!("connections were cut off");
        }
        if let Err(error) = self.context.ledger.statedb().flush() {
            tracing::error!(%error, "the state could not be flushed; the log has it");
        }
        tracing::info!("stopped");
    }
}

/// Opens the stores. A damaged node that knows others begins anew from them first.
async fn open_stores(config: &Config, identity: &Identity, metrics: &Metrics) -> anyhow::Result<Opened> {
    rebuild::finish(config)?;
    let failure = match Opened::open(config, metrics).await {
        Err(failure) if rebuild::is_damage(&failure) && !identity.seeds.is_empty() => failure,
        opened => return opened,
    };
    let damage = format!("{failure:#}");
    tracing::error!(
        damage,
        "the stores are damaged; this node has its groups let it go, and begins anew"
    );
    rebuild::begin_anew(config, identity).await?;
    Opened::open(config, metrics).await
}

impl Opened {
    async fn open(config: &Config, metrics: &Metrics) -> anyhow::Result<Self> {
        let paths = ["raft", "state", "artifacts"].map(|part| config.store_path(part));
        let opened = tokio::task::spawn_blocking(move || {
            let [raft, state, artifacts] = paths;
            Ok::<_, covey_storage::Error>(Self {
                raftdb: RaftDb::open(&raft, RaftDbConfig::default())?,
                statedb: StateDb::open(&state, StateDbConfig::default())?,
                artifacts: ArtifactStore::open(&artifacts)?,
            })
        });
        let opened = opened.await?.context("cannot open the stores")?;
        opened.raftdb.metrics().register(metrics.registry())?;
        Ok(opened)
    }
}

async fn start_host(
    (config, metrics): (&Config, &Metrics),
    identity: &Identity,
    stores: &Opened,
    machine: Arc<TimedMachine>,
) -> anyhow::Result<Host> {
    let every = config.snapshot_every;
    let settings = HostConfig {
        snapshot_every: every,
        logs_kept: every / 4,
        purge_batch: (every / 20).max(1),
        lag_max: every + every / 2,
        lease_reads: config.lease_reads,
        registry: Some(metrics.registry().clone()),
        ..HostConfig::default()
    };
    let own = covey_cluster::Identity {
        cluster: identity.cluster_id,
        node: identity.node_id,
        incarnation: identity.incarnation,
    };
    let stores = Stores {
        raftdb: stores.raftdb.clone(),
        statedb: stores.statedb.clone(),
        snapshot_dir: config.store_path("snapshots"),
    };
    let host = Host::start(settings, own, stores, machine)
        .await
        .context("cannot start consensus")?;
    for seed in &identity.seeds {
        host.knows(seed.clone())?;
    }
    Ok(host)
}

fn assemble(
    (config, metrics): (Arc<Config>, Arc<Metrics>),
    identity: &Identity,
    below: (Host, Opened, CatalogWatch),
    clock: Clock,
) -> anyhow::Result<Context> {
    let (host, stores, catalog) = below;
    let peers = Peers::new(host.clone());
    let ledger = Ledger::new(Parts {
        node: identity.node_id,
        groups: identity.groups,
        host,
        statedb: stores.statedb,
        catalog: catalog.clone(),
        peers: peers.clone(),
        clock: clock.clone(),
    });
    let artifacts = Artifacts::new(identity.node_id, stores.artifacts, peers.clone(), catalog.clone());
    Ok(Context {
        ledger,
        catalog,
        plans: Plans::default(),
        peers,
        artifacts,
        census: Census::new(config.dead_after),
        metrics,
        compute: ComputePool::of_this_machine(),
        clock,
        config,
        incarnation: identity.incarnation,
    })
}

fn keep_catalog(context: &Context, root: &RootSupervisor, copies: watch::Sender<Arc<CatalogCopy>>) {
    let (host, statedb) = (context.ledger.host().clone(), context.ledger.statedb().clone());
    root.run("catalog", move || {
        feed(host.clone(), statedb.clone(), copies.clone())
    });
}

/// Keeps the addresses of the other nodes where they are found without any group: whoever has lost all of them needs a way in.
fn keep_seeds(context: &Context, root: &RootSupervisor, data: &Arc<DataDir>, identity: Identity) {
    let (catalog, data) = (context.catalog.clone(), Arc::clone(data));
    let identity = Identity {
        founding: None,
        ..identity
    };
    root.run("seeds", move || {
        membership::keep_seeds(catalog.changes(), Arc::clone(&data), identity.clone())
    });
}

/// A node whose log or state writes nothing any more is of no use until it starts again: others lead and vote in its place.
fn watch_stores(
    root: &RootSupervisor,
    raftdb: RaftDb,
    statedb: StateDb,
    failed: mpsc::Sender<anyhow::Error>,
) {
    root.run("stores", move || {
        let (raftdb, statedb, failed) = (raftdb.clone(), statedb.clone(), failed.clone());
        async move {
            let reason = loop {
                if let Some(failure) = raftdb.failure() {
                    break format!("{}; start the node again", chain(&failure));
                }
                if statedb.is_stopped() {
                    break "the state cannot be written any more; the log says why; start the node again"
                        .to_owned();
                }
                // sleep: the stores tell nobody.
                tokio::time::sleep(STORES_LOOK_EVERY).await;
            };
            // The channel holds a failure of each part; more cannot come.
            drop(failed.try_send(anyhow!(reason)));
        }
    });
}

impl Listening {
    fn new(failed: mpsc::Sender<anyhow::Error>) -> Self {
        Self {
            failed,
            api: CancellationToken::new(),
            peer: CancellationToken::new(),
            tasks: Mutex::default(),
        }
    }

    /// Serves a port in the background; its failure is the node's.
    async fn serve(&self, listener: TcpListener, routes: Routes, stopping: &CancellationToken) {
        let (failed, stopping) = (self.failed.clone(), stopping.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = api::serve(listener, routes, stopping).await {
                // The channel holds a failure of each port; more cannot come.
                drop(failed.try_send(error));
            }
        });
        self.tasks.lock().await.push(task);
    }
}
