//! Rewriting a database around a damaged block.
//!
//! Erasing a group hides what it had, but a damaged block stays in its file until a compaction wants to read it, and then
//! RocksDB stops writing for all groups. So whoever has erased a damaged group, or has met such a stop, asks for a rewrite,
//! and the next start does it: every group is exported, which verifies it, and installed into a database of its own, which takes the old one's
//! place. A group that turns out to be damaged only now is left out: it has a log and no state, which its host notices.
//!
//! 1. Make the new database beside the old one.
//! 2. Move the old one aside.
//! 3. Move the new one into its place.
//! 4. Remove the old one, then the request.
//!
//! A crash before step 2 leaves the old database, and a half-made new one that is removed; after it, the new database is
//! whole, and the next start goes on with step 3.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::layout::{self, Marker};
use super::{Shared, StateDbConfig, export, install, open_database};
use crate::error::Error;
use crate::files;

/// Where the parts are, below the directory of the state.
struct Paths {
    directory: PathBuf,
    request: PathBuf,
    current: PathBuf,
    new: PathBuf,
    old: PathBuf,
    work: PathBuf,
}

impl Paths {
    fn below(directory: &Path) -> Self {
        let part = |name| directory.join(name);
        Self {
            directory: directory.to_owned(),
            request: part("rewrite"),
            current: part("db"),
            new: part("db.new"),
            old: part("db.old"),
            work: part("rewriting"),
        }
    }
}

/// Asks for a rewrite at the next start.
pub(super) fn request(directory: &Path) -> Result<(), Error> {
    let path = Paths::below(directory).request;
    let file = File::create(&path).map_err(Error::file("create", &path))?;
    file.sync_all().map_err(Error::file("sync", &path))?;
    files::sync_dir(directory)
}

/// Goes on with a rewrite that was cut short, and does one that was asked for.
pub(super) fn finish(directory: &Path, config: &StateDbConfig) -> Result<(), Error> {
    let paths = Paths::below(directory);
    if !paths.current.exists() && paths.new.exists() {
        rename(&paths.new, &paths.current)?;
        files::sync_dir(directory)?;
    }
    for rest in [&paths.new, &paths.old, &paths.work] {
        files::remove_dir(rest)?;
    }
    if !paths.request.exists() {
        return Ok(());
    }
    if paths.current.exists() {
        tracing::warn!(path = %paths.current.display(), "rewriting the state, because damage was found in it");
        make(&paths, config)?;
        fault!("rewrite::made");
        rename(&paths.current, &paths.old)?;
        fault!("rewrite::moved_aside");
        rename(&paths.new, &paths.current)?;
        files::sync_dir(&paths.directory)?;
        fault!("rewrite::moved");
        files::remove_dir(&paths.old)?;
    }
    fs::remove_file(&paths.request).map_err(Error::file("remove", &paths.request))?;
    files::sync_dir(&paths.directory)
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::file("rename", from))
}

/// Makes the new database of all groups that are whole.
fn make(paths: &Paths, config: &StateDbConfig) -> Result<(), Error> {
    let open = |database: &Path, staging: &str| {
        let staging = paths.work.join(staging);
        files::create_dir(&staging)?;
        let db = open_database(database, config)?;
        Ok(Shared::new(db, config.clone(), staging))
    };
    // What was being installed is still in its own staging directory.
    let old = Shared {
        staging: paths.directory.join("installing"),
        ..open(&paths.current, "unused")?
    };
    install::finish_interrupted(&old)?;
    let new = open(&paths.new, "installing")?;
    for (group, _) in layout::markers(&old.db, Marker::Applied)? {
        let exported = paths.work.join("exported");
        files::remove_dir(&exported)?;
        match export::export(&old, group, &exported) {
            Ok(manifest) => install::install(&new, group, &manifest, &exported)?,
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!(%group, %error, "the state of this group is damaged and is left out");
            }
            Err(error) => return Err(error),
        }
    }
    new.db
        .flush_wal(true)
        .map_err(Error::database("sync the state"))?;
    drop((old, new));
    files::remove_dir(&paths.work)
}
