//! The catalog: entities, feature views and feature services, as users declare them and as the cluster holds them.

use serde::{Deserialize, Serialize};

use crate::id::{Timestamp, ViewId};
use crate::slot::Span;
use crate::value::{DataType, Value};
use crate::window::{Aggregate, Hop};

/// A typed join key of an entity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinKey {
    /// The column's name in rows and requests.
    pub name: String,
    /// Its type: int64 or string.
    pub data_type: DataType,
}

/// The kind of thing that features are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// Unique name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The join keys, in key order; at least one.
    pub join_keys: Vec<JoinKey>,
    /// The namespace whose groups hold its rows; fixed for ever.
    pub namespace: String,
}

/// What a value of a column must satisfy; a row that does not goes to the dead letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Rule {
    /// A number must not be below this.
    Min(f64),
    /// A number must not be above this.
    Max(f64),
    /// The value must be one of these.
    OneOf(Vec<Value>),
}

/// A column of a feature view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Unique name within the view.
    pub name: String,
    /// The type of its values.
    pub data_type: DataType,
    /// Whether a row may leave it out.
    pub nullable: bool,
    /// Further conditions, all of which must hold.
    pub rules: Vec<Rule>,
}

/// A feature view as declared: one entity, typed columns, and aggregates over windows of event time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureView {
    /// Unique name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// The entity whose join keys its rows carry.
    pub entity: String,
    /// The columns, in row order.
    pub columns: Vec<Column>,
    /// How long a row is current after its event time, in microseconds; `None` for ever.
    pub ttl_micros: Option<i64>,
    /// How far ahead of the cluster's clock an event time may be, in microseconds.
    pub future_tolerance_micros: i64,
    /// Aggregates over windows, in feature order.
    pub aggregates: Vec<Aggregate>,
}

/// Whether a view may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Control has accepted the schema; the data groups are logging it.
    Installing,
    /// Every data group knows the schema.
    Active,
}

/// A feature view as the cluster holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstalledView {
    /// The short number that keys carry.
    pub id: ViewId,
    /// Counts up with every change of the columns or aggregates, from 1.
    pub schema_version: u32,
    /// Whether every data group knows this version.
    pub phase: Phase,
    /// The join keys of its entity, copied so that a data group needs nothing else.
    pub join_keys: Vec<JoinKey>,
    /// The groups that hold its rows: those of its entity's namespace.
    pub span: Span,
    /// The declaration.
    pub definition: FeatureView,
    /// When control accepted this version.
    pub changed_at: Timestamp,
}

/// A feature given by the caller with the request, not read from the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestFeature {
    /// The feature's name in requests and in model signatures.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
}

/// Features taken from one view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewSelection {
    /// The view's name.
    pub view: String,
    /// Names of columns or aggregates; empty means all of them.
    pub features: Vec<String>,
}

/// A named list of features that a model is trained on and served with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureService {
    /// Unique name.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// What is read from the store, in feature order. Named `view__feature` in vectors.
    pub views: Vec<ViewSelection>,
    /// What the caller gives, after the views in feature order.
    pub request: Vec<RequestFeature>,
}

impl FeatureView {
    /// The columns that aggregates are over, each once, in first-use order: the columns of a tile.
    pub fn aggregated_columns(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for aggregate in &self.aggregates {
            if !names.contains(&aggregate.column.as_str()) {
                names.push(&aggregate.column);
            }
        }
        names
    }

    /// The positions among the row's values of [`Self::aggregated_columns`].
    pub fn aggregated_positions(&self) -> Vec<usize> {
        self.aggregated_columns()
            .iter()
            .filter_map(|name| self.column_position(name))
            .collect()
    }

    /// The hop sizes that its windows need, smallest first, each once.
    pub fn hops(&self) -> Vec<Hop> {
        let mut hops: Vec<Hop> = self.aggregates.iter().map(Aggregate::hop).collect();
        hops.sort_unstable();
        hops.dedup();
        hops
    }

    /// The position of a column among the row's values.
    pub fn column_position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// The names of all features it yields: its columns, then its aggregates.
    pub fn feature_names(&self) -> Vec<String> {
        let columns = self.columns.iter().map(|column| column.name.clone());
        columns
            .chain(self.aggregates.iter().map(Aggregate::name))
            .collect()
    }
}
