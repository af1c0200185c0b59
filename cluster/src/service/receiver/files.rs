//! The files of a snapshot on their way in: every chunk is checked, and every file once it is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use covey_proto::peer::v1 as wire;
use covey_state::Digest;
use covey_storage::{SnapshotFile, SnapshotManifest};
use sha2::Digest as _;

use crate::blocking::blocking;
use crate::error::Error;
use crate::snapshot::SnapshotDir;

/// The files of a snapshot that is being received, one after the other.
#[derive(Debug)]
pub(crate) struct Files {
    expected: BTreeMap<String, SnapshotFile>,
    directory: PathBuf,
    open: Option<Writing>,
    /// Files that are there as a whole, verified.
    held: Vec<String>,
    held_bytes: u64,
}

/// A file that is being received.
#[derive(Debug)]
struct Writing {
    promised: SnapshotFile,
    path: PathBuf,
    file: Arc<File>,
    received: u64,
    hasher: sha2::Sha256,
}

impl Files {
    /// What is there already.
    pub(super) fn progress(&self) -> wire::SnapshotProgress {
        let open = self.open.as_ref();
        wire::SnapshotProgress {
            held: self.held.clone(),
            file: open.map(|open| open.promised.name.clone()).unwrap_or_default(),
            offset: open.map_or(0, |open| open.received),
        }
    }

    /// The bytes that are there already.
    pub(super) fn received(&self) -> u64 {
        self.held_bytes + self.open.as_ref().map_or(0, |open| open.received)
    }

    /// Whether every byte is there.
    pub(super) fn is_whole(&self) -> bool {
        let open = self.open.as_ref();
        open.is_none_or(|open| open.received == open.promised.bytes)
            && self.expected.values().all(|file| file.bytes == 0)
    }

    pub(super) fn new(manifest: &SnapshotManifest, dir: &SnapshotDir) -> Result<Self, Error> {
        let plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.');
        if let Some(file) = manifest.files.iter().find(|file| !plain(&file.name)) {
            return Err(Error::decode(
                "snapshot manifest",
                format!("`{}` is no file name", file.name),
            ));
        }
        let expected = manifest
            .files
            .iter()
            .map(|file| (file.name.clone(), file.clone()))
            .collect();
        Ok(Self {
            expected,
            directory: dir.path().to_owned(),
            open: None,
            held: Vec::new(),
            held_bytes: 0,
        })
    }

    /// Takes a chunk, which continues the open file or begins the next one.
    pub(super) async fn write(&mut self, chunk: wire::SnapshotChunk) -> Result<(), Error> {
        let wrong = |reason: String| Err(Error::decode("snapshot chunk", reason));
        if crc32c::crc32c(&chunk.data) != chunk.crc32c {
            return wrong(format!(
                "the checksum at {} of `{}` does not fit",
                chunk.offset, chunk.file
            ));
        }
        if self
            .open
            .as_ref()
            .is_none_or(|open| open.promised.name != chunk.file)
        {
            self.close().await?;
            self.open = Some(self.begin(&chunk.file).await?);
        }
        let open = self.open.as_mut().expect("a file was just opened");
        if chunk.offset != open.received || chunk.offset + chunk.data.len() as u64 > open.promised.bytes {
            return wrong(format!(
                "offset {} of `{}` was not expected",
                chunk.offset, chunk.file
            ));
        }
        let (file, data) = (Arc::clone(&open.file), chunk.data.clone());
        on_disk("write", &open.path, move || (&*file).write_all(&data)).await?;
        open.hasher.update(&chunk.data);
        open.received += chunk.data.len() as u64;
        Ok(())
    }

    async fn begin(&mut self, name: &str) -> Result<Writing, Error> {
        let promised = self.expected.remove(name).ok_or_else(|| {
            Error::decode(
                "snapshot chunk",
                format!("`{name}` is not in the manifest or came twice"),
            )
        })?;
        let path = self.directory.join(name);
        let created = path.clone();
        let file = on_disk("create", &path, move || File::create_new(created)).await?;
        Ok(Writing {
            promised,
            path,
            file: Arc::new(file),
            received: 0,
            hasher: sha2::Sha256::new(),
        })
    }

    /// Checks and syncs the open file.
    async fn close(&mut self) -> Result<(), Error> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let digest = Digest::new(open.hasher.finalize().into());
        if open.received != open.promised.bytes || digest != open.promised.sha256 {
            let reason = format!(
                "`{}` has {} bytes that hash to {digest}",
                open.promised.name, open.received
            );
            return Err(Error::decode("snapshot file", reason));
        }
        on_disk("sync", &open.path, move || open.file.sync_all()).await?;
        fail::fail_point!("snapshot::received_one_file");
        self.held_bytes += open.received;
        self.held.push(open.promised.name);
        Ok(())
    }

    /// Checks that everything promised is there; files without bytes need no chunk.
    pub(super) async fn finish(mut self) -> Result<(), Error> {
        self.close().await?;
        let empty: Vec<String> = self
            .expected
            .values()
            .filter(|file| file.bytes == 0)
            .map(|file| file.name.clone())
            .collect();
        for name in empty {
            self.open = Some(self.begin(&name).await?);
            self.close().await?;
        }
        match self.expected.into_keys().next() {
            Some(name) => Err(Error::decode(
                "snapshot",
                format!("the file `{name}` did not come"),
            )),
            None => Ok(()),
        }
    }
}

/// A step on the file at `path`.
async fn on_disk<T: Send + 'static>(
    action: &'static str,
    path: &Path,
    step: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = blocking(step).await.map_err(io::Error::other);
    done.flatten().map_err(Error::file(action, path))
}
