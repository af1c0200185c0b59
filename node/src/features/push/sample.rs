//! A view for tests.

use covey_state::catalog::{Column, FeatureView, InstalledView, JoinKey, Phase};
use covey_state::slot::Span;
use covey_state::window::{Aggregate, Function, HOUR};
use covey_state::{DataType, Timestamp, ViewId};

/// The weather at an airport: `wind`, `gust` (nullable), and the mean wind over three hours.
pub(crate) fn weather() -> InstalledView {
    let column = |name: &str, nullable| Column {
        name: name.to_owned(),
        data_type: DataType::Float64,
        nullable,
        rules: Vec::new(),
    };
    let definition = FeatureView {
        name: "weather".to_owned(),
        description: String::new(),
        entity: "airport".to_owned(),
        columns: vec![column("wind", false), column("gust", true)],
        ttl_micros: Some(HOUR),
        future_tolerance_micros: 0,
        aggregates: vec![Aggregate {
            column: "wind".to_owned(),
            function: Function::Mean,
            window_micros: 3 * HOUR,
        }],
    };
    InstalledView {
        id: ViewId::new(1),
        schema_version: 1,
        phase: Phase::Active,
        join_keys: vec![JoinKey {
            name: "origin".to_owned(),
            data_type: DataType::String,
        }],
        span: Span::initial(4),
        definition,
        changed_at: Timestamp::from_micros(0),
    }
}
