//! Entities, feature views and feature services as they are written in YAML.

use covey_proto::v1;
use covey_state::namespace::DEFAULT_NAMESPACE;
use covey_state::value::{DataType, Value};
use covey_state::window::{Function, HOUR};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cli::length::Length;

/// How far ahead of the cluster's clock an event time may be unless the view says otherwise, in microseconds.
const FUTURE_TOLERANCE_DEFAULT: i64 = HOUR;

/// A name with a type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TypedName {
    name: String,
    #[serde(rename = "type")]
    data_type: DataType,
}

/// `kind: Entity`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntityDefinition {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    name: String,
    #[serde(default)]
    description: String,
    join_keys: Vec<TypedName>,
    #[serde(default = "default_namespace")]
    namespace: String,
}

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_owned()
}

impl TryFrom<EntityDefinition> for v1::Entity {
    type Error = String;

    fn try_from(entity: EntityDefinition) -> Result<Self, String> {
        if entity.join_keys.is_empty() {
            return Err("field `join_keys` is empty; an entity has at least one".to_owned());
        }
        for key in &entity.join_keys {
            if !matches!(key.data_type, DataType::Int64 | DataType::String) {
                let (name, found) = (&key.name, key.data_type);
                return Err(format!(
                    "join key `{name}` has type {found}; only int64 and string can be joined on"
                ));
            }
        }
        let key = |key: TypedName| v1::JoinKey {
            name: key.name,
            data_type: wire(key.data_type),
        };
        let join_keys = entity.join_keys.into_iter().map(key).collect();
        Ok(Self {
            name: entity.name,
            description: entity.description,
            join_keys,
            namespace: entity.namespace,
        })
    }
}

fn wire(data_type: DataType) -> i32 {
    v1::DataType::from(data_type).into()
}

/// A column of a view: its type, and the conditions that its values must meet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnDefinition {
    name: String,
    #[serde(rename = "type")]
    data_type: DataType,
    #[serde(default)]
    nullable: bool,
    min: Option<f64>,
    max: Option<f64>,
    one_of: Option<Vec<serde_json::Value>>,
}

impl ColumnDefinition {
    fn into_wire(self) -> Result<v1::Column, String> {
        let Self {
            name,
            data_type,
            nullable,
            min,
            max,
            one_of,
        } = self;
        let mut kinds = Vec::new();
        kinds.extend(min.map(v1::rule::Kind::Min));
        kinds.extend(max.map(v1::rule::Kind::Max));
        if let Some(allowed) = one_of {
            let values = allowed
                .iter()
                .map(|json| crate::cli::cell::of_json(json, Some(data_type)));
            let values: Vec<Value> = values.collect();
            if let Some(wrong) = values.iter().find(|value| value.data_type() != Some(data_type)) {
                return Err(format!(
                    "column `{name}`: `{wrong}` of `one_of` is not of type {data_type}"
                ));
            }
            let values = values.into_iter().map(v1::Value::from).collect();
            kinds.push(v1::rule::Kind::OneOf(v1::ValueList { values }));
        }
        let rules = kinds
            .into_iter()
            .map(|kind| v1::Rule { kind: Some(kind) })
            .collect();
        Ok(v1::Column {
            name,
            data_type: wire(data_type),
            nullable,
            rules,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AggregateDefinition {
    column: String,
    function: Function,
    window: Length,
}

/// `kind: FeatureView`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ViewDefinition {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    name: String,
    #[serde(default)]
    description: String,
    entity: String,
    ttl: Option<Length>,
    future_tolerance: Option<Length>,
    columns: Vec<ColumnDefinition>,
    #[serde(default)]
    aggregates: Vec<AggregateDefinition>,
}

impl TryFrom<ViewDefinition> for v1::FeatureView {
    type Error = String;

    fn try_from(view: ViewDefinition) -> Result<Self, String> {
        if view.columns.is_empty() {
            return Err("field `columns` is empty; a view has at least one".to_owned());
        }
        for aggregate in &view.aggregates {
            if !view.columns.iter().any(|column| column.name == aggregate.column) {
                return Err(format!(
                    "aggregate over `{}`, which is not one of the view's columns",
                    aggregate.column
                ));
            }
        }
        let aggregate = |aggregate: AggregateDefinition| covey_state::window::Aggregate {
            column: aggregate.column,
            function: aggregate.function,
            window_micros: aggregate.window.micros(),
        };
        let columns = view
            .columns
            .into_iter()
            .map(ColumnDefinition::into_wire)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: view.name,
            description: view.description,
            entity: view.entity,
            columns,
            ttl_micros: view.ttl.map_or(0, Length::micros),
            future_tolerance_micros: view
                .future_tolerance
                .map_or(FUTURE_TOLERANCE_DEFAULT, Length::micros),
            aggregates: view
                .aggregates
                .into_iter()
                .map(|each| aggregate(each).into())
                .collect(),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SelectionDefinition {
    view: String,
    #[serde(default)]
    features: Vec<String>,
}

/// `kind: FeatureService`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceDefinition {
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    views: Vec<SelectionDefinition>,
    #[serde(default)]
    request: Vec<TypedName>,
}

impl TryFrom<ServiceDefinition> for v1::FeatureService {
    type Error = String;

    fn try_from(service: ServiceDefinition) -> Result<Self, String> {
        if service.views.is_empty() && service.request.is_empty() {
            return Err(
                "fields `views` and `request` are both empty; a service has at least one feature".to_owned(),
            );
        }
        let view = |each: SelectionDefinition| v1::ViewSelection {
            view: each.view,
            features: each.features,
        };
        let request = |each: TypedName| v1::RequestFeature {
            name: each.name,
            data_type: wire(each.data_type),
        };
        Ok(Self {
            name: service.name,
            description: service.description,
            views: service.views.into_iter().map(view).collect(),
            request: service.request.into_iter().map(request).collect(),
        })
    }
}
