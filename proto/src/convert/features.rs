//! The catalog: entities, feature views and feature services; and what a push is answered.

use covey_state::answer::RefusedRow;
use covey_state::catalog::{
    Column, Entity, FeatureService, FeatureView, InstalledView, JoinKey, Phase, RequestFeature, Rule,
    ViewSelection,
};
use covey_state::namespace::DEFAULT_NAMESPACE;
use covey_state::window::{Aggregate, Function};

use super::{InvalidField, all, data_type, each, required};
use crate::v1;

impl TryFrom<v1::JoinKey> for JoinKey {
    type Error = InvalidField;

    fn try_from(key: v1::JoinKey) -> Result<Self, InvalidField> {
        Ok(Self {
            data_type: data_type(key.data_type, "data_type")?,
            name: key.name,
        })
    }
}

impl From<JoinKey> for v1::JoinKey {
    fn from(key: JoinKey) -> Self {
        Self {
            name: key.name,
            data_type: v1::DataType::from(key.data_type).into(),
        }
    }
}

impl TryFrom<v1::Entity> for Entity {
    type Error = InvalidField;

    fn try_from(entity: v1::Entity) -> Result<Self, InvalidField> {
        let join_keys = each(entity.join_keys, "join_keys")?;
        Ok(Self {
            name: entity.name,
            description: entity.description,
            join_keys,
            namespace: match entity.namespace.as_str() {
                "" => DEFAULT_NAMESPACE.to_owned(),
                _ => entity.namespace,
            },
        })
    }
}

impl From<Entity> for v1::Entity {
    fn from(entity: Entity) -> Self {
        Self {
            name: entity.name,
            description: entity.description,
            join_keys: all(entity.join_keys),
            namespace: entity.namespace,
        }
    }
}

impl TryFrom<v1::Rule> for Rule {
    type Error = InvalidField;

    fn try_from(rule: v1::Rule) -> Result<Self, InvalidField> {
        match required(rule.kind, "kind")? {
            v1::rule::Kind::Min(bound) => finite(bound, "min").map(Self::Min),
            v1::rule::Kind::Max(bound) => finite(bound, "max").map(Self::Max),
            v1::rule::Kind::OneOf(list) => each(list.values, "one_of").map(Self::OneOf),
        }
    }
}

fn finite(bound: f64, field: &str) -> Result<f64, InvalidField> {
    if bound.is_finite() {
        Ok(bound)
    } else {
        Err(InvalidField::new(field, format!("`{bound}` is not finite")))
    }
}

impl From<Rule> for v1::Rule {
    fn from(rule: Rule) -> Self {
        let kind = match rule {
            Rule::Min(bound) => v1::rule::Kind::Min(bound),
            Rule::Max(bound) => v1::rule::Kind::Max(bound),
            Rule::OneOf(values) => v1::rule::Kind::OneOf(v1::ValueList { values: all(values) }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Column> for Column {
    type Error = InvalidField;

    fn try_from(column: v1::Column) -> Result<Self, InvalidField> {
        let data_type = data_type(column.data_type, "data_type")?;
        let rules = each(column.rules, "rules")?;
        Ok(Self {
            name: column.name,
            data_type,
            nullable: column.nullable,
            rules,
        })
    }
}

impl From<Column> for v1::Column {
    fn from(column: Column) -> Self {
        let data_type = v1::DataType::from(column.data_type).into();
        Self {
            name: column.name,
            data_type,
            nullable: column.nullable,
            rules: all(column.rules),
        }
    }
}

impl TryFrom<v1::Aggregate> for Aggregate {
    type Error = InvalidField;

    fn try_from(aggregate: v1::Aggregate) -> Result<Self, InvalidField> {
        let function = match v1::AggregateFunction::try_from(aggregate.function) {
            Ok(v1::AggregateFunction::Count) => Function::Count,
            Ok(v1::AggregateFunction::Sum) => Function::Sum,
            Ok(v1::AggregateFunction::Mean) => Function::Mean,
            Ok(v1::AggregateFunction::Min) => Function::Min,
            Ok(v1::AggregateFunction::Max) => Function::Max,
            Ok(v1::AggregateFunction::Last) => Function::Last,
            Ok(v1::AggregateFunction::Unspecified) => {
                return Err(InvalidField::new("function", "no function is given"));
            }
            Err(_) => {
                let reason = format!("`{}` is not a known function", aggregate.function);
                return Err(InvalidField::new("function", reason));
            }
        };
        Ok(Self {
            column: aggregate.column,
            function,
            window_micros: aggregate.window_micros,
        })
    }
}

impl From<Aggregate> for v1::Aggregate {
    fn from(aggregate: Aggregate) -> Self {
        let function = match aggregate.function {
            Function::Count => v1::AggregateFunction::Count,
            Function::Sum => v1::AggregateFunction::Sum,
            Function::Mean => v1::AggregateFunction::Mean,
            Function::Min => v1::AggregateFunction::Min,
            Function::Max => v1::AggregateFunction::Max,
            Function::Last => v1::AggregateFunction::Last,
        };
        Self {
            column: aggregate.column,
            function: function.into(),
            window_micros: aggregate.window_micros,
        }
    }
}

impl TryFrom<v1::FeatureView> for FeatureView {
    type Error = InvalidField;

    fn try_from(view: v1::FeatureView) -> Result<Self, InvalidField> {
        Ok(Self {
            columns: each(view.columns, "columns")?,
            aggregates: each(view.aggregates, "aggregates")?,
            name: view.name,
            description: view.description,
            entity: view.entity,
            ttl_micros: (view.ttl_micros != 0).then_some(view.ttl_micros),
            future_tolerance_micros: view.future_tolerance_micros,
        })
    }
}

impl From<FeatureView> for v1::FeatureView {
    fn from(view: FeatureView) -> Self {
        Self {
            name: view.name,
            description: view.description,
            entity: view.entity,
            columns: all(view.columns),
            ttl_micros: view.ttl_micros.unwrap_or(0),
            future_tolerance_micros: view.future_tolerance_micros,
            aggregates: all(view.aggregates),
        }
    }
}

impl From<InstalledView> for v1::InstalledView {
    fn from(view: InstalledView) -> Self {
        Self {
            definition: Some(view.definition.into()),
            id: view.id.get(),
            schema_version: view.schema_version,
            active: match view.phase {
                Phase::Installing => false,
                Phase::Active => true,
            },
            changed_at_micros: view.changed_at.micros(),
        }
    }
}

impl From<v1::ViewSelection> for ViewSelection {
    fn from(selection: v1::ViewSelection) -> Self {
        Self {
            view: selection.view,
            features: selection.features,
        }
    }
}

impl From<ViewSelection> for v1::ViewSelection {
    fn from(selection: ViewSelection) -> Self {
        Self {
            view: selection.view,
            features: selection.features,
        }
    }
}

impl TryFrom<v1::RequestFeature> for RequestFeature {
    type Error = InvalidField;

    fn try_from(feature: v1::RequestFeature) -> Result<Self, InvalidField> {
        Ok(Self {
            data_type: data_type(feature.data_type, "data_type")?,
            name: feature.name,
        })
    }
}

impl From<RequestFeature> for v1::RequestFeature {
    fn from(feature: RequestFeature) -> Self {
        Self {
            name: feature.name,
            data_type: v1::DataType::from(feature.data_type).into(),
        }
    }
}

impl TryFrom<v1::FeatureService> for FeatureService {
    type Error = InvalidField;

    fn try_from(service: v1::FeatureService) -> Result<Self, InvalidField> {
        let views = service.views.into_iter().map(ViewSelection::from).collect();
        let request = each(service.request, "request")?;
        Ok(Self {
            name: service.name,
            description: service.description,
            views,
            request,
        })
    }
}

impl From<FeatureService> for v1::FeatureService {
    fn from(service: FeatureService) -> Self {
        Self {
            name: service.name,
            description: service.description,
            views: all(service.views),
            request: all(service.request),
        }
    }
}

impl From<RefusedRow> for v1::RefusedRow {
    fn from(refused: RefusedRow) -> Self {
        Self {
            row: u64::from(refused.ordinal),
            reason: refused.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use covey_state::value::{DataType, Value};

    use super::*;

    fn view() -> FeatureView {
        let column = |name: &str, data_type, rules| Column {
            name: name.to_owned(),
            data_type,
            nullable: true,
            rules,
        };
        FeatureView {
            name: "weather".to_owned(),
            description: "hourly".to_owned(),
            entity: "origin".to_owned(),
            columns: vec![
                column(
                    "temp",
                    DataType::Float64,
                    vec![Rule::Min(-100.0), Rule::Max(150.0)],
                ),
                column(
                    "sky",
                    DataType::String,
                    vec![Rule::OneOf(vec![Value::String("clear".to_owned())])],
                ),
            ],
            ttl_micros: None,
            future_tolerance_micros: 7,
            aggregates: vec![Aggregate {
                column: "temp".to_owned(),
                function: Function::Mean,
                window_micros: 60,
            }],
        }
    }

    #[test]
    fn entities_views_and_services_survive_the_way_to_the_wire_and_back() {
        let key = JoinKey {
            name: "origin".to_owned(),
            data_type: DataType::String,
        };
        let entity = Entity {
            name: "origin".to_owned(),
            description: String::new(),
            join_keys: vec![key],
            namespace: "payments".to_owned(),
        };
        assert_eq!(Entity::try_from(v1::Entity::from(entity.clone())), Ok(entity));
        let view = view();
        assert_eq!(
            FeatureView::try_from(v1::FeatureView::from(view.clone())),
            Ok(view)
        );
        let service = FeatureService {
            name: "delay".to_owned(),
            description: "late or not".to_owned(),
            views: vec![ViewSelection {
                view: "weather".to_owned(),
                features: vec!["temp".to_owned()],
            }],
            request: vec![RequestFeature {
                name: "hour".to_owned(),
                data_type: DataType::Int64,
            }],
        };
        assert_eq!(
            FeatureService::try_from(v1::FeatureService::from(service.clone())),
            Ok(service)
        );
    }

    #[test]
    fn a_fault_deep_inside_is_named_by_its_path() {
        let mut wire = v1::FeatureView::from(view());
        wire.columns[1].data_type = 0;
        assert_eq!(
            FeatureView::try_from(wire).unwrap_err().field,
            "columns[1].data_type"
        );
        let mut wire = v1::FeatureView::from(view());
        wire.columns[0].rules[1].kind = Some(v1::rule::Kind::Max(f64::NAN));
        assert_eq!(
            FeatureView::try_from(wire).unwrap_err().field,
            "columns[0].rules[1].max"
        );
    }
}
