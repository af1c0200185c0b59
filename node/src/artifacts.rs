//! Files of the registry and of datasets: content-addressed chunks, on a majority of the nodes before anybody may name
//! them, fetched by hash wherever they are missing.
//!
//! Invariant: a manifest whose chunks were stored through [`Artifacts::store`] can be read as long as a majority of the
//! nodes that were active then survives, and what is read hashes to what the manifest says.

mod repair;
mod upload;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use covey_proto::node::v1 as node_v1;
use covey_state::registry::Artifact;
use covey_state::topology::NodeState;
use covey_state::{Digest, NodeId};
use covey_storage::ArtifactStore;
use covey_storage::artifacts::CHUNK_BYTES;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::timeout;
use tonic::{Response, Status};

use crate::catalog::CatalogWatch;
use crate::error::Failure;
use crate::peers::Peers;

pub(crate) use repair::keep_repaired;
pub(crate) use upload::Upload;

/// The largest file that can be stored, in bytes.
pub const ARTIFACT_BYTES_MAX: u64 = 1 << 30;
/// How long one chunk may take to or from a peer.
const CHUNK_LIMIT: Duration = Duration::from_secs(10);

/// The files of the cluster. Clones share everything.
#[derive(Clone)]
pub struct Artifacts {
    node: NodeId,
    store: ArtifactStore,
    peers: Peers,
    catalog: CatalogWatch,
}

impl Artifacts {
    /// The files as seen from `node`.
    pub fn new(node: NodeId, store: ArtifactStore, peers: Peers, catalog: CatalogWatch) -> Self {
        Self {
            node,
            store,
            peers,
            catalog,
        }
    }

    /// Stores a file on a majority of the active nodes.
    pub async fn store(&self, name: &str, bytes: Bytes) -> Result<Artifact, Failure> {
        let mut upload = Upload::new(self.clone(), name);
        upload.push(bytes).await?;
        upload.finish().await
    }

    /// A whole file, verified against its manifest.
    pub async fn load(&self, artifact: &Artifact) -> Result<Bytes, Failure> {
        check_size(artifact)?;
        let mut whole = BytesMut::new();
        for digest in &artifact.chunks {
            let chunk = self.chunk(*digest).await?;
            if chunk.len() > CHUNK_BYTES {
                let reason = format!("a chunk has {} bytes, more than {CHUNK_BYTES}", chunk.len());
                return Err(Failure::invalid("artifact.chunks", reason));
            }
            whole.extend_from_slice(&chunk);
        }
        let found = Digest::of(&whole);
        if found == artifact.digest {
            Ok(whole.freeze())
        } else {
            Err(Failure::invalid(
                "artifact.sha256",
                format!("the chunks of `{}` hash to {found}", artifact.name),
            ))
        }
    }

    /// One chunk: from here, or from any node that has it, and then kept here.
    pub async fn chunk(&self, digest: Digest) -> Result<Bytes, Failure> {
        if let Ok(bytes) = self.local(digest).await {
            return Ok(bytes);
        }
        for node in self.others() {
            if let Some(bytes) = self.fetch(node, digest).await {
                self.put_local(bytes.clone()).await?;
                return Ok(bytes);
            }
        }
        Err(Failure::unavailable(format!("artifact chunk {digest}")))
    }

    /// Whether every chunk of a file can be found somewhere in the cluster.
    pub async fn is_complete(&self, artifact: &Artifact) -> bool {
        for digest in &artifact.chunks {
            if !self.store.contains(*digest) && self.chunk(*digest).await.is_err() {
                return false;
            }
        }
        true
    }

    /// A chunk that this node has itself.
    pub async fn local(&self, digest: Digest) -> Result<Bytes, Failure> {
        let store = self.store.clone();
        blocking(move || store.get(digest)).await
    }

    /// Stores a chunk on this node, durably.
    pub async fn put_local(&self, bytes: Bytes) -> Result<Digest, Failure> {
        let store = self.store.clone();
        blocking(move || store.put(&bytes)).await
    }

    /// Stores a chunk on a majority of the active nodes, this one included.
    async fn replicate(&self, chunk: Bytes) -> Result<Digest, Failure> {
        let digest = self.put_local(chunk.clone()).await?;
        let others = self.others();
        let needed = others.len().div_ceil(2);
        let mut pending: FuturesUnordered<_> = others
            .into_iter()
            .map(|node| self.send(node, chunk.clone(), digest))
            .collect();
        let mut stored = 0;
        while stored < needed {
            match pending.next().await {
                Some(true) => stored += 1,
                Some(false) => {}
                None => {
                    return Err(Failure::unavailable(format!(
                        "a majority of nodes for artifact chunk {digest}"
                    )));
                }
            }
        }
        Ok(digest)
    }

    async fn send(&self, node: NodeId, data: Bytes, digest: Digest) -> bool {
        let Ok(mut peer) = self.peers.node_peer(node) else {
            return false;
        };
        let asked = peer.put_chunk(node_v1::PutChunkRequest { data });
        match in_time(node, CHUNK_LIMIT, asked).await {
            Ok(reply) => reply.digest.as_ref() == digest.as_bytes(),
            Err(error) => {
                tracing::warn!(%node, %digest, %error, "artifact chunk not stored by peer");
                false
            }
        }
    }

    async fn fetch(&self, node: NodeId, digest: Digest) -> Option<Bytes> {
        let mut peer = self.peers.node_peer(node).ok()?;
        let wanted = Bytes::copy_from_slice(digest.as_bytes());
        let asked = peer.get_chunk(node_v1::GetChunkRequest { digest: wanted });
        match in_time(node, CHUNK_LIMIT, asked).await {
            Ok(reply) => Some(reply.data).filter(|data| Digest::of(data) == digest),
            Err(error) => {
                tracing::debug!(%node, %digest, %error, "artifact chunk not fetched from peer");
                None
            }
        }
    }

    /// The other nodes that hold files, by id.
    fn others(&self) -> BTreeSet<NodeId> {
        let current = self.catalog.current();
        let nodes = current
            .nodes
            .values()
            .filter(|node| node.state != NodeState::Removed);
        nodes.map(|node| node.id).filter(|id| *id != self.node).collect()
    }
}

/// The answer of a peer, unless it takes longer than `limit`: a peer may be alive and silent.
async fn in_time<T>(
    node: NodeId,
    limit: Duration,
    asked: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    match timeout(limit, asked).await {
        Ok(answer) => answer
            .map(Response::into_inner)
            .map_err(|status| Failure::from_peer(node, status)),
        Err(_) => Err(Failure::DeadlineExceeded {
            what: format!("a chunk's way to or from node {node}"),
        }),
    }
}

/// Runs file work off the async workers.
async fn blocking<T, F>(work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, covey_storage::Error> + Send + 'static,
{
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::internal("artifact store", error))?
        .map_err(Failure::from)
}

/// Whether a manifest that somebody has written can be that of a stored file: no larger, and of as many chunks as its bytes
/// fill. Without this a short list could have one chunk read again and again.
fn check_size(artifact: &Artifact) -> Result<(), Failure> {
    let (bytes, chunks) = (artifact.bytes, artifact.chunks.len() as u64);
    if bytes > ARTIFACT_BYTES_MAX {
        let reason = format!(
            "`{}` has {bytes} bytes, more than {ARTIFACT_BYTES_MAX}",
            artifact.name
        );
        return Err(Failure::invalid("artifact.bytes", reason));
    }
    let expected = bytes.div_ceil(CHUNK_BYTES as u64);
    if chunks != expected {
        let reason = format!(
            "`{}` names {chunks} chunks, its {bytes} bytes fill {expected}",
            artifact.name
        );
        return Err(Failure::invalid("artifact.chunks", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_names_one_chunk_many_times_is_refused_before_anything_is_read() {
        let chunk = Digest::of(b"chunk");
        let artifact = |bytes, chunks| Artifact {
            name: "model".to_owned(),
            bytes,
            digest: chunk,
            chunks: vec![chunk; chunks],
        };
        let megabyte = CHUNK_BYTES as u64;
        for right in [
            artifact(0, 0),
            artifact(1, 1),
            artifact(megabyte, 1),
            artifact(megabyte + 1, 2),
        ] {
            check_size(&right).unwrap();
        }
        for (bytes, chunks) in [
            (megabyte, 100_000),
            (megabyte, 0),
            (megabyte + 1, 1),
            (2 << 30, 2_048),
        ] {
            let refused = check_size(&artifact(bytes, chunks)).unwrap_err();
            assert!(matches!(refused, Failure::Invalid { .. }), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_silent_is_given_up() {
        let silent = std::future::pending::<Result<Response<()>, Status>>();
        let failure = in_time(NodeId::new(2), Duration::from_millis(1), silent)
            .await
            .unwrap_err();
        assert!(
            matches!(failure, Failure::DeadlineExceeded { .. }) && failure.may_pass(),
            "{failure}"
        );
    }
}
