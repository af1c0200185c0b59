//! A client of the whole demo cluster: asks one node, and the next one when that is gone. Every request carries an id
//! that stays the same from try to try, so asking twice is harmless.
//!
//! It knows which nodes are up because the demo starts and stops them. What a node that is up answers is an answer, also
//! when it is a refusal; only what was under way to a node that has just been killed is asked again without a word.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use covey_proto::v1::cluster_client::ClusterClient;
use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::monitoring_client::MonitoringClient;
use covey_proto::v1::registry_client::RegistryClient;
use covey_proto::v1::serving_client::ServingClient;
use covey_proto::v1::training_client::TrainingClient;
use parking_lot::RwLock;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// One try may take this long.
const TRY_WITHIN: Duration = Duration::from_secs(60);
/// A request is given up after this long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked whether a node has answered all that it was asked.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The largest message in either direction.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A node that can be asked.
struct Node {
    endpoint: String,
    channel: Channel,
    /// Whether its process runs and serves, as far as the demo has brought that about.
    is_up: AtomicBool,
}

/// The nodes that can be asked, in turn, and how often another one had to be tried.
#[derive(Clone, Default)]
pub(crate) struct Fleet {
    nodes: Arc<RwLock<Vec<Arc<Node>>>>,
    turn: Arc<AtomicUsize>,
    retries: Arc<AtomicU64>,
}

/// What was answered in the end, and what nodes that were up had answered before.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    /// The answer.
    pub(crate) value: T,
    /// The refusals and failures on the way to it.
    pub(crate) faults: Vec<String>,
}

/// A connection on which one try is made.
#[derive(Clone)]
pub(crate) struct Connection(Channel);

macro_rules! client {
    ($name:ident, $client:ident) => {
        /// A client of the service of that name.
        pub(crate) fn $name(&self) -> $client<Channel> {
            $client::new(self.0.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        }
    };
}

impl Connection {
    client!(cluster, ClusterClient);
    client!(features, FeaturesClient);
    client!(registry, RegistryClient);
    client!(training, TrainingClient);
    client!(serving, ServingClient);
    client!(monitoring, MonitoringClient);
}

impl Fleet {
    /// Adds an endpoint such as `http://127.0.0.1:7400`, which is asked once it is up.
    pub(crate) fn add(&self, endpoint: &str) -> Result<()> {
        let channel = Endpoint::from_shared(endpoint.to_owned())
            .with_context(|| format!("`{endpoint}` is no endpoint"))?
            .connect_timeout(Duration::from_secs(1))
            .connect_lazy();
        self.nodes.write().push(Arc::new(Node {
            endpoint: endpoint.to_owned(),
            channel,
            is_up: AtomicBool::new(false),
        }));
        Ok(())
    }

    /// From now on the node at that endpoint is asked.
    pub(crate) fn is_up(&self, endpoint: &str) {
        self.set_up(endpoint, true);
    }

    /// From now on the node at that endpoint is not asked, and what is under way to it may break.
    pub(crate) fn is_down(&self, endpoint: &str) {
        self.set_up(endpoint, false);
    }

    fn set_up(&self, endpoint: &str, is_up: bool) {
        let nodes = self.nodes.read();
        if let Some(node) = nodes.iter().find(|node| node.endpoint == endpoint) {
            node.is_up.store(is_up, Ordering::SeqCst);
        }
    }

    /// A connection to the node at one endpoint, whether it is up or not.
    pub(crate) fn connection_to(&self, endpoint: &str) -> Result<Connection> {
        let nodes = self.nodes.read();
        let node = nodes.iter().find(|node| node.endpoint == endpoint);
        node.map(|node| Connection(node.channel.clone()))
            .ok_or_else(|| anyhow!("`{endpoint}` is not asked any more"))
    }

    /// Asks this endpoint no more, and waits until it has answered what it was asked.
    pub(crate) async fn take_out(&self, endpoint: &str) -> Result<()> {
        let node = {
            let mut nodes = self.nodes.write();
            let position = nodes.iter().position(|node| node.endpoint == endpoint);
            position.map(|position| nodes.remove(position))
        };
        let Some(node) = node else { return Ok(()) };
        let started = Instant::now();
        while Arc::strong_count(&node) > 1 {
            if started.elapsed() > TRY_WITHIN {
                bail!("{endpoint} has not answered everything after {TRY_WITHIN:?}");
            }
            // sleep: requests take their time; the node is told nothing that would hurry it.
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// How many tries had to be made again.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// The next node in turn.
    pub(crate) fn connection(&self) -> Result<Connection> {
        Ok(Connection(self.next()?.channel.clone()))
    }

    /// The next node that is up; any, when none is.
    fn next(&self) -> Result<Arc<Node>> {
        let nodes = self.nodes.read();
        let is_up = |node: &&Arc<Node>| node.is_up.load(Ordering::SeqCst);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let chosen = match nodes.iter().filter(is_up).count() {
            0 => nodes.get(turn % nodes.len().max(1)),
            count => nodes.iter().filter(is_up).nth(turn % count),
        };
        chosen.cloned().ok_or_else(|| anyhow!("no endpoint is left"))
    }

    /// Asks until it is answered, moving on to the next node when one is gone or busy. An answer that would be the same
    /// everywhere, such as a refusal, is given back at once.
    pub(crate) async fn ask<T, F>(&self, ask: impl FnMut(Connection) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        Ok(self.ask_and_tell(ask).await?.value)
    }

    /// The same, and tells what nodes that were up had answered before.
    pub(crate) async fn ask_and_tell<T, F>(&self, mut ask: impl FnMut(Connection) -> F) -> Result<Answer<T>>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let started = Instant::now();
        let mut faults = Vec::new();
        loop {
            let node = self.next()?;
            let answer = tokio::time::timeout(TRY_WITHIN, ask(Connection(node.channel.clone()))).await;
            let status = match answer {
                Ok(Ok(value)) => return Ok(Answer { value, faults }),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            if !may_pass(status.code()) || started.elapsed() > GIVE_UP_AFTER {
                return Err(anyhow!("{}", status.message()).context(format!("{:?}", status.code())));
            }
            if node.is_up.load(Ordering::SeqCst) {
                faults.push(format!("{:?}: {}", status.code(), status.message()));
            }
            self.retries.fetch_add(1, Ordering::Relaxed);
            drop(node);
            // sleep: the cluster may be electing a leader; asking at once again would only add load.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether the same request may be answered by another node or a little later.
fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Unknown
            | Code::Cancelled
            | Code::Internal
    )
}
