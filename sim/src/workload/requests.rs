//! The requests of the clients: versions of models, rows of a view with windows, and deltas of drift counters.

use std::collections::BTreeMap;

use bytes::Bytes;
use covey_state::catalog::{Column, FeatureView, InstalledView, JoinKey, Phase};
use covey_state::command::IncomingRow;
use covey_state::id::NodeId;
use covey_state::monitor::{FeatureCounts, FlushSource, WindowCounts};
use covey_state::registry::{Artifact, Lineage, VersionId, VersionSpec};
use covey_state::slot::Span;
use covey_state::window::{DAY, HOUR, SECOND};
use covey_state::{Command, DataType, Digest, Request, RequestId, Timestamp, Value};

use super::MODELS;
use crate::chance::Chance;
use crate::ledger::{EVENTS_END, KEYS, SCHEMA_VERSION, VIEW, WINDOWS, window_aggregates};
use crate::moment::Moment;

/// The deployment whose drift is counted.
const DEPLOYMENT: &str = "larch-live";

/// The most rows of a push, and the most windows of a flush.
const ROWS_MAX: u64 = 6;
const DELTAS_MAX: u64 = 3;

/// Drift is counted in so many windows of an hour, and of so many versions.
const DRIFT_WINDOWS: u64 = 4;
const DRIFT_VERSIONS: u64 = 2;

/// The probability that a client flushes as a node that has started anew: what it had not flushed is lost.
const NEW_LIFE: f64 = 0.1;

/// Makes requests that no two of are the same.
pub(super) struct Requests {
    chance: Chance,
    made: u64,
    rows: u64,
    /// The life that each client counts drift in, and the number of its last flush.
    marks: Vec<(u64, u64)>,
}

impl Requests {
    pub(super) fn new(seed: u64, clients: usize) -> Self {
        Self {
            chance: Chance::new(seed, "requests"),
            made: 0,
            rows: 0,
            marks: vec![(1, 0); clients],
        }
    }

    /// A version of a model.
    pub(super) fn append(&mut self, now: Moment, model: String) -> Request {
        let spec = VersionSpec {
            artifacts: vec![Artifact {
                name: "model.json".to_owned(),
                bytes: 0,
                digest: Digest::of(b""),
                chunks: Vec::new(),
            }],
            algorithm: format!("a{}", self.made + 1),
            signature: Vec::new(),
            service: None,
            lineage: Lineage::default(),
            metrics: BTreeMap::new(),
            profile: None,
        };
        self.request(now, Command::CreateVersion { model, spec })
    }

    /// Rows of the view, anywhere in event time.
    pub(super) fn push(&mut self, now: Moment) -> Request {
        let count = self.chance.within(1, ROWS_MAX);
        let command = Command::PushRows {
            view: VIEW,
            schema_version: SCHEMA_VERSION,
            rows: (0..count).map(|_| self.row()).collect(),
        };
        self.request(now, command)
    }

    /// A row whose event time and amount are no other's.
    fn row(&mut self) -> IncomingRow {
        self.rows += 1;
        let number = self.rows.cast_signed();
        let second = self.chance.within(0, EVENTS_END.cast_unsigned() / 1_000_000 - 1);
        let at = Timestamp::from_micros(second.cast_signed() * SECOND + number);
        let key = self.chance.pick(&KEYS).copied().unwrap_or(KEYS[0]);
        IncomingRow {
            key: vec![Value::String(key.to_owned())],
            event_time: at,
            created_time: at,
            values: vec![Value::Int64(number)],
        }
    }

    /// What a client has counted since its last flush.
    pub(super) fn flush(&mut self, now: Moment, client: usize) -> Request {
        let mark = &mut self.marks[client];
        if self.chance.happens(NEW_LIFE) {
            *mark = (mark.0 + 1, 0);
        }
        mark.1 += 1;
        let (incarnation, sequence) = *mark;
        let count = self.chance.within(1, DELTAS_MAX);
        let command = Command::FlushDrift {
            deployment: DEPLOYMENT.to_owned(),
            source: FlushSource {
                node: NodeId::new(client as u64 + 1),
                incarnation,
            },
            sequence,
            windows: (0..count).map(|_| self.delta()).collect(),
            predictions: Vec::new(),
        };
        self.request(now, command)
    }

    fn delta(&mut self) -> (VersionId, Timestamp, WindowCounts) {
        let version = VersionId {
            model: MODELS[0].to_owned(),
            number: self.chance.within(1, DRIFT_VERSIONS),
        };
        let hour = self.chance.within(0, DRIFT_WINDOWS - 1).cast_signed();
        let mut number = || self.chance.within(0, 3);
        let numbers = FeatureCounts {
            bins: vec![number(), number(), number()],
            missing: number(),
            ..FeatureCounts::default()
        };
        let names = FeatureCounts {
            named: BTreeMap::from([("catkin".to_owned(), number()), ("cone".to_owned(), number())]),
            other: number(),
            ..FeatureCounts::default()
        };
        let counts = WindowCounts {
            rows: number() + 1,
            features: vec![numbers, names],
        };
        (version, Timestamp::from_micros(hour * HOUR), counts)
    }

    /// Gives a request another id, as a node does that sends the same flush again: its number alone must tell.
    pub(super) fn rename(&mut self, request: &mut Request) {
        self.made += 1;
        request.id = RequestId::Unique(u128::from(self.made), 0);
    }

    fn request(&mut self, now: Moment, command: Command) -> Request {
        self.made += 1;
        Request {
            id: RequestId::Unique(u128::from(self.made), 0),
            at: Timestamp::from_micros(i64::try_from(now.micros()).unwrap_or(i64::MAX)),
            by: "sim".to_owned(),
            command,
        }
    }
}

/// The requests that make the view and the models.
pub(super) fn founding() -> Vec<Bytes> {
    let models = MODELS.iter().map(|model| Command::CreateModel {
        name: (*model).to_owned(),
        description: String::new(),
    });
    let commands = std::iter::once(Command::InstallSchema(view())).chain(models);
    let requests = commands.enumerate().map(|(number, command)| Request {
        id: RequestId::Unique(number as u128, 1),
        at: Timestamp::from_micros(1),
        by: "sim".to_owned(),
        command,
    });
    requests.map(|request| Bytes::from(request.encode())).collect()
}

/// The view, with windows in hops of every width.
fn view() -> InstalledView {
    let column = Column {
        name: "amount".to_owned(),
        data_type: DataType::Int64,
        nullable: false,
        rules: Vec::new(),
    };
    InstalledView {
        id: VIEW,
        schema_version: SCHEMA_VERSION,
        phase: Phase::Active,
        join_keys: vec![JoinKey {
            name: "tree".to_owned(),
            data_type: DataType::String,
        }],
        span: Span::initial(1),
        definition: FeatureView {
            name: "growth".to_owned(),
            description: String::new(),
            entity: "tree".to_owned(),
            columns: vec![column],
            ttl_micros: None,
            // The clock of the group begins with the world.
            future_tolerance_micros: EVENTS_END + DAY,
            aggregates: WINDOWS
                .into_iter()
                .flat_map(|(length, _)| window_aggregates(length))
                .collect(),
        },
        changed_at: Timestamp::from_micros(1),
    }
}
