//! The snapshots of one group on this node's disk.
//!
//! Each snapshot has a directory of its own with the storage engine's files; the record that makes it count is
//! written last. Invariants: at most one snapshot is current; an older one is removed once nobody reads it any more;
//! a directory without a readable record is swept at the next start.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use covey_state::GroupId;
use covey_storage::{GroupState, SnapshotManifest};

use crate::blocking::detached;
use crate::codec;
use crate::consensus::SnapshotMeta;
use crate::error::Error;
use crate::service::Partial;

/// The file that makes a directory a snapshot.
const RECORD: &str = "record";

/// What the consensus library passes around as a snapshot: the files, which stay as long as this value does.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotData {
    pub(crate) manifest: Arc<SnapshotManifest>,
    dir: Arc<SnapshotDir>,
}

impl SnapshotData {
    pub(crate) fn new(manifest: SnapshotManifest, dir: SnapshotDir) -> Self {
        Self {
            manifest: Arc::new(manifest),
            dir: Arc::new(dir),
        }
    }

    /// Where the files are.
    pub(crate) fn path(&self) -> &Path {
        &self.dir.path
    }

    /// Takes note that a file is not what was written: the snapshot must not be sent again.
    pub(crate) fn spoil(&self) {
        self.dir.spoiled.store(true, Ordering::Relaxed);
    }

    /// Whether a file was found damaged.
    pub(crate) fn is_spoiled(&self) -> bool {
        self.dir.spoiled.load(Ordering::Relaxed)
    }
}

/// A directory that goes when it is no longer wanted and nobody reads it.
#[derive(Debug)]
pub(crate) struct SnapshotDir {
    path: PathBuf,
    unwanted: AtomicBool,
    spoiled: AtomicBool,
}

impl SnapshotDir {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SnapshotDir {
    fn drop(&mut self) {
        if !self.unwanted.load(Ordering::Relaxed) {
            return;
        }
        let path = std::mem::take(&mut self.path);
        // Whoever holds it last may be a task that must not wait for the disk.
        detached(move || {
            if let Err(error) = fs::remove_dir_all(&path) {
                tracing::warn!(path = %path.display(), %error, "an old snapshot could not be removed");
            }
        });
    }
}

/// A snapshot that counts.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    pub(crate) meta: SnapshotMeta,
    pub(crate) data: SnapshotData,
}

/// The number of the next directory. Not even a store that is opened anew gives a number again, for whoever still holds one from
/// before removes it.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The snapshots of one group.
#[derive(Debug)]
pub(crate) struct SnapshotStore {
    group: GroupId,
    path: PathBuf,
    current: Mutex<Option<Saved>>,
    /// What is there of a snapshot whose transfer broke. Whoever receives one holds the lock.
    pub(crate) partial: tokio::sync::Mutex<Option<Partial>>,
}

impl SnapshotStore {
    /// Where the snapshots of a group are, below the host's snapshot directory.
    pub(crate) fn directory(snapshot_dir: &Path, group: GroupId) -> PathBuf {
        snapshot_dir.join(group.to_string())
    }

    /// Finds the newest snapshot and sweeps everything else.
    pub(crate) fn open(snapshot_dir: &Path, group: GroupId) -> Result<Self, Error> {
        let path = Self::directory(snapshot_dir, group);
        fs::create_dir_all(&path).map_err(Error::file("create directory", &path))?;
        let mut newest: Option<Saved> = None;
        for entry in fs::read_dir(&path).map_err(Error::file("list directory", &path))? {
            let found = entry.map_err(Error::file("list directory", &path))?.path();
            match load(&found) {
                Ok(saved) => {
                    let dropped = match &newest {
                        Some(best) if best.meta.last_log_id >= saved.meta.last_log_id => Some(saved),
                        _ => newest.replace(saved),
                    };
                    dropped.inspect(|saved| saved.data.dir.unwanted.store(true, Ordering::Relaxed));
                }
                Err(error) => {
                    tracing::info!(path = %found.display(), %error, "sweeping an unfinished snapshot");
                    // It may be on its way out already.
                    match fs::remove_dir_all(&found) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(Error::file("remove directory", &found)(error));
                        }
                        Ok(()) | Err(_) => {}
                    }
                }
            }
        }
        Ok(Self {
            group,
            path,
            current: Mutex::new(newest),
            partial: tokio::sync::Mutex::default(),
        })
    }

    /// The snapshot that counts now.
    pub(crate) fn current(&self) -> Option<Saved> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// A new directory, which goes again unless it is saved.
    pub(crate) fn scratch(&self) -> Result<SnapshotDir, Error> {
        loop {
            let path = self.path.join(NEXT.fetch_add(1, Ordering::Relaxed).to_string());
            match fs::create_dir(&path) {
                Ok(()) => {
                    return Ok(SnapshotDir {
                        path,
                        unwanted: AtomicBool::new(true),
                        spoiled: AtomicBool::new(false),
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::file("create directory", &path)(error)),
            }
        }
    }

    /// Takes a snapshot of the group as it is now.
    pub(crate) fn take(&self, state: &GroupState) -> Result<Saved, Error> {
        let dir = self.scratch()?;
        let manifest = state
            .export(dir.path())
            .map_err(Error::storage("export the state", self.group))?;
        fail::fail_point!("snapshot::exported");
        let (last_log_id, last_membership) = codec::load_applied(manifest.applied.as_ref())?;
        let meta = SnapshotMeta {
            last_log_id,
            last_membership,
        };
        self.save(Saved {
            meta,
            data: SnapshotData::new(manifest, dir),
        })
    }

    /// Makes a snapshot that came from elsewhere the current one.
    pub(crate) fn adopt(&self, meta: SnapshotMeta, data: &SnapshotData) -> Result<(), Error> {
        if self
            .current()
            .is_some_and(|current| current.data.path() == data.path())
        {
            return Ok(());
        }
        let dir = self.scratch()?;
        for file in &data.manifest.files {
            let (from, to) = (data.path().join(&file.name), dir.path().join(&file.name));
            fs::hard_link(&from, &to)
                .or_else(|_| fs::copy(&from, &to).map(drop))
                .map_err(Error::file("copy", &from))?;
        }
        fail::fail_point!("snapshot::linked");
        let manifest = SnapshotManifest::clone(&data.manifest);
        self.save(Saved {
            meta,
            data: SnapshotData::new(manifest, dir),
        })
        .map(drop)
    }

    /// Writes the record and lets the snapshot replace the current one, unless that is newer.
    fn save(&self, saved: Saved) -> Result<Saved, Error> {
        write_record(&saved)?;
        sync_dir(&self.path)?;
        fail::fail_point!("snapshot::recorded");
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current
            .as_ref()
            .is_some_and(|current| current.meta.last_log_id > saved.meta.last_log_id)
        {
            return Ok(saved);
        }
        saved.data.dir.unwanted.store(false, Ordering::Relaxed);
        if let Some(replaced) = current.replace(saved.clone()) {
            replaced.data.dir.unwanted.store(true, Ordering::Relaxed);
        }
        Ok(saved)
    }
}

/// The manifest as bytes, for a record on disk or on the wire.
pub(crate) fn encode_manifest(manifest: &SnapshotManifest) -> Bytes {
    postcard::to_stdvec(manifest)
        .expect("a manifest holds only types that postcard can write")
        .into()
}

/// The manifest of a record.
pub(crate) fn decode_manifest(bytes: &Bytes) -> Result<SnapshotManifest, Error> {
    postcard::from_bytes(bytes).map_err(|error| Error::decode("snapshot manifest", error))
}

fn write_record(saved: &Saved) -> Result<(), Error> {
    let directory = saved.data.path();
    let record = codec::snapshot_record(&saved.meta, encode_manifest(&saved.data.manifest));
    let (draft, path) = (directory.join("draft"), directory.join(RECORD));
    let mut file = File::create(&draft).map_err(Error::file("create", &draft))?;
    file.write_all(&codec::store_snapshot_record(&record))
        .map_err(Error::file("write", &draft))?;
    file.sync_all().map_err(Error::file("sync", &draft))?;
    fail::fail_point!("snapshot::drafted");
    fs::rename(&draft, &path).map_err(Error::file("rename to", &path))?;
    sync_dir(directory)
}

fn load(directory: &Path) -> Result<Saved, Error> {
    let path = directory.join(RECORD);
    let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
    let record = codec::load_snapshot_record(&Bytes::from(bytes))?;
    let (meta, manifest) = codec::snapshot_record_from(record)?;
    let dir = SnapshotDir {
        path: directory.to_owned(),
        unwanted: AtomicBool::new(false),
        spoiled: AtomicBool::new(false),
    };
    Ok(Saved {
        meta,
        data: SnapshotData::new(decode_manifest(&manifest)?, dir),
    })
}

fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::file("sync directory", path))
}
