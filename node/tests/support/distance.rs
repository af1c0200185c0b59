//! Distance between regions, in user space: every node is reached by its peers through a relay, which holds what it
//! carries for as long as the way from the caller's region takes.
//!
//! The relay knows the caller by the process that its connection belongs to, because on loopback all callers have one
//! address. Include it with `#[path = "support/distance.rs"] mod distance;`.

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// Chunks on their way in one direction of one connection.
const CHUNKS_MAX: usize = 1_024;
/// Bytes that are taken up at one time.
const CHUNK_BYTES: usize = 64 << 10;

/// Regions, the processes that are in them, and how far they are from each other.
#[derive(Clone, Default)]
pub(crate) struct Map {
    processes: Arc<Mutex<BTreeMap<u32, &'static str>>>,
    /// How long a message travels from one region to another, in alphabetical order.
    ways: BTreeMap<(&'static str, &'static str), Duration>,
}

impl Map {
    /// Regions with the time of a round trip between each two of them.
    pub(crate) fn new(round_trips: &[(&'static str, &'static str, u64)]) -> Self {
        let way = |(one, two, millis): &(&'static str, &'static str, u64)| {
            ((*one.min(two), *one.max(two)), Duration::from_millis(*millis) / 2)
        };
        Self {
            processes: Arc::default(),
            ways: round_trips.iter().map(way).collect(),
        }
    }

    /// Puts a process into a region.
    pub(crate) fn put(&self, process: u32, region: &'static str) {
        self.processes.lock().unwrap().insert(process, region);
    }

    /// Relays to `peer`, which is in `region`, from an address of its own, which is given.
    pub(crate) async fn relay(&self, peer: String, region: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let map = self.clone();
        tokio::spawn(async move {
            while let Ok((from, caller)) = listener.accept().await {
                let way = map.way(caller, region);
                let Ok(to) = TcpStream::connect(&peer).await else {
                    continue;
                };
                for stream in [&from, &to] {
                    stream.set_nodelay(true).unwrap();
                }
                let (from_read, from_write) = from.into_split();
                let (to_read, to_write) = to.into_split();
                carry(from_read, to_write, way);
                carry(to_read, from_write, way);
            }
        });
        address
    }

    /// How long a message travels from the caller of a connection to a region.
    fn way(&self, caller: SocketAddr, to: &'static str) -> Duration {
        let processes = self.processes.lock().unwrap();
        let inode = inode_of(caller.port());
        let owner = processes
            .iter()
            .find(|(process, _)| inode.as_ref().is_some_and(|inode| owns(**process, inode)));
        let Some((_, from)) = owner else {
            return Duration::ZERO;
        };
        self.ways
            .get(&(*from.min(&to), *from.max(&to)))
            .copied()
            .unwrap_or_default()
    }
}

/// The number of the socket that is bound to a local port of this machine and connected.
fn inode_of(port: u16) -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let local = format!(":{port:04X}");
    let of_port = |line: &&str| {
        line.split_whitespace()
            .nth(1)
            .is_some_and(|address| address.ends_with(&local))
    };
    let line = table.lines().skip(1).find(of_port)?;
    line.split_whitespace().nth(9).map(str::to_owned)
}

/// Whether a process has a socket open.
fn owns(process: u32, inode: &str) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else {
        return false;
    };
    let socket = format!("socket:[{inode}]");
    let mut targets = open
        .filter_map(Result::ok)
        .filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.any(|target| target.to_string_lossy() == socket)
}

/// Carries one direction of a connection, each chunk for as long as the way takes.
fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Duration) {
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    tokio::spawn(async move {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let arrives = Instant::now() + way;
            if sender.send((arrives, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((arrives, chunk)) = chunks.recv().await {
            let on_the_way = timeout_at(arrives, pending::<()>()).await;
            assert!(on_the_way.is_err(), "nothing ends the way before its time");
            if to.write_all(&chunk).await.is_err() {
                return;
            }
        }
    });
}
