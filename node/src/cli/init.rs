//! `covey init`: makes a new cluster by writing the identity of its first node.

use std::path::PathBuf;

use super::output::{Card, Output, remark};
use super::trouble::Trouble;
use crate::run::{self, NewCluster};

/// Options of `covey init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    covey init --data-dir n1\n  \
    covey init --data-dir /var/lib/covey --name fraud --groups 32 --replication-factor 3")]
pub(super) struct Init {
    /// Directory of everything durable
    #[arg(
        long,
        env = "COVEY_DATA_DIR",
        default_value = "covey-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// The cluster's name, for people
    #[arg(long, default_value = "covey")]
    name: String,
    /// Data groups that the store is split into, a power of two; fixed for ever
    #[arg(long, default_value_t = NewCluster::GROUPS, value_name = "NUMBER")]
    groups: u64,
    /// Replicas of each group once there are as many nodes, odd
    #[arg(long, default_value_t = NewCluster::REPLICATION_FACTOR, value_name = "NUMBER")]
    replication_factor: u32,
}

impl Init {
    pub(super) fn run(self, output: Output) -> Result<(), Trouble> {
        let data_dir = self.data_dir.display().to_string();
        let new = NewCluster {
            name: self.name,
            groups: self.groups,
            replication_factor: self.replication_factor,
        };
        let identity = run::init(&self.data_dir, new).map_err(|error| {
            Trouble::refused(
                format!("{error:#}"),
                "run the node that is there with `covey start`, or choose another --data-dir",
            )
        })?;
        Card::default()
            .with("cluster", identity.cluster_id.to_string())
            .with("node", identity.node_id.to_string())
            .with("groups", identity.groups)
            .with("data dir", data_dir.clone())
            .print(output);
        remark(&format!("next: covey start --data-dir {data_dir}"));
        Ok(())
    }
}
