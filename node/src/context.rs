//! What every service of a node is given: the way to the groups, to other nodes, to artifacts, time and processors.

mod compute;

use std::sync::Arc;

pub use compute::ComputePool;

use crate::artifacts::Artifacts;
use crate::catalog::CatalogWatch;
use crate::clock::Clock;
use crate::config::Config;
use crate::features::service_plan::Plans;
use crate::ledger::Ledger;
use crate::membership::Census;
use crate::metrics::Metrics;
use crate::peers::Peers;

/// The parts of a running node. Clones share them.
#[derive(Clone)]
pub struct Context {
    /// The way to the groups: everything durable goes through it.
    pub ledger: Ledger,
    /// Control's state as this node knows it.
    pub catalog: CatalogWatch,
    /// How feature services are read.
    pub plans: Plans,
    /// The other nodes.
    pub peers: Peers,
    /// Artifacts of the whole cluster.
    pub artifacts: Artifacts,
    /// Who was heard of, and what groups weigh, while this node leads the control group.
    pub census: Census,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// Where CPU-heavy work runs.
    pub compute: ComputePool,
    /// The time, and whether it can be believed.
    pub clock: Clock,
    /// What the operator chose.
    pub config: Arc<Config>,
    /// Counts this node's starts: tells what an earlier life of it left behind.
    pub incarnation: u64,
}
