//! From bytes back to a key.

use std::cmp::Reverse;

use covey_state::entity::{EntityKey, KeyPart};
use covey_state::registry::VersionId;
use covey_state::row::RowVersion;
use covey_state::window::Hop;
use covey_state::{GroupId, Key, NodeId, RequestId, Timestamp, ViewId};

use super::memcomparable::{Malformed, Reader};
use super::tag;

/// The bytes of a row version inside a key.
const ROW_VERSION_BYTES: usize = 28;

/// The key that `bytes`, without their prefix, stand for.
pub fn decode(bytes: &[u8]) -> Result<Key, Malformed> {
    let mut from = Reader::new(bytes);
    let key = read(&mut from)?;
    from.finish()?;
    Ok(key)
}

fn read(from: &mut Reader<'_>) -> Result<Key, Malformed> {
    Ok(match from.u8()? {
        tag::CLOCK => Key::Clock,
        tag::REQUEST => Key::Request(request(from)?),
        tag::REQUEST_AGE => Key::RequestAge(timestamp(from)?, request(from)?),
        tag::PRODUCER_FLOOR => Key::ProducerFloor(from.text()?),
        tag::CLUSTER => Key::Cluster,
        tag::NODE => Key::Node(NodeId::new(from.u64()?)),
        tag::PLACEMENT => Key::Placement(GroupId::new(from.u64()?)),
        tag::ENTITY => Key::Entity(from.text()?),
        tag::VIEW => Key::View(from.text()?),
        tag::SERVICE => Key::Service(from.text()?),
        tag::DEPLOYMENT => Key::Deployment(from.text()?),
        tag::MONITOR => Key::Monitor(from.text()?),
        tag::PIPELINE => Key::Pipeline(from.text()?),
        tag::NAMESPACE => Key::Namespace(from.text()?),
        tag::SCHEMA => Key::Schema(view(from)?, from.u32()?),
        tag::SCHEMA_HEAD => Key::SchemaHead(view(from)?),
        tag::DEAD_LETTER => Key::DeadLetter(view(from)?, from.u64()?, from.u32()?),
        tag::MODEL => Key::Model(from.text()?),
        tag::MODEL_VERSION => Key::ModelVersion(from.text()?, from.u64()?),
        tag::ALIAS => Key::Alias(from.text()?, from.text()?),
        tag::ALIAS_MOVE => Key::AliasMove(from.text()?, from.text()?, from.u64()?),
        tag::DATASET => Key::Dataset(from.text()?, from.u64()?),
        tag::JOB => Key::Job(from.text()?),
        tag::DRIFT_WINDOW => Key::DriftWindow(from.text()?, timestamp(from)?, version(from)?),
        tag::DRIFT_FLUSH => Key::DriftFlush(from.text()?, NodeId::new(from.u64()?)),
        tag::DRIFT_REPORT => Key::DriftReport(from.text()?, timestamp(from)?, version(from)?),
        tag::ALERT => Key::Alert(from.text()?, timestamp(from)?, version(from)?),
        tag::PREDICTION => Key::Prediction(from.text()?, from.text()?),
        tag::OUTCOME => Key::Outcome(from.text()?, timestamp(from)?, from.text()?),
        tag::PIPELINE_RUN => Key::PipelineRun(from.text()?, from.u64()?),
        tag::DRIFT_BOOK => Key::DriftBook(from.text()?),
        tag::DRIFT_OPEN => Key::DriftOpen(from.text()?, timestamp(from)?, version(from)?),
        tag::PREDICTION_AGE => Key::PredictionAge(from.text()?, timestamp(from)?, from.text()?),
        tag::OPEN_JOB => Key::OpenJob(from.text()?),
        tag::OPEN_RUN => Key::OpenRun(from.text()?, from.u64()?),
        tag::LATEST => Key::Latest(entity(from)?, view(from)?),
        tag::HISTORY => Key::History(
            entity(from)?,
            view(from)?,
            from.descending::<ROW_VERSION_BYTES, _>(row_version)?,
        ),
        tag::TILE => Key::Tile(entity(from)?, view(from)?, hop(from)?, timestamp(from)?),
        tag::PLAIN => Key::Plain(from.bytes()?),
        unknown => return Err(Malformed::Tag(unknown)),
    })
}

fn timestamp(from: &mut Reader<'_>) -> Result<Timestamp, Malformed> {
    from.i64().map(Timestamp::from_micros)
}

fn view(from: &mut Reader<'_>) -> Result<ViewId, Malformed> {
    from.u32().map(ViewId::new)
}

fn request(from: &mut Reader<'_>) -> Result<RequestId, Malformed> {
    match from.u8()? {
        tag::REQUEST_UNIQUE => Ok(RequestId::Unique(from.u128()?, from.u32()?)),
        tag::REQUEST_PRODUCER => Ok(RequestId::Producer(from.text()?, from.u64()?, from.u32()?)),
        unknown => Err(Malformed::Tag(unknown)),
    }
}

fn version(from: &mut Reader<'_>) -> Result<VersionId, Malformed> {
    Ok(VersionId {
        model: from.text()?,
        number: from.u64()?,
    })
}

fn entity(from: &mut Reader<'_>) -> Result<EntityKey, Malformed> {
    let mut parts = Vec::new();
    loop {
        parts.push(match from.u8()? {
            tag::PARTS_END => return Ok(EntityKey(parts)),
            tag::PART_INT64 => KeyPart::Int64(from.i64()?),
            tag::PART_STRING => KeyPart::String(from.text()?),
            unknown => return Err(Malformed::Tag(unknown)),
        });
    }
}

fn row_version(from: &mut Reader<'_>) -> Result<Reverse<RowVersion>, Malformed> {
    Ok(Reverse(RowVersion {
        event_time: timestamp(from)?,
        created_time: timestamp(from)?,
        log_index: from.u64()?,
        ordinal: from.u32()?,
    }))
}

fn hop(from: &mut Reader<'_>) -> Result<Hop, Malformed> {
    match from.u8()? {
        tag::HOP_FIVE_MINUTES => Ok(Hop::FiveMinutes),
        tag::HOP_HOUR => Ok(Hop::Hour),
        tag::HOP_DAY => Ok(Hop::Day),
        unknown => Err(Malformed::Tag(unknown)),
    }
}
