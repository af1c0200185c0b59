//! Closed-loop clients: each sends a request, waits for the answer, and sends the next, until the time is over.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use covey_proto::etcd::kv_client::KvClient;
use covey_proto::etcd::{PutRequest, RangeRequest};
use futures::future::try_join_all;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use tonic::transport::{Channel, Endpoint};

use crate::bench::percentile;

/// Keys that are written and read.
const KEYS: u64 = 10_000;
/// Bytes of a value.
const VALUE_BYTES: usize = 256;
/// Clients that share a connection.
const CLIENTS_PER_CONNECTION: usize = 8;
/// How long a cluster may take to answer for the first time.
const COMES_UP_WITHIN: Duration = Duration::from_secs(60);
/// The pause between two questions whether it is up.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Set a random key to a new value.
    Put,
    /// Read a random key, linearizably.
    Get,
}

/// How long the clients run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    /// Before the clock runs.
    pub(super) warm_up: Duration,
    /// While it runs.
    pub(super) measured: Duration,
}

/// What was measured.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    /// Answers per second.
    pub(super) per_second: f64,
    /// Sorted latencies in milliseconds.
    latencies: Vec<f64>,
}

impl Rate {
    /// The latency in milliseconds that this share of the answers did not exceed.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        percentile(&self.latencies, share)
    }
}

/// Connections to every node of a cluster.
pub(super) struct Clients {
    endpoints: Vec<Endpoint>,
}

impl Clients {
    /// Clients of the nodes at these addresses.
    pub(super) fn of(addresses: &[String]) -> Result<Self> {
        let endpoints = addresses
            .iter()
            .map(|address| Ok(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true)))
            .collect::<Result<_>>()?;
        Ok(Self { endpoints })
    }

    /// Writes every key through every node in turn, as soon as the cluster takes it.
    pub(super) async fn fill(&self) -> Result<()> {
        self.write_first(KEYS).await
    }

    /// Writes a few keys, so that the cluster is known to be up.
    pub(super) async fn greet(&self) -> Result<()> {
        self.write_first(64).await
    }

    async fn write_first(&self, keys: u64) -> Result<()> {
        let until = Instant::now() + COMES_UP_WITHIN;
        let mut connections = Vec::new();
        for endpoint in &self.endpoints {
            connections.push(KvClient::new(endpoint.connect_lazy()));
        }
        let lanes = (0..64_u64).map(|lane| {
            let mut client = connections[lane as usize % connections.len()].clone();
            async move {
                for key in (lane..keys).step_by(64) {
                    put_until(&mut client, key, until).await?;
                }
                Ok::<_, anyhow::Error>(())
            }
        });
        try_join_all(lanes).await.map(drop)
    }

    /// Lets `count` clients, spread over all nodes, do the same thing over and over.
    pub(super) async fn run(&self, count: usize, operation: Operation, span: Span) -> Result<Rate> {
        let nodes = self.endpoints.len();
        let per_node = count.div_ceil(nodes).div_ceil(CLIENTS_PER_CONNECTION).max(1);
        let mut channels = Vec::new();
        for endpoint in &self.endpoints {
            let mut of_node = Vec::new();
            for _ in 0..per_node {
                of_node.push(endpoint.connect().await.context("connecting")?);
            }
            channels.push(of_node);
        }
        let started = Instant::now();
        let clients = (0..count).map(|number| {
            let of_node = &channels[number % nodes];
            let channel = of_node[number / nodes % of_node.len()].clone();
            tokio::spawn(client(channel, number as u64, operation, started, span))
        });
        let mut latencies = Vec::new();
        for finished in try_join_all(clients.collect::<Vec<_>>()).await? {
            latencies.extend(finished?);
        }
        ensure!(!latencies.is_empty(), "no answer while the clock ran");
        latencies.sort_by(f64::total_cmp);
        #[allow(clippy::cast_precision_loss)] // Far fewer answers than a float counts.
        let per_second = latencies.len() as f64 / span.measured.as_secs_f64();
        Ok(Rate {
            per_second,
            latencies,
        })
    }
}

/// One client; gives its latencies in milliseconds.
async fn client(
    channel: Channel,
    seed: u64,
    operation: Operation,
    started: Instant,
    span: Span,
) -> Result<Vec<f64>> {
    let mut client = KvClient::new(channel);
    let mut random = SmallRng::seed_from_u64(seed);
    let (begin, end) = (started + span.warm_up, started + span.warm_up + span.measured);
    let mut latencies = Vec::new();
    loop {
        let sent = Instant::now();
        let key = key(random.gen_range(0..KEYS));
        match operation {
            Operation::Put => {
                let value = value(&mut random);
                client
                    .put(PutRequest { key, value })
                    .await
                    .context("a put failed")?;
            }
            Operation::Get => {
                let request = RangeRequest {
                    key,
                    serializable: false,
                };
                let reply = client.range(request).await.context("a get failed")?.into_inner();
                let found = reply.kvs.first().map_or(0, |pair| pair.value.len());
                ensure!(found == VALUE_BYTES, "a get found {found} of {VALUE_BYTES} bytes");
            }
        }
        let answered = Instant::now();
        if answered >= end {
            return Ok(latencies);
        }
        if sent >= begin {
            latencies.push((answered - sent).as_secs_f64() * 1e3);
        }
    }
}

async fn put_until(client: &mut KvClient<Channel>, number: u64, until: Instant) -> Result<()> {
    let mut random = SmallRng::seed_from_u64(number);
    loop {
        let request = PutRequest {
            key: key(number),
            value: value(&mut random),
        };
        match client.put(request).await {
            Ok(_) => return Ok(()),
            Err(status) if Instant::now() >= until => {
                bail!(
                    "the cluster did not come up within {COMES_UP_WITHIN:?}: {}",
                    status.message()
                )
            }
            // sleep: it is still electing; asking more often would not speed it up.
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

fn key(number: u64) -> Bytes {
    format!("key-{number:08}").into()
}

fn value(random: &mut SmallRng) -> Bytes {
    let mut bytes = vec![0; VALUE_BYTES];
    random.fill(bytes.as_mut_slice());
    bytes.into()
}
