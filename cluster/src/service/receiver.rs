//! Receives a snapshot: into a directory of its own, every chunk and every file checked, and only then installed.
//!
//! When the way to the sender breaks, what is there stays, and the next transfer of the same snapshot goes on from
//! there. A transfer of another snapshot takes its place; the next start of the node sweeps it.

mod files;

use std::sync::Arc;
use std::time::Duration;

use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::snapshot_part::Part;
use covey_proto::peer::v1::snapshot_reply::Reply;
use covey_state::{Digest, GroupId, NodeId};
use covey_storage::SnapshotManifest;
use openraft::storage::Snapshot;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::codec;
use crate::consensus::{SnapshotMeta, Vote};
use crate::error::{Error, chain};
use crate::host::Inner;
use crate::replica::Replica;
use crate::snapshot::{SnapshotData, SnapshotDir, decode_manifest};
use files::Files;

/// How long the next part may take before the transfer counts as broken.
const PART_WITHIN: Duration = Duration::from_secs(30);

/// How long a transfer waits for an earlier one of the same group, which has perhaps not noticed that it broke.
const TURN_WITHIN: Duration = Duration::from_secs(1);

type Parts = Streaming<wire::SnapshotPart>;
type Replies = mpsc::Sender<Result<wire::SnapshotReply, Status>>;

/// What is there of a snapshot.
#[derive(Debug)]
pub(crate) struct Partial {
    identity: Digest,
    files: Files,
    dir: SnapshotDir,
}

/// Receives one snapshot and installs it.
pub(super) fn receive(
    inner: Arc<Inner>,
    from: NodeId,
    parts: Parts,
) -> ReceiverStream<Result<wire::SnapshotReply, Status>> {
    // Its progress, and the end.
    let (replies, outgoing) = mpsc::channel(2);
    tokio::spawn(async move {
        let end = run(&inner, from, parts, &replies).await;
        let end = end.map(|installed| wire::SnapshotReply {
            reply: Some(Reply::Installed(installed)),
        });
        // If this fails the sender has given up; it asks again.
        let _ = replies.send(end).await;
    });
    ReceiverStream::new(outgoing)
}

async fn run(
    inner: &Inner,
    from: NodeId,
    mut parts: Parts,
    replies: &Replies,
) -> Result<wire::SnapshotInstalled, Status> {
    let Ok(_turn) = inner.snapshot_receives.try_acquire() else {
        let limit = inner.config.snapshot_receives_max;
        return Err(Status::resource_exhausted(format!(
            "{limit} snapshots are being received already"
        )));
    };
    let Some(Part::Header(header)) = next(&mut parts).await? else {
        return Err(Status::invalid_argument("a snapshot begins with its header"));
    };
    let group = GroupId::new(header.group);
    let replica = inner
        .replica(group)
        .ok_or_else(|| Status::not_found(format!("{group} is not running here")))?;
    let promise = Promise::read(header).map_err(|error| invalid(&error))?;
    tracing::info!(%group, %from, bytes = promise.manifest.bytes(), last = ?promise.meta.last_log_id, "receiving a snapshot");
    let partial = tokio::time::timeout(TURN_WITHIN, replica.snapshots.partial.lock()).await;
    let Ok(mut partial) = partial else {
        return Err(Status::resource_exhausted(format!(
            "a snapshot of {group} is being received already"
        )));
    };
    let begun = partial
        .take()
        .filter(|partial| partial.identity == promise.identity);
    let mut taken = match begun {
        Some(begun) => begun,
        None => promise.begin(&replica).map_err(|error| internal(&error))?,
    };
    inner
        .metrics
        .snapshot_bytes_resumed
        .inc_by(taken.files.received());
    let progress = Reply::Progress(taken.files.progress());
    let told = replies.send(Ok(wire::SnapshotReply {
        reply: Some(progress),
    }));
    // Whoever has hung up already sends nothing either, which shows next.
    let _ = told.await;
    if let Err(status) = take_all(inner, &mut taken.files, &mut parts).await {
        // What is wrong with the bytes is not kept; what is there of a broken transfer is.
        if status.code() != tonic::Code::InvalidArgument {
            *partial = Some(taken);
        }
        return Err(status);
    }
    taken.files.finish().await.map_err(|error| invalid(&error))?;
    inner.metrics.snapshots_received.inc();
    let snapshot = Snapshot {
        meta: promise.meta,
        snapshot: SnapshotData::new(promise.manifest, taken.dir),
    };
    install(&replica, promise.vote, snapshot).await
}

/// Takes chunks until every byte is there.
async fn take_all(inner: &Inner, files: &mut Files, parts: &mut Parts) -> Result<(), Status> {
    while !files.is_whole() {
        match next(parts).await? {
            Some(Part::Chunk(chunk)) => {
                let bytes = chunk.data.len() as u64;
                files.write(chunk).await.map_err(|error| invalid(&error))?;
                inner.metrics.snapshot_bytes_received.inc_by(bytes);
            }
            Some(Part::Header(_)) => return Err(Status::invalid_argument("a snapshot has one header")),
            None => return Err(Status::aborted("the snapshot ended too early")),
        }
    }
    Ok(())
}

/// The next part; `None` at the end.
async fn next(parts: &mut Parts) -> Result<Option<Part>, Status> {
    match tokio::time::timeout(PART_WITHIN, parts.message()).await {
        Ok(part) => Ok(part
            .map_err(|status| Status::aborted(status.message()))?
            .and_then(|part| part.part)),
        Err(_) => Err(Status::aborted(format!(
            "nothing came of the snapshot within {PART_WITHIN:?}"
        ))),
    }
}

async fn install(
    replica: &Arc<Replica>,
    vote: Vote,
    snapshot: openraft::type_config::alias::SnapshotOf<crate::consensus::TypeConfig, SnapshotData>,
) -> Result<wire::SnapshotInstalled, Status> {
    let installed = replica.raft.install_full_snapshot(vote, snapshot).await;
    let reply = installed.map_err(|fatal| internal(&fatal))?;
    Ok(wire::SnapshotInstalled {
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
    /// Tells this snapshot from every other one.
    identity: Digest,
    vote: Vote,
    meta: SnapshotMeta,
    manifest: SnapshotManifest,
}

impl Promise {
    fn read(header: wire::SnapshotHeader) -> Result<Self, Error> {
        let missing =
            |field: &str| Error::decode("snapshot header", format!("its field `{field}` is missing"));
        let vote = codec::vote_from(header.vote.ok_or_else(|| missing("vote"))?);
        let record = header.record.ok_or_else(|| missing("record"))?;
        let identity = Digest::of(&record.encode_to_vec());
        let (meta, manifest) = codec::snapshot_record_from(record)?;
        Ok(Self {
            identity,
            vote,
            meta,
            manifest: decode_manifest(&manifest)?,
        })
    }

    /// Makes room for it.
    fn begin(&self, replica: &Replica) -> Result<Partial, Error> {
        let dir = replica.snapshots.scratch()?;
        Ok(Partial {
            identity: self.identity,
            files: Files::new(&self.manifest, &dir)?,
            dir,
        })
    }
}
