//! The clusters that are measured: three processes each, on loopback, in a folder of their own.
//!
//! Invariant: dropping a cluster ends its processes.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::bench::process::use_of;

/// Nodes of a cluster.
pub(super) const NODES: usize = 3;
/// How long a process may take to stop when asked.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum System {
    /// etcd, as the distribution has it.
    Etcd,
    /// Covey's Raft host with this many groups.
    Covey {
        /// A power of two.
        groups: u64,
    },
}

impl System {
    /// How tables name it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Etcd => "etcd".to_owned(),
            Self::Covey { groups } => format!("covey, {groups} groups"),
        }
    }
}

/// Three processes.
pub(super) struct Servers {
    /// Where clients reach them.
    pub(super) clients: Vec<String>,
    root: PathBuf,
    children: Vec<Child>,
}

impl Servers {
    /// Starts a cluster; it is up some time later.
    pub(super) fn start(system: System, root: &Path) -> Result<Self> {
        Self::start_with(system, root, &[])
    }

    /// The same with more arguments.
    pub(super) fn start_with(system: System, root: &Path, more: &[String]) -> Result<Self> {
        let clients = addresses()?;
        let peers = addresses()?;
        let mut servers = Self {
            clients,
            root: root.to_owned(),
            children: Vec::new(),
        };
        let cluster = Uuid::new_v4().to_string();
        for place in 0..NODES {
            let dir = servers.dir(place);
            std::fs::create_dir_all(&dir)?;
            let mut command = match system {
                System::Etcd => etcd(place, &dir, &servers.clients, &peers),
                System::Covey { groups } => {
                    let mut command = covey(place, &dir, &servers.clients, &peers);
                    command.args(["--groups", &groups.to_string(), "--cluster", &cluster]);
                    command
                }
            };
            command.args(more);
            let log = File::create(dir.with_extension("log"))?;
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
            let child = command.kill_on_drop(true).spawn().with_context(|| {
                format!(
                    "cannot start {}; `apt-get install etcd-server` brings etcd",
                    system.name()
                )
            })?;
            servers.children.push(child);
        }
        Ok(servers)
    }

    /// Seconds of processor that all of them have used so far.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let mut seconds = 0.0;
        for child in &self.children {
            let id = child.id().context("a server has ended by itself")?;
            seconds += use_of(id)?.cpu_seconds;
        }
        Ok(seconds)
    }

    /// The most resident memory that one of them has had, in mebibytes.
    pub(super) fn peak_mib(&self) -> Result<f64> {
        let mut most = 0.0;
        for child in &self.children {
            let id = child.id().context("a server has ended by itself")?;
            most = f64::max(most, use_of(id)?.peak_mib);
        }
        Ok(most)
    }

    /// Asks all of them to stop, and waits.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for child in &self.children {
            if let Some(id) = child.id() {
                Command::new("kill")
                    .args(["-TERM", &id.to_string()])
                    .status()
                    .await?;
            }
        }
        for child in &mut self.children {
            if tokio::time::timeout(STOP_WITHIN, child.wait()).await.is_err() {
                child.kill().await?;
                bail!("a server did not stop within {STOP_WITHIN:?}");
            }
        }
        Ok(())
    }

    /// The sum over all nodes of a counter that only Covey's nodes have.
    pub(super) async fn counter(&self, name: &str) -> Result<f64> {
        let mut sum = 0.0;
        for address in &self.clients {
            let text = metrics_of(address).await?;
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
                .with_context(|| format!("{address} has no metric {name}"))?;
            sum += line.trim().parse::<f64>()?;
        }
        Ok(sum)
    }

    fn dir(&self, place: usize) -> PathBuf {
        self.root.join(format!("n{}", place + 1))
    }
}

fn etcd(place: usize, dir: &Path, clients: &[String], peers: &[String]) -> Command {
    let name = |place: usize| format!("n{}", place + 1);
    let url = |address: &str| format!("http://{address}");
    let everybody: Vec<String> = peers
        .iter()
        .enumerate()
        .map(|(place, peer)| format!("{}={}", name(place), url(peer)))
        .collect();
    let mut command = Command::new("etcd");
    command
        .args(["--name", &name(place)])
        .arg("--data-dir")
        .arg(dir)
        .args(["--listen-client-urls", &url(&clients[place])])
        .args(["--advertise-client-urls", &url(&clients[place])])
        .args(["--listen-peer-urls", &url(&peers[place])])
        .args(["--initial-advertise-peer-urls", &url(&peers[place])])
        .args(["--initial-cluster", &everybody.join(",")])
        .args(["--initial-cluster-state", "new", "--log-level", "error"]);
    command
}

fn covey(place: usize, dir: &Path, clients: &[String], peers: &[String]) -> Command {
    let binary = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("covey"));
    let mut command = Command::new(binary);
    command
        .arg("kv-node")
        .arg("--data-dir")
        .arg(dir)
        .args(["--node", &(place + 1).to_string()])
        .args(["--peers", &peers.join(",")])
        .args(["--clients", &clients.join(",")]);
    command
}

async fn metrics_of(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// Addresses on loopback that are free just now.
fn addresses() -> Result<Vec<String>> {
    let ports: Vec<TcpListener> = (0..NODES)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    ports
        .iter()
        .map(|port| Ok(port.local_addr()?.to_string()))
        .collect()
}
