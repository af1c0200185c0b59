//! The one error of this crate: what could not be done, to which group, and why.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use covey_state::{GroupId, NodeId};

use crate::machine::Ahead;

/// Why the host did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A setting is out of range or contradicts another one.
    #[error("host configuration is not usable: {reason}")]
    Config {
        /// Which setting, and what is wrong with it.
        reason: String,
    },
    /// This node holds no replica of the group.
    #[error("group {group} has no replica on this node")]
    NotHosted {
        /// The group.
        group: GroupId,
    },
    /// The replica on this node stopped after a fault; other groups and other nodes go on.
    #[error("group {group} is stopped on this node: {reason}")]
    Stopped {
        /// The group.
        group: GroupId,
        /// The fault.
        reason: String,
    },
    /// The replica on this node is stopped because its store is damaged. It does not go on until it is rebuilt.
    #[error("group {group} is damaged on this node: {reason}")]
    Damaged {
        /// The group.
        group: GroupId,
        /// What was found, and where.
        reason: String,
    },
    /// Time ran out. A proposal may still be committed: repeat it with the same request id to learn its answer.
    #[error("{operation} on group {group} did not finish in time, last obstacle: {obstacle}")]
    Deadline {
        /// The group.
        group: GroupId,
        /// What was tried.
        operation: &'static str,
        /// What stood in the way at the last try.
        obstacle: String,
    },
    /// A bounded queue is full, here or on the leader. Nothing was done.
    #[error("{queue} is full, its limit is {limit}")]
    Overloaded {
        /// Which queue.
        queue: Cow<'static, str>,
        /// Its limit.
        limit: usize,
        /// When to try again; clients should add jitter.
        retry_after: Duration,
    },
    /// An entry that no message could carry. Nothing was done.
    #[error("an entry of {bytes} bytes for group {group} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// The group.
        group: GroupId,
        /// The entry's bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A change of members that cannot succeed as it stands.
    #[error("group {group} refuses: {reason}")]
    Refused {
        /// The group.
        group: GroupId,
        /// Why.
        reason: String,
    },
    /// The time that an entry carries, which is this node's, is too far ahead of that of the group's leader. One of the two
    /// clocks is wrong; the leader cannot tell which, and does not take the entry.
    #[error(
        "to node {leader}, which leads group {group}, the clock of node {node} is {ahead}: check the time \
         synchronisation (NTP) of both"
    )]
    ClockAhead {
        /// The group.
        group: GroupId,
        /// This node.
        node: NodeId,
        /// The leader.
        leader: NodeId,
        /// How far.
        ahead: Ahead,
    },
    /// No address is known for the node.
    #[error("node {node} is not known here")]
    UnknownNode {
        /// The node.
        node: NodeId,
    },
    /// A node's address cannot be parsed.
    #[error("address `{address}` of node {node} is not usable: {reason}")]
    Address {
        /// The node.
        node: NodeId,
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store failed.
    #[error("cannot {action} of group {group}")]
    Storage {
        /// What was tried.
        action: &'static str,
        /// The group.
        group: GroupId,
        /// The store's own words.
        #[source]
        source: covey_storage::Error,
    },
    /// The file system refused an operation on a snapshot.
    #[error("cannot {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's own words.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes from disk or from a peer are not what they should be.
    #[error("{what} cannot be decoded: {reason}")]
    Decode {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A metric could not be registered.
    #[error("cannot register the metrics of the host")]
    Metrics {
        /// The registry's own words.
        #[source]
        source: Arc<prometheus::Error>,
    },
}

impl Error {
    /// A failure of `action` on the file or directory at `path`.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source: Arc::new(source),
        }
    }

    /// A failure of the store at `action`.
    pub(crate) fn storage(action: &'static str, group: GroupId) -> impl FnOnce(covey_storage::Error) -> Self {
        move |source| Self::Storage {
            action,
            group,
            source,
        }
    }

    /// Bytes that are not what they should be.
    pub(crate) fn decode(what: &'static str, reason: impl ToString) -> Self {
        Self::Decode {
            what,
            reason: reason.to_string(),
        }
    }
}

/// The error and all its causes in one line, for logs and for peers.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        // The consensus library prints only the outermost text of an I/O error, so the causes go into it.
        Self::other(chain(&error))
    }
}
