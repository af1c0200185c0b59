//! Artifacts: immutable chunks in files named by the SHA-256 of what they hold.
//!
//! Invariant: a chunk that `get` returns hashes to its name. A chunk is visible only when it is complete and durable:
//! it is written beside, synced, renamed, and the directory is synced.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use covey_state::Digest;

use crate::error::{Error, Place};
use crate::files;

/// The size of a chunk; only the last one of an artifact is smaller.
pub const CHUNK_BYTES: usize = 1 << 20;

/// Splits an artifact into chunks of [`CHUNK_BYTES`].
pub fn chunks(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(CHUNK_BYTES)
}

/// A directory of chunks. Clones share it.
#[derive(Debug, Clone)]
pub struct ArtifactStore(Arc<Directory>);

#[derive(Debug)]
struct Directory {
    root: PathBuf,
    unfinished: PathBuf,
    /// Tells apart the unfinished files of writers that run at the same time.
    writes: AtomicU64,
}

impl ArtifactStore {
    /// Opens the directory, makes it if need be, and forgets chunks that were never finished.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let unfinished = path.join("unfinished");
        files::remove_dir(&unfinished)?;
        files::create_dir(&unfinished)?;
        files::sync_dir(path)?;
        Ok(Self(Arc::new(Directory {
            root: path.to_owned(),
            unfinished,
            writes: AtomicU64::new(0),
        })))
    }

    /// Stores a chunk durably. Storing it again changes nothing, but replaces a copy that has gone bad.
    pub fn put(&self, chunk: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(chunk);
        match self.get(digest) {
            Ok(_) => return Ok(digest),
            Err(Error::ArtifactMissing { .. } | Error::Corrupt { .. }) => {}
            Err(error) => return Err(error),
        }
        let number = self.0.writes.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.0.unfinished.join(format!("{digest}.{number}"));
        let mut file = File::create(&unfinished).map_err(Error::file("create", &unfinished))?;
        file.write_all(chunk).map_err(Error::file("write", &unfinished))?;
        file.sync_all().map_err(Error::file("sync", &unfinished))?;
        fault!("artifacts::before_rename");
        self.publish(&unfinished, digest)?;
        Ok(digest)
    }

    fn publish(&self, unfinished: &Path, digest: Digest) -> Result<(), Error> {
        let (shelf, path) = self.place(digest);
        if !shelf.exists() {
            files::create_dir(&shelf)?;
            files::sync_dir(&self.0.root)?;
        }
        fs::rename(unfinished, &path).map_err(Error::file("rename to", &path))?;
        files::sync_dir(&shelf)
    }

    /// The chunk of that digest, verified.
    pub fn get(&self, digest: Digest) -> Result<Bytes, Error> {
        let (_, path) = self.place(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::ArtifactMissing { digest });
            }
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        let found = Digest::of(&bytes);
        if found == digest {
            Ok(Bytes::from(bytes))
        } else {
            let reason = format!("its {} bytes hash to {found}", bytes.len());
            Err(Error::Corrupt {
                place: Place::Artifact { digest, path },
                reason,
            })
        }
    }

    /// Whether a chunk is stored under that digest. It is not verified.
    pub fn contains(&self, digest: Digest) -> bool {
        self.place(digest).1.exists()
    }

    /// Forgets a chunk; one that is not stored is fine.
    pub fn remove(&self, digest: Digest) -> Result<(), Error> {
        let (shelf, path) = self.place(digest);
        match fs::remove_file(&path) {
            Ok(()) => files::sync_dir(&shelf),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::file("remove", &path)(error)),
        }
    }

    /// The directory and the file of a chunk. The first byte of the digest keeps directories small.
    fn place(&self, digest: Digest) -> (PathBuf, PathBuf) {
        let name = digest.to_string();
        let shelf = self.0.root.join(&name[..2]);
        let path = shelf.join(name);
        (shelf, path)
    }
}
