//! The workloads: what clients do with the cluster while it is broken, each with promises that its history must keep.
//!
//! A workload makes histories; whether they are good is decided in [`crate::judge`], from the history alone.

mod append;
mod bank;
mod catalog;
mod follower;
mod growing;
pub(crate) mod ladder;
mod predict;
mod register;
mod rows;
mod set;
mod versions;
mod window;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::client::Client;
use crate::fleet::Fleet;

pub(crate) use bank::{ACCOUNTS_PER_BANK, OPENING};
pub(crate) use catalog::{CELLS, COUNTED};

/// A kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum WorkloadKind {
    /// Aliases as registers with compare-and-set: linearizable
    Register,
    /// The history of an alias as a list: linearizable, and its chain has no gap
    Append,
    /// Rows of features, written by many and read linearizably
    Rows,
    /// Rows that are in when they were acknowledged, each once
    Set,
    /// Counts and sums of windows: exact
    Window,
    /// Two rows of a group in one push: both or none, in every snapshot
    Bank,
    /// Reads of followers: never older than the bound, and one's own writes
    Follower,
    /// Predictions that see one's own writes
    Predict,
}

impl WorkloadKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Register,
        Self::Append,
        Self::Rows,
        Self::Set,
        Self::Window,
        Self::Bank,
        Self::Follower,
        Self::Predict,
    ];

    /// Its name in histories.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Append => "append",
            Self::Rows => "rows",
            Self::Set => "set",
            Self::Window => "window",
            Self::Bank => "bank",
            Self::Follower => "follower",
            Self::Predict => "predict",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The workload itself, for so many clients.
    pub(crate) fn make(self, clients: usize) -> Arc<dyn Workload> {
        match self {
            Self::Register => Arc::new(register::Registers::default()),
            Self::Append => Arc::new(append::Lists::default()),
            Self::Rows => Arc::new(rows::Cells::default()),
            Self::Set => Arc::new(set::Elements::default()),
            Self::Window => Arc::new(window::Windows::default()),
            Self::Bank => Arc::new(bank::Banks::new(clients)),
            Self::Follower => Arc::new(follower::Followers::new(clients)),
            Self::Predict => Arc::new(predict::Predictions::new(clients)),
        }
    }
}

/// What clients of a workload do.
#[tonic::async_trait]
pub(crate) trait Workload: Send + Sync {
    /// Makes what it needs, while the cluster is whole.
    async fn prepare(&self, _: &mut Client) -> Result<()> {
        Ok(())
    }

    /// One operation, or a few that belong together; false if something went wrong, so that the client waits a little.
    async fn step(&self, client: &mut Client) -> bool;

    /// What is still to be done when the cluster is whole again: open writes are settled, everything is read.
    async fn finish(&self, client: &mut Client) -> Result<()>;
}

/// Declares what the workloads of a run of this length need together and waits until the cluster takes it.
pub(crate) async fn prepare(fleet: &Fleet, kinds: &[WorkloadKind], length: Duration) -> Result<()> {
    catalog::declare(fleet).await?;
    if fleet.config().clocks {
        ladder::make(fleet, length).await?;
    }
    let models = [
        WorkloadKind::Register,
        WorkloadKind::Append,
        WorkloadKind::Predict,
    ];
    if kinds.iter().any(|kind| models.contains(kind)) {
        versions::make(fleet).await?;
    }
    if kinds.contains(&WorkloadKind::Predict) {
        predict::deploy(fleet).await?;
    }
    Ok(())
}
