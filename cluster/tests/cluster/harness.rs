//! Nodes that can be started, stopped and started again, and waiting for what they should come to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use covey_cluster::{
    Ahead, Committed, Consistency, GroupStatus, Host, HostConfig, Identity, LogPosition, Peer, Role,
    StateMachine, Stores,
};
use covey_state::{Change, GroupId, Key, NodeId, Record, View as _};
use covey_storage as storage;
use covey_storage::{GroupBatch, RaftDb, RaftDbConfig, StateDb, StateDbConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

pub(crate) const GROUP: GroupId = GroupId::new(1);

/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The moment at which a test gives up.
pub(crate) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

/// Waits until `holds` gives something.
pub(crate) async fn eventually<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let waiting = async {
        loop {
            ticks.tick().await;
            if let Some(found) = holds() {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never came: {what}"))
}

/// Timers for a busy test machine, and snapshots after a few entries.
pub(crate) fn config() -> HostConfig {
    HostConfig {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_millis(500),
        election_max: Duration::from_millis(1_000),
        snapshot_every: 50,
        logs_kept: 10,
        purge_batch: 1,
        lag_max: 100,
        snapshot_chunk_bytes: 1_000,
        promote_lag_max: 10,
        ..HostConfig::default()
    }
}

/// How far ahead of every clock entries named `tomorrow` are.
pub(crate) const TOMORROW: Duration = Duration::from_secs(86_400);

/// While a test holds it, no machine gets beyond an entry named `held`.
pub(crate) static HOLD: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Entries are `name=number`; the state is a map from names to numbers, and the answer is the old number. `held` waits for
/// [`HOLD`].
struct Numbers {
    node: NodeId,
}

impl StateMachine for Numbers {
    fn apply(&self, _: LogPosition, entry: &[u8], batch: &mut GroupBatch) -> Result<Bytes, storage::Error> {
        let entry = std::str::from_utf8(entry).unwrap();
        let (name, number) = entry.split_once('=').unwrap();
        if name == format!("fault on {}", self.node) {
            return Err(storage::Error::Injected("a test's fault"));
        }
        let number = number.parse().unwrap();
        if name == "held" {
            drop(HOLD.blocking_lock());
        }
        let key = Key::ProducerFloor(name.to_owned());
        let before = match batch.get(&key).unwrap() {
            Some(Record::Number(before)) => before.to_string(),
            _ => "none".to_owned(),
        };
        batch.stage(Change::Put(key, Record::Number(number)));
        Ok(Bytes::from(before))
    }

    fn admit(&self, entry: &[u8]) -> Result<(), Ahead> {
        let (by, limit) = (TOMORROW, Duration::from_secs(10));
        match entry.starts_with(b"tomorrow=") {
            true => Err(Ahead { by, limit }),
            false => Ok(()),
        }
    }
}

/// A node that runs.
struct Running {
    host: Host,
    registry: prometheus::Registry,
    statedb: StateDb,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

/// A node, running or not.
pub(crate) struct TestNode {
    pub(crate) peer: Peer,
    cluster: Uuid,
    config: HostConfig,
    dir: PathBuf,
    incarnation: u64,
    running: Option<Running>,
}

impl TestNode {
    pub(crate) fn host(&self) -> &Host {
        &self.running.as_ref().unwrap().host
    }

    pub(crate) fn status(&self) -> GroupStatus {
        self.host().group(GROUP).unwrap()
    }

    /// What a counter of this node has come to, over all its labels.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let families = self.running.as_ref().unwrap().registry.gather();
        // A counter with labels is not there before it has counted anything.
        let family = families.iter().filter(|family| family.name() == name);
        let metrics = family.flat_map(|family| family.get_metric());
        metrics
            .map(|metric| metric.get_counter().get_value())
            .sum::<f64>() as u64
    }

    /// What this node's own state holds, whatever its age.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        let view = self.running.as_ref().unwrap().statedb.group(GROUP).read();
        match view.get(&Key::ProducerFloor(name.to_owned())).unwrap() {
            Some(Record::Number(number)) => Some(number),
            _ => None,
        }
    }

    /// Changes this node's state behind the back of its group, which must be at rest.
    pub(crate) fn tamper(&self, change: Change) {
        let group = self.running.as_ref().unwrap().statedb.group(GROUP);
        let applied = group.applied().unwrap().unwrap();
        let mut batch = group.batch();
        batch.stage(change);
        batch.commit(applied).unwrap();
    }

    /// Where the files of its state are.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.join("state").join("db")
    }

    /// Opens the state of a node that does not run, and closes it again.
    pub(crate) async fn open_and_close_state(&self) {
        drop(self.open_state().await);
    }

    /// Empties the state of a node that does not run, as if its files had not been written.
    pub(crate) async fn lose_state(&self) {
        self.open_state().await.group(GROUP).clear().unwrap();
    }

    /// Where its snapshots are.
    pub(crate) fn snapshot_dir(&self) -> PathBuf {
        self.dir.join("snapshots")
    }

    pub(crate) async fn put(&self, name: &str, number: u64) -> Committed {
        let entry = Bytes::from(format!("{name}={number}"));
        self.host().propose(GROUP, entry, deadline()).await.unwrap()
    }

    /// Reads with the strongest promise.
    pub(crate) async fn read(&self, name: &str) -> Option<u64> {
        self.host()
            .read(GROUP, Consistency::Linearizable, deadline())
            .await
            .unwrap();
        self.number(name)
    }

    /// Starts the node on the address it had before, if it had one.
    pub(crate) async fn start(&mut self) {
        self.incarnation += 1;
        let address = if self.peer.peer_addr.is_empty() {
            "127.0.0.1:0"
        } else {
            &self.peer.peer_addr
        };
        let listener = listen(address).await;
        self.peer.peer_addr = listener.local_addr().unwrap().to_string();
        let statedb = self.open_state().await;
        let stores = Stores {
            raftdb: self.open_log().await,
            statedb: statedb.clone(),
            snapshot_dir: self.dir.join("snapshots"),
        };
        let identity = Identity {
            cluster: self.cluster,
            node: self.peer.node,
            incarnation: self.incarnation,
        };
        let machine = Arc::new(Numbers { node: self.peer.node });
        let registry = prometheus::Registry::new();
        let config = HostConfig {
            registry: Some(registry.clone()),
            ..self.config.clone()
        };
        let host = Host::start(config, identity, stores, machine).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Server::builder()
            .add_service(host.peer_service())
            .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async {
                drop(stopped.await)
            });
        let server = tokio::spawn(async move { served.await.unwrap() });
        self.running = Some(Running {
            host,
            registry,
            statedb,
            stop,
            server,
        });
    }

    /// Stops the node; what it has on disk stays.
    pub(crate) async fn stop(&mut self) {
        let Running {
            host,
            registry: _,
            statedb,
            stop,
            server,
        } = self.running.take().unwrap();
        host.shutdown().await;
        drop(statedb);
        // An orderly stop waits for the streams of the peers, which must have ended with the host.
        stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, server).await.unwrap().unwrap();
    }

    // The tasks of the groups that were stopped may hold the databases a little longer.
    async fn open_log(&self) -> RaftDb {
        let path = self.dir.join("raft");
        eventually("the log database is free", || {
            RaftDb::open(&path, RaftDbConfig::default()).ok()
        })
        .await
    }

    async fn open_state(&self) -> StateDb {
        let path = self.dir.join("state");
        eventually("the state database is free", || {
            StateDb::open(&path, StateDbConfig::default()).ok()
        })
        .await
    }
}

async fn listen(address: &str) -> TcpListener {
    let address: SocketAddr = address.parse().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    socket.listen(64).unwrap()
}

/// Nodes of one cluster, numbered from 1.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<TestNode>,
    /// Goes with the cluster, unless the caller keeps it.
    _dir: Option<TempDir>,
}

impl Cluster {
    /// Nodes that run and know each other, without any group.
    pub(crate) async fn of(count: u64, config: HostConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Self::within(dir.path(), count, config).await;
        cluster._dir = Some(dir);
        cluster
    }

    /// The same with their data in a directory of the caller's, where it may be already.
    pub(crate) async fn within(dir: &Path, count: u64, config: HostConfig) -> Self {
        let cluster = Uuid::new_v4();
        let mut nodes = Vec::new();
        for number in 1..=count {
            let node = NodeId::new(number);
            let mut node = TestNode {
                peer: Peer {
                    node,
                    peer_addr: String::new(),
                    api_addr: format!("api-{number}"),
                },
                cluster,
                config: config.clone(),
                dir: dir.join(number.to_string()),
                incarnation: 0,
                running: None,
            };
            node.start().await;
            nodes.push(node);
        }
        let cluster = Self { nodes, _dir: None };
        cluster.introduce();
        cluster
    }

    /// Nodes that are all voters of the group, with a leader.
    pub(crate) async fn voting(count: u64, config: HostConfig) -> Self {
        let cluster = Self::of(count, config).await;
        for node in &cluster.nodes[1..] {
            node.host().open_group(GROUP).await.unwrap();
        }
        let peers = cluster.nodes.iter().map(|node| node.peer.clone()).collect();
        cluster.nodes[0]
            .host()
            .bootstrap_group(GROUP, peers)
            .await
            .unwrap();
        cluster.leader().await;
        cluster
    }

    /// Tells every running node where the others are.
    pub(crate) fn introduce(&self) {
        for node in self.nodes.iter().filter(|node| node.running.is_some()) {
            for other in &self.nodes {
                node.host().knows(other.peer.clone()).unwrap();
            }
        }
    }

    /// Lets no message through between two nodes, until they are introduced again.
    pub(crate) fn cut(&self, one: usize, other: usize) {
        for (from, to) in [(one, other), (other, one)] {
            if self.nodes[from].running.is_some() {
                let peer = Peer {
                    peer_addr: NOWHERE.to_owned(),
                    ..self.nodes[to].peer.clone()
                };
                self.nodes[from].host().knows(peer).unwrap();
            }
        }
    }

    /// The place of the leader among the running nodes, once there is one.
    pub(crate) async fn leader(&self) -> usize {
        eventually("a leader", || {
            self.nodes.iter().position(|node| {
                node.running.is_some()
                    && node
                        .host()
                        .group(GROUP)
                        .is_some_and(|status| status.role == Role::Leader)
            })
        })
        .await
    }

    /// A place that the leader does not have.
    pub(crate) async fn follower(&self) -> usize {
        let leader = self.leader().await;
        (0..self.nodes.len())
            .find(|place| *place != leader && self.nodes[*place].running.is_some())
            .unwrap()
    }
}

/// Ids of nodes.
pub(crate) fn ids(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<NodeId> {
    numbers.into_iter().map(NodeId::new).collect()
}
