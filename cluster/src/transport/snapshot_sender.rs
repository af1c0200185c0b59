//! Sends a snapshot: the record first, then what the receiver lacks of the files in checksummed chunks, at a bounded rate.

use std::collections::BTreeSet;
use std::io::SeekFrom;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::snapshot_part::Part;
use covey_proto::peer::v1::snapshot_reply::Reply;
use covey_state::{GroupId, NodeId};
use covey_storage::SnapshotFile;
use openraft::type_config::alias::SnapshotOf;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Transport;
use crate::codec;
use crate::consensus::{TypeConfig, Vote};
use crate::error::Error;
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
            let mut source = tokio::fs::File::open(&path)
                .await
                .map_err(Error::file("open", &path))?;
            let mut offset = if begun(&file) { progress.offset } else { 0 };
            source
                .seek(SeekFrom::Start(offset))
                .await
                .map_err(Error::file("seek in", &path))?;
            while let Some(bytes) = self.read_chunk(&path, &mut source).await? {
                let length = bytes.len() as u64;
                let chunk = wire::SnapshotChunk {
                    file: file.name.clone(),
                    offset,
                    crc32c: crc32c::crc32c(&bytes),
                    data: bytes.freeze(),
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

    async fn read_chunk(&self, path: &Path, source: &mut tokio::fs::File) -> Result<Option<BytesMut>, Error> {
        let mut chunk = BytesMut::with_capacity(self.config.snapshot_chunk_bytes);
        while chunk.len() < self.config.snapshot_chunk_bytes {
            let count = source
                .read_buf(&mut chunk)
                .await
                .map_err(Error::file("read", path))?;
            if count == 0 {
                break;
            }
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

/// The receiver's next reply.
async fn reply(replies: &mut Streaming<wire::SnapshotReply>) -> Result<Option<Reply>, Status> {
    Ok(replies.message().await?.and_then(|reply| reply.reply))
}

/// Keeps a transfer at a rate.
struct Pace {
    bytes_per_second: u64,
    due: Instant,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second,
            due: Instant::now(),
        }
    }

    /// Waits until `bytes` may be sent.
    async fn spend(&mut self, bytes: u64) {
        // sleep: snapshots are sent at a bounded rate.
        tokio::time::sleep_until(self.due).await;
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        self.due = self.due.max(Instant::now()) + cost;
    }
}
