//! A file on its way in: cut into chunks as the bytes come, each replicated before the next one is cut.

use bytes::{Bytes, BytesMut};
use covey_state::Digest;
use covey_state::registry::Artifact;
use covey_storage::artifacts::CHUNK_BYTES;
use sha2::{Digest as _, Sha256};

use super::{ARTIFACT_BYTES_MAX, Artifacts};
use crate::error::Failure;

/// A file that is being stored.
pub(crate) struct Upload {
    artifacts: Artifacts,
    name: String,
    hash: Sha256,
    bytes: u64,
    tail: BytesMut,
    chunks: Vec<Digest>,
}

impl Upload {
    /// An empty file.
    pub(crate) fn new(artifacts: Artifacts, name: &str) -> Self {
        let name = name.to_owned();
        Self {
            artifacts,
            name,
            hash: Sha256::new(),
            bytes: 0,
            tail: BytesMut::new(),
            chunks: Vec::new(),
        }
    }

    /// Takes more of the file.
    pub(crate) async fn push(&mut self, bytes: Bytes) -> Result<(), Failure> {
        self.bytes += bytes.len() as u64;
        if self.bytes > ARTIFACT_BYTES_MAX {
            let reason = format!("`{}` is larger than {ARTIFACT_BYTES_MAX} bytes", self.name);
            return Err(Failure::invalid("data", reason));
        }
        self.hash.update(&bytes);
        self.tail.extend_from_slice(&bytes);
        while self.tail.len() >= CHUNK_BYTES {
            let chunk = self.tail.split_to(CHUNK_BYTES).freeze();
            self.chunks.push(self.artifacts.replicate(chunk).await?);
        }
        Ok(())
    }

    /// Stores what is left and gives the manifest.
    pub(crate) async fn finish(mut self) -> Result<Artifact, Failure> {
        if !self.tail.is_empty() {
            self.chunks
                .push(self.artifacts.replicate(self.tail.split().freeze()).await?);
        }
        let digest = Digest::new(self.hash.finalize().into());
        Ok(Artifact {
            name: self.name,
            bytes: self.bytes,
            digest,
            chunks: self.chunks,
        })
    }
}
