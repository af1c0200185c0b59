//! The same reads by a member of a group that is not on this node.

use bytes::Bytes;
use covey_cluster::Consistency;
use covey_proto::node::v1 as node_v1;
use covey_proto::v1;
use covey_state::{GroupId, Key, Record};
use tokio::time::Instant;
use tonic::Code;

use super::Ledger;
use super::read::Scan;
use crate::api::Caller;
use crate::error::Failure;

/// Records in one remote page at the most.
pub const PAGE_RECORDS_MAX: usize = 10_000;

impl Ledger {
    pub(super) async fn get_remote(
        &self,
        caller: &Caller,
        group: GroupId,
        keys: &[Key],
        consistency: Consistency,
    ) -> Result<Vec<Option<Record>>, Failure> {
        let keys = keys.iter().map(encode).collect();
        let request = ask_for(group, consistency, keys, None);
        let reply = self.read_from_member(caller, request).await?;
        let found = reply.records.iter();
        found
            .map(|bytes| {
                if bytes.is_empty() {
                    Ok(None)
                } else {
                    decode(bytes).map(Some)
                }
            })
            .collect()
    }

    /// The member does not know where the caller's range ends, only where its kind of key ends; the rest is cut off here.
    pub(super) async fn scan_remote(
        &self,
        caller: &Caller,
        group: GroupId,
        scan: &Scan,
        consistency: Consistency,
    ) -> Result<Vec<(Key, Record)>, Failure> {
        let limit = scan.limit.min(PAGE_RECORDS_MAX);
        let request = ask_for(group, consistency, Vec::new(), Some((&scan.from, limit)));
        let reply = self.read_from_member(caller, request).await?;
        let mut found = Vec::with_capacity(reply.keys.len());
        for (key, record) in reply.keys.iter().zip(&reply.records) {
            let key: Key = decode(key)?;
            if !(scan.same)(&scan.from, &key) {
                break;
            }
            found.push((key, decode(record)?));
        }
        Ok(found)
    }

    /// Asks the replicas, the nearest first, until one answers.
    async fn read_from_member(
        &self,
        caller: &Caller,
        request: node_v1::ReadRecordsRequest,
    ) -> Result<node_v1::ReadRecordsReply, Failure> {
        let group = GroupId::new(request.group);
        let mut last = Failure::unavailable(format!("group {group}"));
        let consistency = consistency_of(group, request.consistency.as_ref());
        for node in self.nearest(group, consistency) {
            let mut peer = match self.parts.peers.node_peer(node) {
                Ok(peer) => peer,
                Err(failure) => {
                    last = failure;
                    continue;
                }
            };
            let asked = Instant::now();
            match peer.read_records(caller.request(request.clone())).await {
                Ok(reply) => {
                    self.parts.peers.took(node, asked.elapsed());
                    return Ok(reply.into_inner());
                }
                Err(status) if status.code() == Code::InvalidArgument => {
                    return Err(Failure::from_peer(node, status));
                }
                Err(status) => last = Failure::from_peer(node, status),
            }
        }
        Err(last)
    }
}

fn ask_for(
    group: GroupId,
    consistency: Consistency,
    keys: Vec<Bytes>,
    scan: Option<(&Key, usize)>,
) -> node_v1::ReadRecordsRequest {
    let (scan_from, limit) = scan.map_or((Bytes::new(), 0), |(from, limit)| (encode(from), limit));
    node_v1::ReadRecordsRequest {
        group: group.get(),
        consistency: Some(wire_consistency(group, consistency)),
        keys,
        scan_from,
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
    }
}

/// One group's consistency in the form of the wire.
pub fn wire_consistency(group: GroupId, consistency: Consistency) -> v1::Consistency {
    use v1::consistency::{AtLeast, Kind, Linearizable, Local};
    let kind = match consistency {
        Consistency::Linearizable => Kind::Linearizable(Linearizable {}),
        Consistency::AtLeast(index) => Kind::AtLeast(AtLeast {
            positions: vec![v1::LogPosition {
                group: group.get(),
                index,
            }],
        }),
        Consistency::Bounded(staleness) => {
            Kind::BoundedMs(u64::try_from(staleness.as_millis()).unwrap_or(u64::MAX))
        }
        Consistency::Local => Kind::Local(Local {}),
    };
    v1::Consistency { kind: Some(kind) }
}

/// What a request on the wire asks of one group; linearizable if it does not say.
pub fn consistency_of(group: GroupId, wire: Option<&v1::Consistency>) -> Consistency {
    use v1::consistency::Kind;
    match wire.and_then(|consistency| consistency.kind.as_ref()) {
        None | Some(Kind::Linearizable(_)) => Consistency::Linearizable,
        Some(Kind::BoundedMs(millis)) => Consistency::Bounded(std::time::Duration::from_millis(*millis)),
        Some(Kind::Local(_)) => Consistency::Local,
        Some(Kind::AtLeast(wanted)) => {
            let here = wanted
                .positions
                .iter()
                .filter(|position| position.group == group.get());
            here.map(|position| position.index)
                .max()
                .map_or(Consistency::Local, Consistency::AtLeast)
        }
    }
}

/// A key or a record in the form that nodes exchange.
pub fn encode<T: serde::Serialize>(value: &T) -> Bytes {
    Bytes::from(
        postcard::to_allocvec(value).expect("keys and records hold only types that postcard can write"),
    )
}

/// The inverse of [`encode`].
pub fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    postcard::from_bytes(bytes).map_err(|error| Failure::internal("decoding a record from a peer", error))
}
