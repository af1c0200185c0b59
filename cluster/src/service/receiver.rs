//! Receives a snapshot: into a directory of its own, every chunk and every file checked, and only then installed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::snapshot_part::Part;
use covey_state::{Digest, GroupId, NodeId};
use covey_storage::{SnapshotFile, SnapshotManifest};
use openraft::storage::Snapshot;
use sha2::Digest as _;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tonic::{Status, Streaming};

use crate::codec;
use crate::consensus::{SnapshotMeta, Vote};
use crate::error::{Error, chain};
use crate::host::Inner;
use crate::replica::Replica;
use crate::snapshot::{SnapshotData, SnapshotDir, decode_manifest};

/// Receives one snapshot and installs it.
pub(super) async fn receive(
    inner: &Inner,
    from: NodeId,
    mut parts: Streaming<wire::SnapshotPart>,
) -> Result<wire::InstallSnapshotReply, Status> {
    let Ok(_turn) = inner.snapshot_receives.try_acquire() else {
        let limit = inner.config.snapshot_receives_max;
        return Err(Status::resource_exhausted(format!(
            "{limit} snapshots are being received already"
        )));
    };
    let Some(wire::SnapshotPart {
        part: Some(Part::Header(header)),
    }) = parts.message().await?
    else {
        return Err(Status::invalid_argument("a snapshot begins with its header"));
    };
    let group = GroupId::new(header.group);
    let replica = inner
        .replica(group)
        .ok_or_else(|| Status::not_found(format!("{group} is not running here")))?;
    let Promise { vote, meta, manifest } = Promise::read(header).map_err(|error| invalid(&error))?;
    tracing::info!(%group, %from, bytes = manifest.bytes(), last = ?meta.last_log_id, "receiving a snapshot");
    let dir = replica.snapshots.scratch().map_err(|error| internal(&error))?;
    let mut files = Files::new(&manifest, &dir).map_err(|error| invalid(&error))?;
    while let Some(part) = parts.message().await? {
        let Some(Part::Chunk(chunk)) = part.part else {
            return Err(Status::invalid_argument("a snapshot has one header"));
        };
        files.write(chunk).await.map_err(|error| invalid(&error))?;
    }
    files.finish().await.map_err(|error| invalid(&error))?;
    inner.metrics.snapshots_received.inc();
    install(
        &replica,
        vote,
        Snapshot {
            meta,
            snapshot: SnapshotData::new(manifest, dir),
        },
    )
    .await
}

async fn install(
    replica: &Arc<Replica>,
    vote: Vote,
    snapshot: openraft::type_config::alias::SnapshotOf<crate::consensus::TypeConfig, SnapshotData>,
) -> Result<wire::InstallSnapshotReply, Status> {
    let installed = replica.raft.install_full_snapshot(vote, snapshot).await;
    let reply = installed.map_err(|fatal| internal(&fatal))?;
    Ok(wire::InstallSnapshotReply {
        vote: Some(codec::vote(&reply.vote)),
    })
}

fn invalid(error: &dyn std::error::Error) -> Status {
    Status::invalid_argument(chain(error))
}

fn internal(error: &dyn std::error::Error) -> Status {
    Status::internal(chain(error))
}

/// What the header promises.
struct Promise {
    vote: Vote,
    meta: SnapshotMeta,
    manifest: SnapshotManifest,
}

impl Promise {
    fn read(header: wire::SnapshotHeader) -> Result<Self, Error> {
        let missing =
            |field: &str| Error::decode("snapshot header", format!("its field `{field}` is missing"));
        let vote = codec::vote_from(header.vote.ok_or_else(|| missing("vote"))?);
        let (meta, manifest) = codec::snapshot_record_from(header.record.ok_or_else(|| missing("record"))?)?;
        Ok(Self {
            vote,
            meta,
            manifest: decode_manifest(&manifest)?,
        })
    }
}

/// The files of a snapshot that is being received, one after the other.
struct Files {
    expected: BTreeMap<String, SnapshotFile>,
    directory: PathBuf,
    open: Option<Writing>,
}

/// A file that is being received.
struct Writing {
    promised: SnapshotFile,
    path: PathBuf,
    file: File,
    received: u64,
    hasher: sha2::Sha256,
}

impl Files {
    fn new(manifest: &SnapshotManifest, dir: &SnapshotDir) -> Result<Self, Error> {
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
        })
    }

    /// Takes a chunk, which continues the open file or begins the next one.
    async fn write(&mut self, chunk: wire::SnapshotChunk) -> Result<(), Error> {
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
        open.file
            .write_all(&chunk.data)
            .await
            .map_err(Error::file("write", &open.path))?;
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
        let file = File::create_new(&path)
            .await
            .map_err(Error::file("create", &path))?;
        Ok(Writing {
            promised,
            path,
            file,
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
        open.file
            .sync_all()
            .await
            .map_err(Error::file("sync", &open.path))
    }

    /// Checks that everything promised is there; files without bytes need no chunk.
    async fn finish(mut self) -> Result<(), Error> {
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
