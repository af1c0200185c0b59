//! Sends a snapshot: the record first, then every file in checksummed chunks, at a bounded rate.

use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::snapshot_part::Part;
use covey_state::{GroupId, NodeId};
use openraft::type_config::alias::SnapshotOf;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;

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
        let (parts, outgoing) = mpsc::channel(CHUNKS_WAITING);
        let mut client = self.client(to)?;
        let bytes = data.manifest.bytes();
        tracing::info!(%group, %to, bytes, last = ?snapshot.meta.last_log_id, "sending a snapshot");
        let reading = self.read_parts(header, &data, parts);
        let sending = client.install_snapshot(ReceiverStream::new(outgoing));
        tokio::pin!(reading, sending);
        // A reply that comes before everything is read is a refusal; then reading stops with it.
        let reply = tokio::select! {
            read = &mut reading => {
                read?;
                sending.await
            }
            reply = &mut sending => reply,
        };
        let reply = reply.map_err(|status| SendError::Remote {
            to,
            reason: status.message().to_owned(),
        })?;
        self.metrics.snapshots_sent.inc();
        self.metrics.snapshot_bytes_sent.inc_by(bytes);
        let vote = reply.into_inner().vote;
        let vote = vote.ok_or_else(|| Error::decode("snapshot reply", "its field `vote` is missing"))?;
        Ok(codec::vote_from(vote))
    }

    /// Reads the files into the channel; ends early, without an error, when the receiver has hung up.
    async fn read_parts(
        &self,
        header: wire::SnapshotHeader,
        data: &SnapshotData,
        parts: mpsc::Sender<wire::SnapshotPart>,
    ) -> Result<(), Error> {
        if parts
            .send(wire::SnapshotPart {
                part: Some(Part::Header(header)),
            })
            .await
            .is_err()
        {
            return Ok(());
        }
        let mut pace = Pace::new(self.config.snapshot_bytes_per_second);
        for file in &data.manifest.files {
            let path = data.path().join(&file.name);
            let mut source = tokio::fs::File::open(&path)
                .await
                .map_err(Error::file("open", &path))?;
            let mut offset = 0;
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
                if parts
                    .send(wire::SnapshotPart {
                        part: Some(Part::Chunk(chunk)),
                    })
                    .await
                    .is_err()
                {
                    return Ok(());
                }
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
