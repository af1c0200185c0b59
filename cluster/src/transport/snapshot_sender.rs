//! Sends a snapshot: the record first, then what the receiver lacks of the files in checksummed chunks, at a bounded rate.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use bytes::Bytes;
use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::snapshot_part::Part;
use covey_proto::peer::v1::snapshot_reply::Reply;
use covey_state::{Digest, GroupId, NodeId};
use covey_storage::SnapshotFile;
use openraft::type_config::alias::SnapshotOf;
use sha2::Digest as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Transport;
use crate::blocking::blocking;
use crate::codec;
use crate::consensus::{TypeConfig, Vote};
use crate::error::Error;
use crate::pace::Pace;
use crate::snapshot::{SnapshotData, encode_manifest};

/// Chunks between the disk and the connection.
const CHUNKS_WAITING: usize = 4;

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// It could not be read or its receiver is unknown.
    #[error(transparent)]
    Local(#[from] Error),
    /// The receiver did not take it.
    #[error("{to} did not take the snapshot: {reason}")]
    Remote {
        /// The receiver.
        to: NodeId,
        /// Its words.
        reason: String,
    },
}

impl Transport {
    /// Sends a snapshot and waits until it is installed; returns the receiver's vote.
    pub(crate) async fn send_snapshot(
        &self,
        to: NodeId,
        group: GroupId,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
    ) -> Result<Vote, SendError> {
        let _turn = self
            .snapshot_sends
            .acquire()
            .await
            .expect("the semaphore is never closed");
        let data = snapshot.snapshot;
        let record = codec::snapshot_record(&snapshot.meta, encode_manifest(&data.manifest));
        let header = wire::SnapshotHeader {
            group: group.get(),
            vote: Some(codec::vote(&vote)),
            record: Some(record),
        };
        let bytes = data.manifest.bytes();
        tracing::info!(%group, %to, bytes, last = ?snapshot.meta.last_log_id, "sending a snapshot");
        let vote = self.transfer(to, header, &data).await?;
        self.metrics.snapshots_sent.inc();
        Ok(codec::vote_from(vote))
    }

    async fn transfer(
        &self,
        to: NodeId,
        header: wire::SnapshotHeader,
        data: &SnapshotData,
    ) -> Result<wire::Vote, SendError> {
        let refused = |status: Status| SendError::Remote {
            to,
            reason: status.message().to_owned(),
        };
        let (parts, outgoing) = mpsc::channel(CHUNKS_WAITING);
        let header = wire::SnapshotPart {
            part: Some(Part::Header(header)),
        };
        // Its receiver is in this function.
        let _ = parts.send(header).await;
        let mut client = self.client(to)?;
        let replies = client.install_snapshot(ReceiverStream::new(outgoing)).await;
        let mut replies = replies.map_err(refused)?.into_inner();
        let Some(Reply::Progress(progress)) = reply(&mut replies).await.map_err(refused)? else {
            return Err(Error::decode("snapshot reply", "it does not begin with the progress").into());
        };
        // A reply that comes before everything is read is a refusal; then reading stops with it.
        let end = {
            let reading = self.read_parts(progress, data, parts);
            let ending = reply(&mut replies);
            tokio::pin!(reading, ending);
            tokio::select! {
                biased;
                read = &mut reading => {
                    read?;
                    ending.await
                }
                end = &mut ending => end,
            }
        };
        match end.map_err(refused)? {
            Some(Reply::Installed(wire::SnapshotInstalled { vote: Some(vote) })) => Ok(vote),
            Some(_) | None => Err(Error::decode("snapshot reply", "it has no vote").into()),
        }
    }

    /// Reads what the receiver lacks into the channel; ends early, without an error, when the receiver has hung up.
    async fn read_parts(
        &self,
        progress: wire::SnapshotProgress,
        data: &SnapshotData,
        parts: mpsc::Sender<wire::SnapshotPart>,
    ) -> Result<(), Error> {
        let held: BTreeSet<&str> = progress.held.iter().map(String::as_str).collect();
        let files = &data.manifest.files;
        let missing = files.iter().filter(|file| !held.contains(file.name.as_str()));
        // The file that was begun goes on first: the receiver takes one after the other.
        let begun = |file: &&SnapshotFile| file.name == progress.file;
        let (first, rest): (Vec<_>, Vec<_>) = missing.partition(begun);
        let mut pace = Pace::new(self.config.snapshot_bytes_per_second);
        for file in first.into_iter().chain(rest) {
            let path = data.path().join(&file.name);
            let mut offset = if begun(&file) { progress.offset } else { 0 };
            // What was sent earlier cannot be summed here; the receiver sums it, and begins anew if it must.
            let mut sum = (offset == 0).then(sha2::Sha256::new);
            while let Some(bytes) = self.read_chunk(&path, offset).await? {
                let length = bytes.len() as u64;
                if let Some(sum) = &mut sum {
                    sum.update(&bytes);
                }
                if offset + length >= file.bytes {
                    check(file, &path, sum.take()).inspect_err(|_| data.spoil())?;
                }
                let chunk = wire::SnapshotChunk {
                    file: file.name.clone(),
                    offset,
                    crc32c: crc32c::crc32c(&bytes),
                    data: bytes,
                };
                offset += length;
                pace.spend(length).await;
                let part = wire::SnapshotPart {
                    part: Some(Part::Chunk(chunk)),
                };
                if parts.send(part).await.is_err() {
                    return Ok(());
                }
                self.metrics.snapshot_bytes_sent.inc_by(length);
            }
        }
        Ok(())
    }

    /// A chunk of a file; `None` at its end.
    async fn read_chunk(&self, path: &Path, offset: u64) -> Result<Option<Bytes>, Error> {
        let (bytes_max, source) = (self.config.snapshot_chunk_bytes as u64, path.to_owned());
        let read = blocking(move || {
            let mut file = File::open(source)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut chunk = Vec::new();
            file.take(bytes_max).read_to_end(&mut chunk)?;
            Ok((!chunk.is_empty()).then(|| Bytes::from(chunk)))
        });
        let read = read.await.map_err(io::Error::other);
        read.flatten().map_err(Error::file("read", path))
    }
}

/// Checks a file that was read as a whole, so that damage does not travel.
fn check(file: &SnapshotFile, path: &Path, sum: Option<sha2::Sha256>) -> Result<(), Error> {
    let Some(sum) = sum else { return Ok(()) };
    let found = Digest::new(sum.finalize().into());
    if found == file.sha256 {
        return Ok(());
    }
    let reason = format!(
        "`{}` hashes to {found}, its record says {}",
        path.display(),
        file.sha256
    );
    tracing::error!(
        damage = reason,
        "a snapshot is damaged on this node and is taken anew"
    );
    Err(Error::decode("snapshot file", reason))
}

/// The receiver's next reply.
async fn reply(replies: &mut Streaming<wire::SnapshotReply>) -> Result<Option<Reply>, Status> {
    Ok(replies.message().await?.and_then(|reply| reply.reply))
}
