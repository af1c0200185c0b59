//! Rewriting a database around a damaged block.
//!
//! Erasing a group hides what it had, but a damaged block stays in its file until a compaction wants to read it, and then
//! RocksDB stops writing for all groups. So whoever has erased a damaged group, or has met such a stop, asks for a rewrite,
//! and the next start does it: whatever of the old database is whole goes into a new one, which takes its place.
//!
//! 1. Make the new database beside the old one.
//! 2. Move the old one aside.
//! 3. Move the new one into its place.
//! 4. Remove the old one, then the request.
//!
//! A crash before step 2 leaves the old database, and a half-made new one that is removed; after it, the new database is
//! whole, and the next start goes on with step 3.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::files;

/// The paths of a rewrite, side by side.
pub(crate) struct Rewrite {
    directory: PathBuf,
    request: PathBuf,
    old: PathBuf,
    /// The database that is rewritten.
    pub(crate) current: PathBuf,
    /// The database that takes its place.
    pub(crate) new: PathBuf,
    /// Where files may be put while the new database is made.
    pub(crate) work: PathBuf,
}

impl Rewrite {
    /// The rewrite of the database in a directory.
    pub(crate) fn of(current: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = OsString::from(current);
            name.push(ending);
            PathBuf::from(name)
        };
        let parent = current.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self {
            directory: parent.unwrap_or(Path::new(".")).to_owned(),
            request: beside(".rewrite"),
            old: beside(".old"),
            current: current.to_owned(),
            new: beside(".new"),
            work: beside(".rewriting"),
        }
    }

    /// Asks for it at the next start.
    pub(crate) fn request(&self) -> Result<(), Error> {
        let file = File::create(&self.request).map_err(Error::file("create", &self.request))?;
        file.sync_all().map_err(Error::file("sync", &self.request))?;
        files::sync_dir(&self.directory)
    }

    /// Asks for it because the database was stopped by a damaged block, and says so.
    pub(crate) fn stopped(&self, source: &rocksdb::Error) {
        let (path, damage) = (self.current.display(), source.to_string());
        tracing::error!(%path, damage, "the database is stopped by a damaged block; the next start writes it anew");
        if let Err(error) = self.request() {
            tracing::error!(%error, "that could not be written down");
        }
    }

    /// Goes on with one that was cut short, and does one that was asked for: `make` makes the new database, durably.
    pub(crate) fn finish(&self, make: impl FnOnce(&Self) -> Result<(), Error>) -> Result<(), Error> {
        if !self.current.exists() && self.new.exists() {
            rename(&self.new, &self.current)?;
            files::sync_dir(&self.directory)?;
        }
        for rest in [&self.new, &self.old, &self.work] {
            files::remove_dir(rest)?;
        }
        if !self.request.exists() {
            return Ok(());
        }
        if self.current.exists() {
            tracing::warn!(path = %self.current.display(), "rewriting the database, because damage was found in it");
            make(self)?;
            files::remove_dir(&self.work)?;
            fault!("rewrite::made");
            rename(&self.current, &self.old)?;
            fault!("rewrite::moved_aside");
            rename(&self.new, &self.current)?;
            files::sync_dir(&self.directory)?;
            fault!("rewrite::moved");
            files::remove_dir(&self.old)?;
        }
        fs::remove_file(&self.request).map_err(Error::file("remove", &self.request))?;
        files::sync_dir(&self.directory)
    }

    /// Removes the database with all that a rewrite may have left beside it.
    pub(crate) fn remove_all(&self) -> Result<(), Error> {
        for part in [&self.new, &self.old, &self.work, &self.current] {
            files::remove_dir(part)?;
        }
        match fs::remove_file(&self.request) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::file("remove", &self.request)(error))
            }
            _ => files::sync_dir(&self.directory),
        }
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::file("rename", from))
}
