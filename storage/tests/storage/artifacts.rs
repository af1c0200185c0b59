//! What the artifact store promises.

use covey_state::Digest;
use covey_storage::artifacts::{CHUNK_BYTES, chunks};
use covey_storage::{ArtifactStore, Error};
use tempfile::TempDir;

#[test]
fn a_chunk_comes_back_under_its_digest() {
    let directory = TempDir::new().unwrap();
    let store = ArtifactStore::open(directory.path()).unwrap();
    let digest = store.put(b"weights").unwrap();
    assert_eq!(digest, Digest::of(b"weights"));
    assert_eq!(
        store.put(b"weights").unwrap(),
        digest,
        "storing again changes nothing"
    );
    let reopened = ArtifactStore::open(directory.path()).unwrap();
    assert_eq!(reopened.get(digest).unwrap(), "weights");
    assert!(reopened.contains(digest));
    reopened.remove(digest).unwrap();
    reopened.remove(digest).unwrap();
    assert!(!reopened.contains(digest));
    assert!(matches!(reopened.get(digest), Err(Error::ArtifactMissing { .. })));
}

#[test]
fn an_artifact_is_split_at_one_mebibyte_and_joins_again() {
    let artifact: Vec<u8> = (0..CHUNK_BYTES * 2 + 5).map(|at| (at % 251) as u8).collect();
    let lengths: Vec<usize> = chunks(&artifact).map(<[u8]>::len).collect();
    assert_eq!(lengths, [CHUNK_BYTES, CHUNK_BYTES, 5]);
    let directory = TempDir::new().unwrap();
    let store = ArtifactStore::open(directory.path()).unwrap();
    let digests: Vec<Digest> = chunks(&artifact).map(|chunk| store.put(chunk).unwrap()).collect();
    let joined: Vec<u8> = digests
        .iter()
        .flat_map(|digest| store.get(*digest).unwrap())
        .collect();
    assert!(joined == artifact);
}
