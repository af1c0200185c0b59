//! Reading records for a peer: by key, or a page of one kind of key.

use bytes::Bytes;
use covey_cluster::ReadPoint;
use covey_proto::node::v1 as node_v1;
use covey_proto::v1;
use covey_state::{Fault, GroupId, Key, Record, View};
use covey_storage::GroupView;

use crate::api::Caller;
use crate::error::Failure;
use crate::ledger::{Ledger, PAGE_RECORDS_MAX, collect, consistency_of, decode, encode, same_kind};

/// What is read.
enum Wanted {
    Keys(Vec<Key>),
    Page(Key, usize),
}

/// Answers from the replica on this node.
pub(super) async fn read(
    ledger: &Ledger,
    caller: &Caller,
    request: node_v1::ReadRecordsRequest,
) -> Result<node_v1::ReadRecordsReply, Failure> {
    let group = GroupId::new(request.group);
    let consistency = consistency_of(group, request.consistency.as_ref());
    let wanted = wanted(&request)?;
    let (view, point) = ledger.view(group, consistency, caller.deadline).await?;
    let read = tokio::task::spawn_blocking(move || find(&view, &wanted)).await;
    let (keys, records) =
        read.map_err(|error| Failure::internal("reading the state of a group", error))??;
    Ok(node_v1::ReadRecordsReply {
        keys,
        records,
        read_point: Some(wire_point(point)),
    })
}

fn wanted(request: &node_v1::ReadRecordsRequest) -> Result<Wanted, Failure> {
    if request.scan_from.is_empty() {
        let keys: Result<Vec<Key>, Failure> = request.keys.iter().map(|key| decode(key)).collect();
        return Ok(Wanted::Keys(keys?));
    }
    let limit = usize::try_from(request.limit)
        .unwrap_or(usize::MAX)
        .min(PAGE_RECORDS_MAX);
    Ok(Wanted::Page(decode(&request.scan_from)?, limit))
}

/// Keys and records, encoded.
type Found = (Vec<Bytes>, Vec<Bytes>);

fn find(view: &GroupView, wanted: &Wanted) -> Result<Found, Fault> {
    match wanted {
        Wanted::Keys(keys) => {
            let found = view.get_many(keys)?;
            Ok((Vec::new(), found.iter().map(maybe).collect()))
        }
        Wanted::Page(from, limit) => {
            let found = collect(view, from, same_kind, *limit)?;
            Ok(found
                .iter()
                .map(|(key, record)| (encode(key), encode(record)))
                .unzip())
        }
    }
}

fn maybe(record: &Option<Record>) -> Bytes {
    record.as_ref().map(encode).unwrap_or_default()
}

fn wire_point(point: ReadPoint) -> v1::ReadPoint {
    v1::ReadPoint {
        positions: vec![v1::LogPosition {
            group: point.group.get(),
            index: point.index,
        }],
        staleness_micros: u64::try_from(point.staleness.as_micros()).unwrap_or(u64::MAX),
    }
}
