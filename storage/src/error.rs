//! The one error of this crate: which operation failed, on what, and whether the bytes were to blame.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use covey_state::{Digest, Fault, GroupId};

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// RocksDB refused an operation.
    #[error("cannot {action}")]
    Database {
        /// What was tried.
        action: &'static str,
        /// RocksDB's own words.
        #[source]
        source: rocksdb::Error,
    },
    /// The file system refused an operation.
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
    /// Stored bytes are not what was written. They are never served.
    #[error("{place} is corrupt: {reason}")]
    Corrupt {
        /// What is damaged.
        place: Place,
        /// How it showed.
        reason: String,
    },
    /// The queue of the committer is full. Nothing was changed; the job's callback is not called.
    #[error("log queue holds {queued_bytes} bytes, its limit is {limit_bytes} bytes")]
    Busy {
        /// Bytes that wait for the committer.
        queued_bytes: usize,
        /// The configured bound.
        limit_bytes: usize,
    },
    /// The log database failed before; nothing is written to it until the process starts again.
    #[error("log database stopped after an earlier failure")]
    Stopped {
        /// The failure.
        #[source]
        cause: Arc<Error>,
    },
    /// An append does not continue the log.
    #[error("log of group {group} continues at index {expected}, append has index {found}")]
    Gap {
        /// The group.
        group: GroupId,
        /// The index that has to come next.
        expected: u64,
        /// The index that came.
        found: u64,
    },
    /// An earlier install of a snapshot failed half-way; the group is whole again after the next start.
    #[error("state of group {group} waits for the next start to finish an interrupted snapshot install")]
    InstallUnfinished {
        /// The group.
        group: GroupId,
    },
    /// The group was erased while the batch was made.
    #[error("state of group {group} was erased before the changes were written")]
    Erased {
        /// The group.
        group: GroupId,
    },
    /// A snapshot belongs to another group.
    #[error("snapshot of group {found} offered to group {expected}")]
    WrongGroup {
        /// The group it was offered to.
        expected: GroupId,
        /// The group it was taken of.
        found: GroupId,
    },
    /// There is no artifact of that digest.
    #[error("artifact {digest} is not stored here")]
    ArtifactMissing {
        /// The digest asked for.
        digest: Digest,
    },
    /// A metric could not be registered.
    #[error("cannot register the storage metrics")]
    Metrics {
        /// The registry's own words.
        #[source]
        source: Arc<prometheus::Error>,
    },
    /// A test made this point fail.
    #[error("injected failure at {0}")]
    Injected(&'static str),
}

/// What was found damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A database as a whole, by its directory.
    Database {
        /// The directory.
        path: PathBuf,
    },
    /// A write-ahead log of a database.
    WriteAheadLog {
        /// The file.
        path: PathBuf,
        /// Where in it the damaged record begins.
        offset: u64,
    },
    /// A log that was left out when the database was written anew.
    Log {
        /// The group.
        group: GroupId,
    },
    /// A log entry.
    LogEntry {
        /// The group.
        group: GroupId,
        /// The index of the entry.
        index: u64,
    },
    /// A marker beside the log: vote, purged or committed.
    LogMarker {
        /// The group.
        group: GroupId,
        /// Which marker.
        kind: &'static str,
    },
    /// A record of a group's state.
    State {
        /// The group.
        group: GroupId,
        /// The column family.
        table: &'static str,
        /// The key as it prints, or its bytes in hexadecimal digits when they are no key.
        key: String,
    },
    /// A file of a snapshot.
    SnapshotFile {
        /// The group.
        group: GroupId,
        /// The file.
        path: PathBuf,
    },
    /// A chunk of an artifact.
    Artifact {
        /// The digest it is stored under.
        digest: Digest,
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database { path } => write!(f, "database `{}`", path.display()),
            Self::WriteAheadLog { path, offset } => {
                write!(f, "write-ahead log `{}` at {offset}", path.display())
            }
            Self::Log { group } => write!(f, "log of group {group}"),
            Self::LogEntry { group, index } => write!(f, "log entry {index} of group {group}"),
            Self::LogMarker { group, kind } => write!(f, "{kind} marker of the log of group {group}"),
            Self::State { group, table, key } => {
                write!(f, "state of group {group}, table {table}, key {key}")
            }
            Self::SnapshotFile { group, path } => {
                write!(f, "snapshot file `{}` of group {group}", path.display())
            }
            Self::Artifact { digest, path } => write!(f, "artifact {digest} in `{}`", path.display()),
        }
    }
}

impl Error {
    /// A RocksDB failure of `action` that no single key is to blame for.
    pub(crate) fn database(action: &'static str) -> impl Fn(rocksdb::Error) -> Self {
        move |source| Self::Database { action, source }
    }

    /// A failure of `action` on the file or directory at `path`.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source: Arc::new(source),
        }
    }

    /// A RocksDB failure while reading `place`: damage is told apart from other trouble.
    pub(crate) fn reading(place: impl FnOnce() -> Place, source: rocksdb::Error) -> Self {
        match source.kind() {
            rocksdb::ErrorKind::Corruption => Self::Corrupt {
                place: place(),
                reason: source.into_string(),
            },
            _ => Self::Database {
                action: "read from the database",
                source,
            },
        }
    }

    /// Whether stored bytes were found damaged, here or in the failure that stopped the store.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Stopped { cause } => cause.is_corruption(),
            Self::Database { .. }
            | Self::File { .. }
            | Self::Busy { .. }
            | Self::Gap { .. }
            | Self::InstallUnfinished { .. }
            | Self::Erased { .. }
            | Self::WrongGroup { .. }
            | Self::ArtifactMissing { .. }
            | Self::Metrics { .. }
            | Self::Injected(_) => false,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self(Box::new(error))
    }
}
