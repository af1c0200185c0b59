//! Installs: a group's data is replaced as a whole, and a crash at any step leaves the old or the new, never a mixture.
//!
//! 1. Copy the files into a directory of our own, verifying each.
//! 2. Write the installing marker, synced.
//! 3. Remove the group's keys.
//! 4. Make the files part of the tables.
//! 5. Write the applied marker and remove the installing marker, in one synced batch.
//! 6. Remove the directory.
//!
//! Before step 2 a crash leaves the old data, and the directory is swept at open. From step 2 on open repeats steps 3
//! to 6, which may be repeated any number of times. If the group is erased meanwhile, the install ends before its next step.

use std::fs;
use std::path::Path;

use covey_state::GroupId;
use rocksdb::{IngestExternalFileOptions, WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};

use super::export::{SnapshotFile, SnapshotManifest};
use super::layout::{self, Marker, TABLES, table_name};
use super::{Shared, family};
use crate::error::{Error, Place};
use crate::files;

/// What the installing marker holds.
#[derive(Debug, Serialize, Deserialize)]
struct Installing {
    /// The directory with the verified copies, inside the staging directory.
    directory: String,
    manifest: SnapshotManifest,
}

/// See [`super::GroupState::install`].
pub(super) fn install(
    shared: &Shared,
    (group, erasures): (GroupId, u64),
    manifest: &SnapshotManifest,
    from: &Path,
) -> Result<(), Error> {
    if manifest.group != group {
        return Err(Error::WrongGroup {
            expected: group,
            found: manifest.group,
        });
    }
    let installing = Installing {
        directory: free_directory(&shared.staging, group),
        manifest: manifest.clone(),
    };
    stage(shared, &installing, from)?;
    fault!("install::staged");
    let installed = replace(shared, &installing, erasures);
    if matches!(installed, Err(Error::Erased { .. })) {
        // The marker that named them is gone with the rest.
        files::remove_dir(&shared.staging.join(&installing.directory))?;
    }
    installed
}

/// Steps 2 to 6, unless the group is erased before.
fn replace(shared: &Shared, installing: &Installing, erasures: u64) -> Result<(), Error> {
    mark(shared, installing, erasures)?;
    fault!("install::marked");
    // What waits in memory is written now, so that the swap, which readers wait for, finds next to nothing to write.
    for table in TABLES {
        shared
            .db
            .flush_cf(family(&shared.db, table))
            .map_err(|source| shared.write_failed(source))?;
    }
    fault!("install::flushed");
    swap(shared, installing, erasures)
}

/// An earlier install may have left a directory that its marker still names, so each one gets its own.
fn free_directory(staging: &Path, group: GroupId) -> String {
    (0u64..)
        .map(|number| format!("{group}-{number}"))
        .find(|name| !staging.join(name).exists())
        .expect("a directory holds fewer than 2^64 names")
}

fn stage(shared: &Shared, installing: &Installing, from: &Path) -> Result<(), Error> {
    let directory = shared.staging.join(&installing.directory);
    files::create_dir(&directory)?;
    for file in &installing.manifest.files {
        let source = from.join(&file.name);
        let copied = files::copy_synced(&source, &directory.join(&file.name))?;
        if let Err(error) = check(&installing.manifest, file, &source, copied) {
            files::remove_dir(&directory)?;
            return Err(error);
        }
        fault!("install::copied_one_file");
    }
    files::sync_dir(&directory)?;
    files::sync_dir(&shared.staging)
}

fn check(
    manifest: &SnapshotManifest,
    file: &SnapshotFile,
    path: &Path,
    (bytes, sha256): (u64, covey_state::Digest),
) -> Result<(), Error> {
    let corrupt = |reason| {
        let place = Place::SnapshotFile {
            group: manifest.group,
            path: path.to_owned(),
        };
        Err(Error::Corrupt { place, reason })
    };
    if !TABLES.iter().any(|table| table_name(*table) == file.table) {
        corrupt(format!("it belongs to the unknown table `{}`", file.table))
    } else if bytes != file.bytes {
        corrupt(format!("it has {bytes} bytes, the manifest says {}", file.bytes))
    } else if sha256 != file.sha256 {
        corrupt(format!(
            "its {bytes} bytes hash to {sha256}, the manifest says {}",
            file.sha256
        ))
    } else {
        Ok(())
    }
}

fn mark(shared: &Shared, installing: &Installing, erasures: u64) -> Result<(), Error> {
    let gate = shared.read_gate();
    gate.check_life(installing.manifest.group, erasures)?;
    let payload =
        postcard::to_stdvec(installing).expect("a manifest holds only types that postcard can write");
    let mut batch = WriteBatch::default();
    layout::put_marker(
        installing.manifest.group,
        Marker::Installing,
        &payload,
        &mut batch,
    );
    write_synced(shared, batch)
}

fn write_synced(shared: &Shared, batch: WriteBatch) -> Result<(), Error> {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    let written = shared.db.write_opt(batch, &options);
    written.map_err(|source| shared.write_failed(source))?;
    shared.synced();
    Ok(())
}

/// Steps 3 to 6. No view is made meanwhile; if a step fails, the group answers nothing until it is repeated.
fn swap(shared: &Shared, installing: &Installing, erasures: u64) -> Result<(), Error> {
    let group = installing.manifest.group;
    let directory = shared.staging.join(&installing.directory);
    let mut gate = shared.write_gate();
    gate.check_life(group, erasures)?;
    gate.unfinished.insert(group);
    let mut removal = WriteBatch::default();
    layout::remove_tables(&shared.db, group, &mut removal);
    shared
        .db
        .write(removal)
        .map_err(|source| shared.write_failed(source))?;
    fault!("install::removed");
    ingest(shared, &installing.manifest, &directory)?;
    fault!("install::ingested");
    let mut last = WriteBatch::default();
    match &installing.manifest.applied {
        Some(applied) => layout::put_marker(group, Marker::Applied, applied, &mut last),
        None => layout::remove_marker(group, Marker::Applied, &mut last),
    }
    layout::remove_marker(group, Marker::Installing, &mut last);
    write_synced(shared, last)?;
    gate.unfinished.remove(&group);
    drop(gate);
    fault!("install::finished");
    files::remove_dir(&directory)
}

fn ingest(shared: &Shared, manifest: &SnapshotManifest, directory: &Path) -> Result<(), Error> {
    for table in TABLES {
        let paths: Vec<_> = manifest
            .files
            .iter()
            .filter(|file| file.table == table_name(table))
            .map(|file| directory.join(&file.name))
            .collect();
        if paths.is_empty() {
            continue;
        }
        // The files are copied, not moved: a repetition needs them again.
        shared
            .db
            .ingest_external_file_cf_opts(
                family(&shared.db, table),
                &IngestExternalFileOptions::default(),
                paths,
            )
            .map_err(|source| shared.write_failed(source))?;
        fault!("install::ingested_one_table");
    }
    Ok(())
}

fn staged_is_whole(shared: &Shared, installing: &Installing) -> Result<(), Error> {
    let directory = shared.staging.join(&installing.directory);
    installing.manifest.files.iter().try_for_each(|file| {
        let path = directory.join(&file.name);
        check(&installing.manifest, file, &path, files::digest_file(&path)?)
    })
}

/// Repeats the installs that a crash has interrupted, and sweeps what is left of others.
pub(super) fn finish_interrupted(shared: &Shared) -> Result<(), Error> {
    for (group, payload) in layout::markers(&shared.db, Marker::Installing)? {
        let installing: Installing = postcard::from_bytes(&payload).map_err(|error| Error::Corrupt {
            place: Place::State {
                group,
                table: "markers",
                key: "installing marker".to_owned(),
            },
            reason: error.to_string(),
        })?;
        match staged_is_whole(shared, &installing) {
            Ok(()) => {
                tracing::warn!(%group, "finishing an interrupted snapshot install");
                swap(shared, &installing, shared.erasures(group))?;
            }
            // The old state is gone in part. The group has to be filled anew; the others are not concerned.
            Err(error) => {
                tracing::error!(%group, %error, "a snapshot that was being installed is damaged: the state is erased");
                clear(shared, group)?;
            }
        }
    }
    let left = fs::read_dir(&shared.staging).map_err(Error::file("list directory", &shared.staging))?;
    for entry in left {
        let entry = entry.map_err(Error::file("list directory", &shared.staging))?;
        files::remove_dir(&entry.path())?;
    }
    Ok(())
}

/// See [`super::GroupState::clear`].
pub(super) fn clear(shared: &Shared, group: GroupId) -> Result<(), Error> {
    let mut gate = shared.write_gate();
    // First: what is still on its way to the disk must not come after.
    *gate.erasures.entry(group).or_default() += 1;
    let mut batch = WriteBatch::default();
    layout::remove_tables(&shared.db, group, &mut batch);
    layout::remove_marker(group, Marker::Applied, &mut batch);
    layout::remove_marker(group, Marker::Installing, &mut batch);
    write_synced(shared, batch)?;
    gate.unfinished.remove(&group);
    Ok(())
}
