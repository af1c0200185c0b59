//! From a key to its bytes.

use covey_state::entity::{EntityKey, KeyPart};
use covey_state::registry::VersionId;
use covey_state::row::RowVersion;
use covey_state::window::Hop;
use covey_state::{Key, RequestId};

use super::memcomparable::Writer;
use super::tag;

/// The bytes of `key` after `prefix`. Keys of one table sort as their bytes do.
pub fn encode(prefix: Vec<u8>, key: &Key) -> Vec<u8> {
    let mut out = Writer::after(prefix);
    write(&mut out, key);
    out.finish()
}

fn write<'w>(out: &'w mut Writer, key: &Key) -> &'w mut Writer {
    match key {
        Key::Clock => out.u8(tag::CLOCK),
        Key::Request(id) => request(out.u8(tag::REQUEST), id),
        Key::RequestAge(at, id) => request(out.u8(tag::REQUEST_AGE).i64(at.micros()), id),
        Key::ProducerFloor(producer) => out.u8(tag::PRODUCER_FLOOR).text(producer),
        Key::Cluster => out.u8(tag::CLUSTER),
        Key::Node(node) => out.u8(tag::NODE).u64(node.get()),
        Key::Placement(group) => out.u8(tag::PLACEMENT).u64(group.get()),
        Key::Entity(name) => out.u8(tag::ENTITY).text(name),
        Key::View(name) => out.u8(tag::VIEW).text(name),
        Key::Service(name) => out.u8(tag::SERVICE).text(name),
        Key::Deployment(name) => out.u8(tag::DEPLOYMENT).text(name),
        Key::Monitor(name) => out.u8(tag::MONITOR).text(name),
        Key::Pipeline(name) => out.u8(tag::PIPELINE).text(name),
        Key::Namespace(name) => out.u8(tag::NAMESPACE).text(name),
        Key::Schema(view, version) => out.u8(tag::SCHEMA).u32(view.get()).u32(*version),
        Key::SchemaHead(view) => out.u8(tag::SCHEMA_HEAD).u32(view.get()),
        Key::DeadLetter(view, index, ordinal) => {
            out.u8(tag::DEAD_LETTER).u32(view.get()).u64(*index).u32(*ordinal)
        }
        Key::Model(name) => out.u8(tag::MODEL).text(name),
        Key::ModelVersion(name, version) => out.u8(tag::MODEL_VERSION).text(name).u64(*version),
        Key::Alias(model, alias) => out.u8(tag::ALIAS).text(model).text(alias),
        Key::AliasMove(model, alias, index) => out.u8(tag::ALIAS_MOVE).text(model).text(alias).u64(*index),
        Key::Dataset(name, version) => out.u8(tag::DATASET).text(name).u64(*version),
        Key::Job(name) => out.u8(tag::JOB).text(name),
        Key::DriftWindow(name, start, of) => {
            version(out.u8(tag::DRIFT_WINDOW).text(name).i64(start.micros()), of)
        }
        Key::DriftFlush(name, node) => out.u8(tag::DRIFT_FLUSH).text(name).u64(node.get()),
        Key::DriftReport(name, start, of) => {
            version(out.u8(tag::DRIFT_REPORT).text(name).i64(start.micros()), of)
        }
        Key::Alert(name, start, of) => version(out.u8(tag::ALERT).text(name).i64(start.micros()), of),
        Key::Prediction(name, id) => out.u8(tag::PREDICTION).text(name).text(id),
        Key::Outcome(name, start, id) => out.u8(tag::OUTCOME).text(name).i64(start.micros()).text(id),
        Key::PipelineRun(name, number) => out.u8(tag::PIPELINE_RUN).text(name).u64(*number),
        Key::DriftBook(name) => out.u8(tag::DRIFT_BOOK).text(name),
        Key::DriftOpen(name, start, of) => {
            version(out.u8(tag::DRIFT_OPEN).text(name).i64(start.micros()), of)
        }
        Key::PredictionAge(name, at, id) => out.u8(tag::PREDICTION_AGE).text(name).i64(at.micros()).text(id),
        Key::OpenJob(name) => out.u8(tag::OPEN_JOB).text(name),
        Key::OpenRun(name, number) => out.u8(tag::OPEN_RUN).text(name).u64(*number),
        Key::Latest(of, view) => entity(out.u8(tag::LATEST), of).u32(view.get()),
        Key::History(of, view, version) => entity(out.u8(tag::HISTORY), of)
            .u32(view.get())
            .descending(|out| row_version(out, &version.0)),
        Key::Tile(of, view, hop, start) => entity(out.u8(tag::TILE), of)
            .u32(view.get())
            .u8(hop_number(*hop))
            .i64(start.micros()),
        Key::Plain(bytes) => out.u8(tag::PLAIN).bytes(bytes),
    }
}

fn request<'w>(out: &'w mut Writer, id: &RequestId) -> &'w mut Writer {
    match id {
        RequestId::Unique(id, part) => out.u8(tag::REQUEST_UNIQUE).u128(*id).u32(*part),
        RequestId::Producer(producer, sequence, part) => out
            .u8(tag::REQUEST_PRODUCER)
            .text(producer)
            .u64(*sequence)
            .u32(*part),
    }
}

fn version<'w>(out: &'w mut Writer, id: &VersionId) -> &'w mut Writer {
    out.text(&id.model).u64(id.number)
}

/// The end sorts before any further part, as a shorter key sorts before its continuation.
fn entity<'w>(out: &'w mut Writer, key: &EntityKey) -> &'w mut Writer {
    for part in &key.0 {
        match part {
            KeyPart::Int64(number) => out.u8(tag::PART_INT64).i64(*number),
            KeyPart::String(text) => out.u8(tag::PART_STRING).text(text),
        };
    }
    out.u8(tag::PARTS_END)
}

fn row_version(out: &mut Writer, version: &RowVersion) {
    out.i64(version.event_time.micros())
        .i64(version.created_time.micros())
        .u64(version.log_index)
        .u32(version.ordinal);
}

const fn hop_number(hop: Hop) -> u8 {
    match hop {
        Hop::FiveMinutes => tag::HOP_FIVE_MINUTES,
        Hop::Hour => tag::HOP_HOUR,
        Hop::Day => tag::HOP_DAY,
    }
}
