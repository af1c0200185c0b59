//! A node's life: made by `init`, built bottom-up by `start`, stopped top-down.

mod founding;
mod node;
mod rebuild;
mod services;
mod supervisor;
mod telemetry;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use covey_state::NodeId;
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

pub use supervisor::RootSupervisor;

use crate::api::Ports;
use crate::config::Config;
use crate::identity::{DataDir, Founding, Identity};
use crate::membership;
use node::RunningNode;

/// The first node of a cluster.
const FIRST_NODE: NodeId = NodeId::new(1);
/// How long a node may take to stop before it is cut off.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The shape of a new cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCluster {
    /// A name for people.
    pub name: String,
    /// Data groups, a power of two, fixed for ever.
    pub groups: u64,
    /// Voters per group when there are enough nodes, odd.
    pub replication_factor: u32,
}

/// What becomes of a node whose data directory is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// It joins through one of these addresses, separated by commas.
    Join(String),
    /// It is the first of a new cluster.
    Found(NewCluster),
    /// It does not start.
    Refuse,
}

/// Writes the identity of a new cluster's first node. The cluster is made when that node first starts.
pub fn init(data_dir: &Path, new: NewCluster) -> anyhow::Result<Identity> {
    new.validate()?;
    let data = DataDir::lock(data_dir)?;
    if let Some(known) = data.identity()? {
        let shown = data_dir.display();
        bail!(
            "data directory `{shown}` already belongs to node {} of cluster {}; nothing was changed",
            known.node_id,
            known.cluster_id
        );
    }
    found(&data, new)
}

fn found(data: &DataDir, new: NewCluster) -> anyhow::Result<Identity> {
    let identity = Identity {
        cluster_id: Uuid::new_v4(),
        node_id: FIRST_NODE,
        incarnation: 0,
        groups: new.groups,
        founding: Some(Founding {
            name: new.name,
            replication_factor: new.replication_factor,
        }),
        seeds: Vec::new(),
    };
    data.store(&identity)?;
    Ok(identity)
}

/// Runs the node until it is told to stop. A directory that has an identity keeps it, whatever the beginning says.
pub async fn start(config: Config, beginning: Beginning) -> anyhow::Result<()> {
    telemetry::install(&config)?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        "effective configuration:\n{config}"
    );
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(told);

    let data = DataDir::lock(&config.data_dir)?;
    let ports = Ports::bind(config.api_listen, config.peer_listen).await?;
    let identity = tokio::select! {
        identity = identify(&config, &data, beginning) => identity?,
        () = &mut told => return Ok(()),
    };
    let identity = data.begin(identity)?;
    // It may have to wait for others first.
    let node = tokio::select! {
        node = RunningNode::start(config, data, identity, ports) => node?,
        () = &mut told => return Ok(()),
    };
    let ended = tokio::select! {
        ended = node.failure() => Err(ended),
        () = &mut told => Ok(()),
    };
    tracing::info!("stopping");
    let stopped = tokio::time::timeout(STOP_LIMIT, node.stop()).await;
    stopped.context("the node did not stop in time and was cut off")?;
    ended
}

async fn identify(config: &Config, data: &DataDir, beginning: Beginning) -> anyhow::Result<Identity> {
    if let Some(identity) = data.identity()? {
        return Ok(identity);
    }
    match beginning {
        Beginning::Join(addresses) => {
            let identity = membership::join(config, data, &addresses).await?;
            data.store(&identity)?;
            tracing::info!(node = %identity.node_id, cluster = %identity.cluster_id, "joined");
            Ok(identity)
        }
        Beginning::Found(new) => {
            new.validate()?;
            let identity = found(data, new)?;
            tracing::info!(cluster = %identity.cluster_id, "a new cluster begins with this node");
            Ok(identity)
        }
        Beginning::Refuse => {
            let shown = config.data_dir.display();
            bail!(
                "data directory `{shown}` is empty: run `covey init` or start with --init NAME for a new cluster, or start \
                 with --join HOST:PORT"
            );
        }
    }
}

impl NewCluster {
    /// Data groups unless the operator says otherwise.
    pub const GROUPS: u64 = 8;
    /// Voters per group unless the operator says otherwise.
    pub const REPLICATION_FACTOR: u32 = 3;

    /// A cluster of the usual shape.
    pub fn named(name: String) -> Self {
        Self {
            name,
            groups: Self::GROUPS,
            replication_factor: Self::REPLICATION_FACTOR,
        }
    }

    fn validate(&self) -> anyhow::Result<()> {
        if self.name.is_empty() || self.name.len() > 63 {
            bail!("name `{}` is not 1 to 63 bytes long", self.name);
        }
        if !self.groups.is_power_of_two() || self.groups > u64::from(covey_state::slot::SLOTS) {
            bail!(
                "groups = {} is not a power of two up to {}",
                self.groups,
                covey_state::slot::SLOTS
            );
        }
        if self.replication_factor.is_multiple_of(2) || self.replication_factor > 7 {
            bail!(
                "replication-factor = {} is not an odd number up to 7",
                self.replication_factor
            );
        }
        Ok(())
    }
}
