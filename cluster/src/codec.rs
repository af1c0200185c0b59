//! Between the consensus library's values and Covey's own stable forms.
//!
//! On disk every value is one version byte and a protobuf message. An unknown version is an error, never skipped.

mod membership;
mod message;
mod position;

use bytes::{BufMut as _, Bytes, BytesMut};
use covey_proto::peer::v1 as wire;
use openraft::EntryPayload;
use prost::Message;

use crate::consensus::{Entry, LogId, Request, SnapshotMeta, StoredMembership, Vote};
use crate::error::Error;

pub(crate) use membership::{member, peer, stored_membership, stored_membership_from};
pub(crate) use message::{
    append, append_from, append_reply, append_reply_from, transfer, transfer_from, transfer_reply,
    transfer_reply_from, vote_reply, vote_reply_from, vote_request, vote_request_from,
};
pub(crate) use position::{log_id, log_id_from, vote, vote_from};

/// The version of every stored form that this code writes.
const STORED_VERSION: u8 = 1;

/// Prefixes the version byte.
fn seal(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.put_u8(STORED_VERSION);
    message
        .encode(&mut bytes)
        .expect("a growable buffer has room for any message");
    bytes.freeze()
}

/// Checks and removes the version byte.
fn open<M: Message + Default>(what: &'static str, bytes: &Bytes) -> Result<M, Error> {
    match bytes.first() {
        Some(&STORED_VERSION) => M::decode(bytes.slice(1..)).map_err(|error| Error::decode(what, error)),
        Some(version) => Err(Error::decode(
            what,
            format!("its version {version} is newer than this program"),
        )),
        None => Err(Error::decode(what, "it is empty")),
    }
}

/// A field that this version of the form always has.
fn required<T>(what: &'static str, field: &'static str, value: Option<T>) -> Result<T, Error> {
    value.ok_or_else(|| Error::decode(what, format!("its field `{field}` is missing")))
}

/// An entry on the wire.
pub(crate) fn entry(entry: Entry) -> wire::Entry {
    let payload = match entry.payload {
        EntryPayload::Blank => wire::entry::Payload::Blank(wire::Blank {}),
        EntryPayload::Normal(Request::Entry(bytes)) => wire::entry::Payload::Request(bytes),
        EntryPayload::Normal(Request::Mark) => wire::entry::Payload::Mark(wire::Mark {}),
        EntryPayload::Membership(members) => {
            wire::entry::Payload::Membership(membership::membership(&members))
        }
    };
    wire::Entry {
        log_id: Some(log_id(&entry.log_id)),
        payload: Some(payload),
    }
}

/// An entry from the wire.
pub(crate) fn entry_from(entry: wire::Entry) -> Result<Entry, Error> {
    let log_id = log_id_from(required("entry", "log_id", entry.log_id)?);
    let payload = match required("entry", "payload", entry.payload)? {
        wire::entry::Payload::Blank(wire::Blank {}) => EntryPayload::Blank,
        wire::entry::Payload::Request(bytes) => EntryPayload::Normal(Request::Entry(bytes)),
        wire::entry::Payload::Mark(wire::Mark {}) => EntryPayload::Normal(Request::Mark),
        wire::entry::Payload::Membership(members) => {
            EntryPayload::Membership(membership::membership_from(members)?)
        }
    };
    Ok(Entry { log_id, payload })
}

/// An entry on disk.
pub(crate) fn store_entry(value: Entry) -> Bytes {
    seal(&entry(value))
}

/// An entry from disk.
pub(crate) fn load_entry(bytes: &Bytes) -> Result<Entry, Error> {
    entry_from(open("stored entry", bytes)?)
}

/// A vote on disk.
pub(crate) fn store_vote(value: &Vote) -> Bytes {
    seal(&vote(value))
}

/// A vote from disk.
pub(crate) fn load_vote(bytes: &Bytes) -> Result<Vote, Error> {
    Ok(vote_from(open("stored vote", bytes)?))
}

/// A log id on disk.
pub(crate) fn store_log_id(value: &LogId) -> Bytes {
    seal(&log_id(value))
}

/// A log id from disk.
pub(crate) fn load_log_id(bytes: &Bytes) -> Result<LogId, Error> {
    Ok(log_id_from(open("stored log id", bytes)?))
}

/// How far a state has come, as it is stored beside it.
pub(crate) fn store_applied(last: Option<&LogId>, membership: &StoredMembership) -> Bytes {
    seal(&wire::Applied {
        log_id: last.map(log_id),
        membership: Some(stored_membership(membership)),
    })
}

/// How far a state has come; the absent marker of an empty state is the beginning.
pub(crate) fn load_applied(bytes: Option<&Bytes>) -> Result<(Option<LogId>, StoredMembership), Error> {
    let Some(bytes) = bytes else {
        return Ok((None, StoredMembership::default()));
    };
    let applied: wire::Applied = open("applied marker", bytes)?;
    let membership = required("applied marker", "membership", applied.membership)?;
    Ok((
        applied.log_id.map(log_id_from),
        stored_membership_from(membership)?,
    ))
}

/// What a snapshot stands for, and its manifest.
pub(crate) fn snapshot_record(meta: &SnapshotMeta, manifest: Bytes) -> wire::SnapshotRecord {
    let meta = wire::SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id),
        last_membership: Some(stored_membership(&meta.last_membership)),
    };
    wire::SnapshotRecord {
        meta: Some(meta),
        manifest,
    }
}

/// What a snapshot stands for, and its manifest.
pub(crate) fn snapshot_record_from(record: wire::SnapshotRecord) -> Result<(SnapshotMeta, Bytes), Error> {
    let meta = required("snapshot record", "meta", record.meta)?;
    let membership = required("snapshot record", "last_membership", meta.last_membership)?;
    let meta = SnapshotMeta {
        last_log_id: meta.last_log_id.map(log_id_from),
        last_membership: stored_membership_from(membership)?,
    };
    Ok((meta, record.manifest))
}

/// A snapshot record on disk.
pub(crate) fn store_snapshot_record(record: &wire::SnapshotRecord) -> Bytes {
    seal(record)
}

/// A snapshot record from disk.
pub(crate) fn load_snapshot_record(bytes: &Bytes) -> Result<wire::SnapshotRecord, Error> {
    open("snapshot record", bytes)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::consensus::{Address, LeaderId, Membership};

    fn id(term: u64, leader: u64, index: u64) -> LogId {
        LogId::new(
            LeaderId {
                term,
                node_id: leader,
            },
            index,
        )
    }

    fn members() -> Membership {
        let address = |node| Address {
            peer: format!("h{node}:1"),
            api: "a:2".to_owned(),
        };
        let nodes: BTreeMap<u64, Address> = (1..=4).map(|node| (node, address(node))).collect();
        Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])], nodes).unwrap()
    }

    #[test]
    fn entries_come_back_from_disk_as_they_went() {
        for payload in [
            EntryPayload::Blank,
            EntryPayload::Normal(Request::Entry(Bytes::from_static(b"row"))),
            EntryPayload::Normal(Request::Mark),
            EntryPayload::Membership(members()),
        ] {
            let entry = Entry {
                log_id: id(0, 7, 0),
                payload,
            };
            assert_eq!(load_entry(&store_entry(entry.clone())).unwrap(), entry);
        }
    }

    #[test]
    fn markers_come_back_from_disk_as_they_went() {
        for committed in [false, true] {
            let vote = Vote {
                leader_id: LeaderId { term: 3, node_id: 2 },
                committed,
            };
            assert_eq!(load_vote(&store_vote(&vote)).unwrap(), vote);
        }
        let membership = StoredMembership::new(Some(id(1, 1, 0)), members());
        for last in [None, Some(id(2, 1, 9))] {
            let stored = store_applied(last.as_ref(), &membership);
            assert_eq!(load_applied(Some(&stored)).unwrap(), (last, membership.clone()));
        }
        assert_eq!(load_applied(None).unwrap(), (None, StoredMembership::default()));
    }

    #[test]
    fn an_unknown_version_is_an_error() {
        let mut bytes = store_vote(&Vote::new(1, 1)).to_vec();
        bytes[0] = STORED_VERSION + 1;
        assert!(load_vote(&Bytes::from(bytes)).is_err());
        assert!(load_vote(&Bytes::new()).is_err());
    }
}
