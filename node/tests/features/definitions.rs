//! The catalog that the tests declare, and tables in short.

use covey_proto::v1;
use covey_proto::v1::value::Kind;

/// One hour in microseconds.
pub(crate) const HOUR: i64 = 3_600_000_000;
/// The hour that the tests' facts are around: 2013-06-01T12:00:00Z.
pub(crate) const NOON: i64 = 1_370_088_000_000_000;

/// Airports with their weather, flights with their outcome, and the service `delays` over both.
pub(crate) fn catalog() -> v1::ApplyCatalogRequest {
    v1::ApplyCatalogRequest {
        entities: vec![entity("airport", "origin"), entity("flight", "flight_id")],
        views: vec![weather(), flights()],
        services: vec![delays()],
    }
}

fn entity(name: &str, join_key: &str) -> v1::Entity {
    let join_key = v1::JoinKey {
        name: join_key.to_owned(),
        data_type: v1::DataType::String.into(),
    };
    v1::Entity {
        name: name.to_owned(),
        description: String::new(),
        join_keys: vec![join_key],
        namespace: "default".to_owned(),
    }
}

fn column(name: &str, data_type: v1::DataType, nullable: bool) -> v1::Column {
    v1::Column {
        name: name.to_owned(),
        data_type: data_type.into(),
        nullable,
        rules: Vec::new(),
    }
}

fn aggregate(function: v1::AggregateFunction) -> v1::Aggregate {
    v1::Aggregate {
        column: "wind".to_owned(),
        function: function.into(),
        window_micros: 3 * HOUR,
    }
}

/// `wind` and, nullable, `gust`, with the mean and the number of winds of three hours.
pub(crate) fn weather() -> v1::FeatureView {
    v1::FeatureView {
        name: "weather".to_owned(),
        description: String::new(),
        entity: "airport".to_owned(),
        columns: vec![
            column("wind", v1::DataType::Float64, false),
            column("gust", v1::DataType::Float64, true),
        ],
        ttl_micros: 6 * HOUR,
        future_tolerance_micros: 0,
        aggregates: vec![
            aggregate(v1::AggregateFunction::Mean),
            aggregate(v1::AggregateFunction::Count),
        ],
    }
}

fn flights() -> v1::FeatureView {
    v1::FeatureView {
        name: "flights".to_owned(),
        description: String::new(),
        entity: "flight".to_owned(),
        columns: vec![
            column("departure", v1::DataType::Timestamp, false),
            column("origin", v1::DataType::String, false),
            column("hour", v1::DataType::Int64, false),
            column("late", v1::DataType::Bool, true),
        ],
        ttl_micros: 0,
        future_tolerance_micros: 0,
        aggregates: Vec::new(),
    }
}

fn delays() -> v1::FeatureService {
    let selection = v1::ViewSelection {
        view: "weather".to_owned(),
        features: Vec::new(),
    };
    let hour = v1::RequestFeature {
        name: "hour".to_owned(),
        data_type: v1::DataType::Int64.into(),
    };
    v1::FeatureService {
        name: "delays".to_owned(),
        description: String::new(),
        views: vec![selection],
        request: vec![hour],
    }
}

/// A table of named columns.
pub(crate) fn table<const N: usize>(columns: [(&str, Vec<v1::Value>); N]) -> v1::Table {
    let column = |(name, values): (&str, Vec<v1::Value>)| v1::TableColumn {
        name: name.to_owned(),
        values,
    };
    v1::Table {
        columns: columns.into_iter().map(column).collect(),
    }
}

/// A push without a producer.
pub(crate) fn push(view: &str, rows: v1::Table) -> v1::PushRequest {
    v1::PushRequest {
        view: view.to_owned(),
        rows: Some(rows),
        ..Default::default()
    }
}

/// Winds at airports at hours after noon.
pub(crate) fn winds(rows: &[(&str, i64, f64)]) -> v1::Table {
    table([
        ("origin", rows.iter().map(|(origin, _, _)| text(origin)).collect()),
        (
            "event_time",
            rows.iter()
                .map(|(_, hours, _)| moment(NOON + hours * HOUR))
                .collect(),
        ),
        ("wind", rows.iter().map(|(_, _, wind)| float(*wind)).collect()),
    ])
}

pub(crate) fn text(text: &str) -> v1::Value {
    v1::Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

pub(crate) fn integer(number: i64) -> v1::Value {
    v1::Value {
        kind: Some(Kind::Int64Value(number)),
    }
}

pub(crate) fn float(number: f64) -> v1::Value {
    v1::Value {
        kind: Some(Kind::Float64Value(number)),
    }
}

pub(crate) fn flag(flag: bool) -> v1::Value {
    v1::Value {
        kind: Some(Kind::BoolValue(flag)),
    }
}

pub(crate) fn moment(micros: i64) -> v1::Value {
    v1::Value {
        kind: Some(Kind::TimestampMicros(micros)),
    }
}

pub(crate) fn null() -> v1::Value {
    v1::Value { kind: None }
}
