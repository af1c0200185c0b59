//! The data directory: who this node is, durably, and the lock that keeps a second process out.
//!
//! Invariants: the identity never changes once written; the incarnation on disk grows before anything else happens at
//! a start; files are replaced whole, so a crash leaves the old one or the new one.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use covey_cluster::Peer;
use covey_state::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const IDENTITY: &str = "identity.json";
const JOIN_REQUEST: &str = "join-request.json";
const LOCK: &str = "lock";

/// What a founding node has yet to carry out; kept until the cluster is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Founding {
    /// The cluster's name, for people.
    pub name: String,
    /// Voters per group when there are enough nodes.
    pub replication_factor: u32,
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: Uuid,
    /// The node.
    pub node_id: NodeId,
    /// Counts this node's starts.
    pub incarnation: u64,
    /// Data groups of the cluster.
    pub groups: u64,
    /// Set until the cluster is made, on the node that makes it.
    pub founding: Option<Founding>,
    /// Nodes known when this one joined: a way in until the catalog is here.
    pub seeds: Vec<Peer>,
}

/// The directory, locked for this process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock ends when the file is closed, however the process ends.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if need be and locks it.
    pub fn lock(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        fs::create_dir_all(path).with_context(|| format!("cannot make the data directory `{shown}`"))?;
        let lock = File::create(path.join(LOCK)).with_context(|| format!("cannot write in `{shown}`"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => bail!("data directory `{shown}` is in use by another process"),
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock `{shown}`")),
        }
    }

    /// Who this node is; `None` before `init` or `join`.
    pub fn identity(&self) -> anyhow::Result<Option<Identity>> {
        self.read(IDENTITY)
    }

    /// Writes the identity durably.
    pub fn store(&self, identity: &Identity) -> anyhow::Result<()> {
        self.write(IDENTITY, identity)
    }

    /// Counts this start durably.
    pub fn begin(&self, mut identity: Identity) -> anyhow::Result<Identity> {
        identity.incarnation += 1;
        self.store(&identity)?;
        Ok(identity)
    }

    /// The id of this directory's one request to join, so that a retry after a crash gets the same node id.
    pub fn join_request(&self) -> anyhow::Result<Uuid> {
        if let Some(id) = self.read(JOIN_REQUEST)? {
            return Ok(id);
        }
        let id = Uuid::new_v4();
        self.write(JOIN_REQUEST, &id)?;
        Ok(id)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<Option<T>> {
        let path = self.path.join(name);
        let shown = path.display();
        match fs::read(&path) {
            Ok(bytes) => {
                let value =
                    serde_json::from_slice(&bytes).with_context(|| format!("`{shown}` is damaged"))?;
                Ok(Some(value))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read `{shown}`")),
        }
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> anyhow::Result<()> {
        let bytes =
            serde_json::to_vec_pretty(value).map_err(|error| anyhow!("cannot encode {name}: {error}"))?;
        let path = self.path.join(name);
        replace(&path, &bytes).with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// Replaces a file whole and durably.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster_id: Uuid::new_v4(),
            node_id: NodeId::new(1),
            incarnation: 0,
            groups: 8,
            founding: None,
            seeds: Vec::new(),
        }
    }

    #[test]
    fn a_directory_is_locked_against_a_second_process() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::lock(dir.path()).unwrap();
        let refused = DataDir::lock(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("in use"), "{refused}");
        drop(first);
        DataDir::lock(dir.path()).unwrap();
    }

    #[test]
    fn every_start_counts_up_and_the_rest_of_the_identity_stays() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        assert_eq!(data.identity().unwrap(), None);
        data.store(&identity()).unwrap();
        let before = data.identity().unwrap().unwrap();
        let begun = data.begin(before.clone()).unwrap();
        assert_eq!(
            begun,
            Identity {
                incarnation: 1,
                ..before
            }
        );
        assert_eq!(data.identity().unwrap(), Some(begun));
    }

    #[test]
    fn a_join_keeps_its_request_id_over_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::lock(dir.path()).unwrap().join_request().unwrap();
        assert_eq!(DataDir::lock(dir.path()).unwrap().join_request().unwrap(), first);
    }

    #[test]
    fn a_damaged_identity_is_named_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::lock(dir.path()).unwrap();
        fs::write(dir.path().join(IDENTITY), "{").unwrap();
        let refused = data.identity().unwrap_err().to_string();
        assert!(refused.contains(IDENTITY), "{refused}");
    }
}
