//! What a carried-out command is answered.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, ViewId};

/// A row that was refused within a push that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedRow {
    /// Its position in the command.
    pub ordinal: u32,
    /// Why, naming field and value.
    pub reason: String,
}

/// The answer to a command that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Carried out; there is nothing more to say.
    Done,
    /// The node's id.
    Node(NodeId),
    /// The view's id and schema version.
    View(ViewId, u32),
    /// A number that was given: a version, an epoch, a run, a revision.
    Number(u64),
    /// Rows taken and rows refused.
    Rows {
        /// Rows that are in.
        accepted: u32,
        /// Rows that went to the dead letters.
        refused: Vec<RefusedRow>,
    },
    /// Labels joined, and labels without a prediction.
    Labels {
        /// Labels that found their prediction.
        joined: u32,
        /// Labels that did not.
        unmatched: u32,
    },
}
