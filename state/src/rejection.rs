//! Why a command was not carried out. A rejection is an answer: deterministic, typed, and nothing has changed.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// A field holds what it must not.
    #[error("{field} is invalid: {reason}")]
    Invalid {
        /// The field's path, for instance `columns[2].name`.
        field: String,
        /// What is wrong with which value.
        reason: String,
    },
    /// The thing does not exist.
    #[error("{kind} `{name}` does not exist")]
    NotFound {
        /// What kind of thing.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The thing exists already and is different.
    #[error("{kind} `{name}` exists already")]
    Exists {
        /// What kind of thing.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The state is not what the caller expected.
    #[error("{kind} `{name}` has changed: expected {expected}, found {found}")]
    Conflict {
        /// What kind of thing.
        kind: String,
        /// Its name.
        name: String,
        /// What the caller expected.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The thing is in a state that does not allow it.
    #[error("{kind} `{name}` is {state}: {hint}")]
    WrongState {
        /// What kind of thing.
        kind: String,
        /// Its name.
        name: String,
        /// The state it is in.
        state: String,
        /// What to do instead.
        hint: String,
    },
    /// A bound would be exceeded.
    #[error("{what} would exceed its limit of {limit}")]
    Limit {
        /// What is bounded.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// The node has been removed for good.
    #[error("node {0} has been removed from the cluster; its id is never used again")]
    NodeRemoved(NodeId),
    /// The request is older than what is remembered, so it cannot be told from a repeat.
    #[error("request {0} is older than the de-duplication window and may have been carried out already")]
    TooOld(String),
}
