//! A client of the whole demo cluster: asks one node, and the next one when that is gone. Every request carries an id
//! that stays the same from try to try, so asking twice is harmless.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
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
/// The largest message in either direction.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// An endpoint that did not answer is passed over for so long.
const PASS_OVER: Duration = Duration::from_secs(2);

/// A node that can be asked.
struct Node {
    endpoint: String,
    channel: Channel,
    /// When it last failed to answer.
    failed_at: Option<Instant>,
}

/// The nodes that can be asked, in turn, and how often another one had to be tried.
#[derive(Clone, Default)]
pub(crate) struct Fleet {
    nodes: Arc<RwLock<Vec<Node>>>,
    turn: Arc<AtomicUsize>,
    retries: Arc<AtomicU64>,
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
    /// Adds an endpoint such as `http://127.0.0.1:7400`. It connects when it is first asked.
    pub(crate) fn add(&self, endpoint: &str) -> Result<()> {
        let channel = Endpoint::from_shared(endpoint.to_owned())
            .with_context(|| format!("`{endpoint}` is no endpoint"))?
            .connect_timeout(Duration::from_secs(1))
            .connect_lazy();
        self.nodes.write().push(Node {
            endpoint: endpoint.to_owned(),
            channel,
            failed_at: None,
        });
        Ok(())
    }

    /// Asks this endpoint no more.
    pub(crate) fn remove(&self, endpoint: &str) {
        self.nodes.write().retain(|node| node.endpoint != endpoint);
    }

    /// How many tries had to be made again.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// The next node in turn; one that has just failed only if all have.
    pub(crate) fn connection(&self) -> Result<Connection> {
        let (_, channel) = self.next()?;
        Ok(Connection(channel))
    }

    fn next(&self) -> Result<(String, Channel)> {
        let nodes = self.nodes.read();
        let fresh: Vec<&Node> = nodes
            .iter()
            .filter(|node| node.failed_at.is_none_or(|at| at.elapsed() > PASS_OVER))
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let chosen = match fresh.len() {
            0 => nodes.get(turn % nodes.len().max(1)),
            count => fresh.get(turn % count).copied(),
        };
        let node = chosen.ok_or_else(|| anyhow!("no endpoint is left"))?;
        Ok((node.endpoint.clone(), node.channel.clone()))
    }

    fn failed(&self, endpoint: &str) {
        if let Some(node) = self
            .nodes
            .write()
            .iter_mut()
            .find(|node| node.endpoint == endpoint)
        {
            node.failed_at = Some(Instant::now());
        }
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Asks until it is answered, moving on to the next node when one is gone or busy. An answer that would be the same
    /// everywhere, such as a refusal, is given back at once.
    pub(crate) async fn ask<T, F>(&self, mut ask: impl FnMut(Connection) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let started = Instant::now();
        loop {
            let (endpoint, channel) = self.next()?;
            let answer = tokio::time::timeout(TRY_WITHIN, ask(Connection(channel))).await;
            let status = match answer {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            if !may_pass(status.code()) || started.elapsed() > GIVE_UP_AFTER {
                return Err(anyhow!("{}", status.message()).context(format!("{:?}", status.code())));
            }
            self.failed(&endpoint);
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
