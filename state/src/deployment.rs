//! Deployments: the desired state of serving, which every node reconciles into running replicas.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, Timestamp};

/// Which version a deployment serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Whatever the alias points to.
    Alias(String),
    /// This version for ever.
    Version(u64),
}

/// A deployment as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Unique name, the one that predictions are asked of.
    pub name: String,
    /// The model's name.
    pub model: String,
    /// Which version of it.
    pub target: Target,
    /// How many replicas to run, spread over nodes.
    pub replicas: u32,
    /// Requests that may wait at one replica; more are refused.
    pub queue_limit: u32,
    /// Whether predictions are logged so that late labels can be joined to them.
    pub log_predictions: bool,
}

/// A deployment as the cluster holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentRecord {
    /// The declaration.
    pub spec: Deployment,
    /// Counts up with every change of the declaration or the placement, from 1.
    pub revision: u64,
    /// Where the replicas run: one entry per replica.
    pub placement: Vec<NodeId>,
    /// When it last changed.
    pub changed_at: Timestamp,
}
