//! Exports: a group at one moment, as sorted files that another node makes part of its database as they are.

use std::ops::ControlFlow;
use std::path::Path;

use bytes::Bytes;
use covey_state::key::Table;
use covey_state::{Digest, GroupId, Key};
use rocksdb::{Options, SstFileWriter};
use serde::{Deserialize, Serialize};

use super::layout::{self, TABLES, table_name};
use super::view::GroupView;
use super::{Shared, table_options};
use crate::error::Error;
use crate::files;
use crate::planted::{Bug, is_planted};

/// What a snapshot of a group consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotManifest {
    /// The group.
    pub group: GroupId,
    /// The marker of what was applied last; `None` if nothing ever was.
    pub applied: Option<Bytes>,
    /// The files, in the order in which they were written.
    pub files: Vec<SnapshotFile>,
}

/// One file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFile {
    /// Its name inside the snapshot's directory.
    pub name: String,
    /// The table whose keys it holds.
    pub table: String,
    /// How many keys it holds.
    pub keys: u64,
    /// Its length.
    pub bytes: u64,
    /// What it hashes to.
    pub sha256: Digest,
}

impl SnapshotManifest {
    /// The length of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// See [`super::GroupState::export`].
pub(super) fn export(shared: &Shared, group: GroupId, into: &Path) -> Result<SnapshotManifest, Error> {
    files::create_dir(into)?;
    let view = shared.view(group);
    let options = table_options(&shared.config);
    let mut manifest = SnapshotManifest {
        group,
        applied: view.applied()?,
        files: Vec::new(),
    };
    for table in TABLES {
        let mut output = TableOutput {
            table,
            into,
            options: &options,
            bytes_max: shared.config.export_file_bytes,
            open: None,
        };
        output.take_all(&view, group, &mut manifest.files)?;
    }
    files::sync_dir(into)?;
    fault!("export::synced");
    Ok(manifest)
}

/// Writes one table into as many files as it needs.
struct TableOutput<'a> {
    table: Table,
    into: &'a Path,
    options: &'a Options,
    bytes_max: u64,
    open: Option<OpenFile<'a>>,
}

struct OpenFile<'a> {
    name: String,
    keys: u64,
    writer: SstFileWriter<'a>,
}

impl TableOutput<'_> {
    fn take_all(
        &mut self,
        view: &GroupView,
        group: GroupId,
        finished: &mut Vec<SnapshotFile>,
    ) -> Result<(), Error> {
        let start = layout::group_bounds(group).0;
        view.scan_stored(self.table, &start, |key, value| {
            view.verify(self.table, key, value)?;
            if is_planted(Bug::SnapshotWithoutDedup)
                && matches!(
                    layout::parse_key(group, self.table, key)?,
                    Key::Request(_) | Key::RequestAge(..)
                )
            {
                return Ok(ControlFlow::Continue(()));
            }
            self.put(key, value, finished)?;
            Ok(ControlFlow::Continue(()))
        })?;
        self.finish(finished)
    }

    fn put(&mut self, key: &[u8], value: &[u8], finished: &mut Vec<SnapshotFile>) -> Result<(), Error> {
        let full = self
            .open
            .as_ref()
            .is_some_and(|open| open.writer.file_size() >= self.bytes_max);
        if full {
            self.finish(finished)?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin(finished.len())?,
        };
        open.writer
            .put(key, value)
            .map_err(Error::database("write a snapshot file"))?;
        open.keys += 1;
        self.open = Some(open);
        Ok(())
    }

    fn finish(&mut self, finished: &mut Vec<SnapshotFile>) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        open.writer
            .finish()
            .map_err(Error::database("finish a snapshot file"))?;
        let (bytes, sha256) = files::digest_file(&self.into.join(&open.name))?;
        fault!("export::finished_one_file");
        let table = table_name(self.table).to_owned();
        finished.push(SnapshotFile {
            name: open.name,
            table,
            keys: open.keys,
            bytes,
            sha256,
        });
        Ok(())
    }
}

impl<'a> TableOutput<'a> {
    fn begin(&self, number: usize) -> Result<OpenFile<'a>, Error> {
        let name = format!("{number:06}-{}.sst", table_name(self.table));
        let writer = SstFileWriter::create(self.options);
        writer
            .open(self.into.join(&name))
            .map_err(Error::database("create a snapshot file"))?;
        Ok(OpenFile {
            name,
            keys: 0,
            writer,
        })
    }
}
