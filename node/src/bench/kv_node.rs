//! Another database on the Raft host: keys and values, spoken to as etcd is. The consensus benchmark runs three of them.
//!
//! It has everything a node's consensus has (log, state, transport, reads by quorum) and nothing of what is above it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::routing::get;
use bytes::Bytes;
use covey_cluster::{
    Consistency, Host, HostConfig, Identity, LogPosition, Peer, SlotMap, StateMachine, Stores, slot_of,
};
use covey_proto::etcd::kv_server::{Kv, KvServer};
use covey_proto::etcd::{KeyValue, PutRequest, PutResponse, RangeRequest, RangeResponse};
use covey_state::{Change, GroupId, Key, NodeId, Record, View as _};
use covey_storage::{self as storage, GroupBatch, RaftDb, RaftDbConfig, StateDb, StateDbConfig};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::api::serve;

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How long a slow disk that has nothing to do waits until it looks again.
const IDLE: Duration = Duration::from_millis(1);

/// What one node is started with.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KvNodeOptions {
    /// Where it keeps everything
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Its place in both lists of addresses, counted from 1
    #[arg(long)]
    pub(crate) node: u64,
    /// How many groups the keys are dealt out over; a power of two
    #[arg(long)]
    pub(crate) groups: u64,
    /// The peer addresses of all nodes
    #[arg(long, value_delimiter = ',')]
    pub(crate) peers: Vec<String>,
    /// The client addresses of all nodes
    #[arg(long, value_delimiter = ',')]
    pub(crate) clients: Vec<String>,
    /// The cluster, the same on all nodes
    #[arg(long)]
    pub(crate) cluster: Uuid,
    /// How long every sync of the log takes at the least, as on a slow disk
    #[arg(long, default_value_t = 0)]
    pub(crate) sync_takes_ms: u64,
}

/// Runs a node until it is told to stop. Its client port answers `/metrics` too.
pub(crate) async fn run(options: KvNodeOptions) -> Result<()> {
    let place = usize::try_from(options.node).unwrap_or(0).wrapping_sub(1);
    ensure!(
        options.peers.len() == options.clients.len() && place < options.peers.len(),
        "--node {} is no place in {} peers and {} clients",
        options.node,
        options.peers.len(),
        options.clients.len()
    );
    let peer_port = TcpListener::bind(&options.peers[place]).await?;
    let client_port = TcpListener::bind(&options.clients[place]).await?;
    let registry = Registry::new();
    let (host, statedb) = open(&options, &registry).await?;
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(peer_port, Routes::new(host.peer_service()), stop.clone()));
    open_groups(&host, &options).await?;
    let service = KvService {
        host: host.clone(),
        statedb,
        slots: SlotMap::new(options.groups)?,
    };
    let pages = axum::Router::new().route("/metrics", get(async move || metrics_page(&registry)));
    let clients = Routes::new(KvServer::new(service))
        .into_axum_router()
        .merge(pages);
    let answered = tokio::spawn(serve(client_port, Routes::from(clients), stop.clone()));
    let mut told = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = told.recv() => {}
        ended = served => ended??,
        ended = answered => ended??,
    }
    host.shutdown().await;
    stop.cancel();
    Ok(())
}

fn metrics_page(registry: &Registry) -> String {
    TextEncoder::new()
        .encode_to_string(&registry.gather())
        .unwrap_or_default()
}

async fn open(options: &KvNodeOptions, registry: &Registry) -> Result<(Host, StateDb)> {
    let dir = &options.data_dir;
    let raftdb = open_log(&dir.join("raft"), Duration::from_millis(options.sync_takes_ms))?;
    raftdb.metrics().register(registry)?;
    let statedb = StateDb::open(&dir.join("state"), StateDbConfig::default())?;
    let identity = Identity {
        cluster: options.cluster,
        node: NodeId::new(options.node),
        incarnation: 1,
    };
    let config = HostConfig {
        registry: Some(registry.clone()),
        ..HostConfig::default()
    };
    let stores = Stores {
        raftdb,
        statedb: statedb.clone(),
        snapshot_dir: dir.join("snapshots"),
    };
    let host = Host::start(config, identity, stores, Arc::new(Pairs)).await?;
    for peer in members(options) {
        host.knows(peer)?;
    }
    Ok((host, statedb))
}

/// The log, on a disk whose syncs take so long.
fn open_log(path: &Path, sync_takes: Duration) -> Result<RaftDb> {
    if sync_takes.is_zero() {
        return Ok(RaftDb::open(path, RaftDbConfig::default())?);
    }
    let (raftdb, committer) = RaftDb::open_by_hand(path, RaftDbConfig::default())?;
    std::thread::spawn(move || {
        loop {
            let written = committer.write();
            #[allow(clippy::disallowed_methods, reason = "on a thread of its own")]
            // sleep: this is the slow disk.
            std::thread::sleep(if written.is_some() { sync_takes } else { IDLE });
            if let Some(written) = written {
                written.sync();
            }
        }
    });
    Ok(raftdb)
}

/// Opens every group; each node founds, and so leads, its share of them.
async fn open_groups(host: &Host, options: &KvNodeOptions) -> Result<()> {
    for number in 1..=options.groups {
        let group = GroupId::new(number);
        host.open_group(group).await?;
        if number % options.peers.len() as u64 == options.node - 1 {
            host.bootstrap_group(group, members(options)).await?;
        }
    }
    Ok(())
}

fn members(options: &KvNodeOptions) -> Vec<Peer> {
    let addresses = options.peers.iter().zip(&options.clients);
    (1..)
        .zip(addresses)
        .map(|(number, (peer, client))| Peer {
            node: NodeId::new(number),
            peer_addr: peer.clone(),
            api_addr: client.clone(),
        })
        .collect()
}

/// The state machine: an entry is the length of the key, the key and the value. Setting a pair twice is setting it once,
/// so an entry needs no request id.
struct Pairs;

impl StateMachine for Pairs {
    fn apply(&self, at: LogPosition, entry: &[u8], batch: &mut GroupBatch) -> Result<Bytes, storage::Error> {
        let (key, value) = parse(entry).ok_or_else(|| storage::Error::Corrupt {
            place: storage::Place::LogEntry {
                group: at.group,
                index: at.index,
            },
            reason: format!("{} bytes are no pair", entry.len()),
        })?;
        let record = Record::Plain(value.to_vec());
        batch.stage(Change::Put(Key::Plain(key.to_vec()), record));
        Ok(Bytes::new())
    }
}

fn entry(key: &[u8], value: &[u8]) -> Bytes {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length, key, value].concat().into()
}

fn parse(entry: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = entry.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// What clients speak to.
struct KvService {
    host: Host,
    statedb: StateDb,
    slots: SlotMap,
}

impl KvService {
    fn group_of(&self, key: &[u8]) -> GroupId {
        self.slots.group_of(slot_of(key))
    }
}

#[tonic::async_trait]
impl Kv for KvService {
    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let PutRequest { key, value } = request.into_inner();
        let written = self.host.propose(
            self.group_of(&key),
            entry(&key, &value),
            Instant::now() + DEADLINE,
        );
        written.await.map_err(|error| refused(&error))?;
        Ok(Response::new(PutResponse::default()))
    }

    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let RangeRequest { key, serializable } = request.into_inner();
        let consistency = if serializable {
            Consistency::Local
        } else {
            Consistency::Linearizable
        };
        let group = self.group_of(&key);
        let read = self.host.read(group, consistency, Instant::now() + DEADLINE);
        read.await.map_err(|error| refused(&error))?;
        let view = self.statedb.group(group).read();
        let found = view
            .get(&Key::Plain(key.to_vec()))
            .map_err(|fault| Status::data_loss(fault.to_string()))?;
        let kvs = match found {
            Some(Record::Plain(value)) => vec![KeyValue {
                key,
                value: value.into(),
                ..KeyValue::default()
            }],
            Some(_) | None => Vec::new(),
        };
        Ok(Response::new(RangeResponse {
            count: i64::from(!kvs.is_empty()),
            kvs,
            ..RangeResponse::default()
        }))
    }
}

fn refused(error: &covey_cluster::Error) -> Status {
    match error {
        covey_cluster::Error::Overloaded { .. } => Status::resource_exhausted(error.to_string()),
        _ => Status::unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_comes_back_from_its_entry_and_a_torn_one_is_none() {
        let whole = entry(b"key", b"value");
        assert_eq!(parse(&whole), Some((&b"key"[..], &b"value"[..])));
        assert_eq!(parse(&whole[..6]), None);
    }
}
