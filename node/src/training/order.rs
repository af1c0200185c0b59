//! What a coordinator asks of a worker: one task over some partitions of one dataset.

use covey_ml::training::task::Task;
use covey_state::dataset::DatasetManifest;
use serde::{Deserialize, Serialize};

/// A task and the data it is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    /// The dataset; workers fetch it by hash and keep it.
    pub(super) dataset: DatasetManifest,
    /// Whether the whole dataset is one partition: for algorithms that cannot be distributed.
    pub(super) whole: bool,
    /// What to compute.
    pub(super) task: Task,
}

impl Order {
    /// How many partitions must answer.
    pub(super) fn partitions(&self) -> usize {
        if self.whole {
            1
        } else {
            self.dataset.partitions.len()
        }
    }
}
