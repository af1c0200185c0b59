//! The cluster under test: processes of the binary, each with a directory, an address and a log of its own.
//!
//! Invariant: dropping the fleet ends every process and takes away every network that was made for it.

mod delay;
mod disk;
mod network;
mod process;
pub(crate) mod rot;
mod system;
mod volatile;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use tokio::sync::{Mutex, MutexGuard};
use tonic::transport::{Channel, Endpoint};

pub(crate) use disk::Disk;
pub use disk::DiskKind;
pub use network::NetworkKind;
pub(crate) use network::{Cut, Network, Way, can_cut, can_delay};
pub(crate) use process::Process;

use crate::bug::PlantedBug;
use crate::waiting::until;

/// Nodes that a fleet may have, those that join later included.
pub const NODES_MAX: usize = 9;
/// How long a question to a node may take.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// How long a node may take to answer after it was started.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long the cluster may take to be whole.
pub(crate) const SETTLE_LIMIT: Duration = Duration::from_secs(180);

/// What a fleet is made of.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// The binary under test.
    pub covey: PathBuf,
    /// Where data and logs go.
    pub directory: PathBuf,
    /// How many nodes there are at first.
    pub nodes: usize,
    /// Data groups, a power of two.
    pub groups: u64,
    /// Entries between two snapshots of a group.
    pub snapshot_every: u64,
    /// Whether linearizable reads are answered from leases.
    pub lease_reads: bool,
    /// What nodes are connected by.
    pub network: NetworkKind,
    /// What they store on.
    pub disk: DiskKind,
    /// Whether their clocks can be moved.
    pub clocks: bool,
    /// The bug that is put back into them; the binary must have been built for it.
    pub bug: Option<PlantedBug>,
}

/// The processes. Numbers of nodes count from 1, in the order in which they were made.
pub struct Fleet {
    config: FleetConfig,
    network: Network,
    nodes: Vec<Mutex<Process>>,
}

impl Fleet {
    /// Starts the nodes and waits until every one of them holds every group.
    pub async fn start(config: FleetConfig) -> Result<Self> {
        std::fs::create_dir_all(&config.directory)
            .with_context(|| format!("cannot make {}", config.directory.display()))?;
        let network = Network::make(config.network, NODES_MAX).await?;
        let mut nodes = Vec::new();
        for number in 1..=NODES_MAX {
            nodes.push(Mutex::new(Process::plan(&config, &network, number)?));
        }
        let fleet = Self {
            config,
            network,
            nodes,
        };
        fleet.node(1).await.init(&fleet.config).await?;
        fleet.node(1).await.start(None).await?;
        fleet.answers(1).await?;
        let first = fleet.api(1);
        for number in 2..=fleet.config.nodes {
            fleet.node(number).await.start(Some(&first)).await?;
        }
        fleet.settled(fleet.config.nodes).await?;
        Ok(fleet)
    }

    /// What it was made of.
    pub fn config(&self) -> &FleetConfig {
        &self.config
    }

    /// What connects the nodes.
    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// How many nodes there are at first; clients ask these.
    pub fn size(&self) -> usize {
        self.config.nodes
    }

    /// A node's process, for one user at a time.
    pub(crate) async fn node(&self, number: usize) -> MutexGuard<'_, Process> {
        self.nodes[number - 1].lock().await
    }

    /// Where clients reach a node.
    pub fn api(&self, number: usize) -> String {
        self.network.api_address(number)
    }

    /// A channel to a node that connects when it is used.
    pub(crate) fn channel(&self, number: usize) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.api(number)))?;
        Ok(endpoint
            .connect_timeout(ASK_LIMIT)
            .timeout(ASK_LIMIT)
            .connect_lazy())
    }

    /// The cluster as a node sees it, if it answers.
    pub(crate) async fn status_of(&self, number: usize) -> Option<v1::ClusterStatus> {
        let mut client = ClusterClient::new(self.channel(number).ok()?);
        let asked = client.get_status(v1::GetStatusRequest {});
        let answered = tokio::time::timeout(ASK_LIMIT, asked).await;
        Some(answered.ok()?.ok()?.into_inner())
    }

    /// The cluster as the first node that answers sees it.
    pub(crate) async fn status(&self) -> Option<v1::ClusterStatus> {
        for number in 1..=self.size() {
            if let Some(status) = self.status_of(number).await {
                return Some(status);
            }
        }
        None
    }

    /// Waits until a node answers for itself.
    pub(crate) async fn answers(&self, number: usize) -> Result<()> {
        let what = format!("node {number} answers");
        until(&what, START_LIMIT, async || {
            let mut client = v1::admin_client::AdminClient::new(self.channel(number).ok()?);
            client.get_node(v1::GetNodeRequest {}).await.ok()
        })
        .await
        .map(|_| ())
    }

    /// Waits until exactly `count` nodes take part, all can be reached, every group has a leader and none is moving.
    pub(crate) async fn settled(&self, count: usize) -> Result<v1::ClusterStatus> {
        let settled = |status: &v1::ClusterStatus| {
            let present = status
                .nodes
                .iter()
                .filter(|node| node.state() != v1::NodeState::Removed);
            let good = present
                .clone()
                .filter(|node| node.state() == v1::NodeState::Active && node.reachable);
            present.count() == count
                && good.count() == count
                && status.groups_moving == 0
                && status.groups_without_leader == 0
        };
        let what = format!("{count} nodes take part and every group is settled");
        let seen = until(&what, SETTLE_LIMIT, async || self.status().await.filter(settled)).await;
        match seen {
            Ok(status) => Ok(status),
            Err(error) => bail!("{error}; last seen: {:?}", self.status().await),
        }
    }

    /// The number of the node that has this address, by what the cluster says of the node's id.
    pub(crate) async fn number_of(&self, id: &str) -> Option<usize> {
        let status = self.status().await?;
        let node = status.nodes.into_iter().find(|node| node.id == id)?;
        (1..=NODES_MAX).find(|number| self.api(*number) == node.api_addr)
    }

    /// The id by which the cluster knows a node that has not been removed.
    pub(crate) async fn id_of(&self, number: usize) -> Option<String> {
        let api = self.api(number);
        let nodes = self.status().await?.nodes;
        let here = |node: &v1::Node| node.api_addr == api && node.state() != v1::NodeState::Removed;
        nodes.into_iter().find(here).map(|node| node.id)
    }

    /// Where a node's log is.
    pub fn log(&self, number: usize) -> PathBuf {
        log_path(&self.config.directory, number)
    }

    /// Ends every process.
    pub async fn stop(&self) {
        for node in &self.nodes {
            node.lock().await.kill().await;
        }
    }
}

/// The log of a node whose fleet lives in `directory`.
fn log_path(directory: &Path, number: usize) -> PathBuf {
    directory.join(format!("node-{number}.log"))
}
