//! From rows of join keys to feature vectors: which group is asked for what, and where its answers go. Pure.
//!
//! Online reads and training sets are both made here, from the same plan and by the same steps.

use std::ops::Range;
use std::sync::Arc;

use covey_state::catalog::RequestFeature;
use covey_state::entity::EntityKey;
use covey_state::{DataType, GroupId, Timestamp, Value};

use crate::error::Failure;
use crate::features::group::{FeatureStatus, Moment, ViewRead, ViewValues};
use crate::features::push::entity_key;
use crate::features::rows::{TableRows, widen};
use crate::features::service_plan::{ServicePlan, ViewPlan};

/// The time that each row is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Moments {
    /// All rows now.
    Now(Timestamp),
    /// All rows as of one event time.
    One(Timestamp),
    /// Each row as of its own event time.
    Each(Vec<Timestamp>),
}

impl Moments {
    fn of(&self, row: usize) -> Moment {
        match self {
            Self::Now(at) => Moment::Now(*at),
            Self::One(at) => Moment::AsOf(*at),
            Self::Each(each) => Moment::AsOf(each[row]),
        }
    }

    /// The time that a row is looked at.
    pub(crate) fn at(&self, row: usize) -> Timestamp {
        self.of(row).at()
    }
}

/// What one group is asked for, and where its answers go.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct GroupReads {
    /// The group.
    pub(crate) group: GroupId,
    /// What it is asked for, at most one read per view.
    pub(crate) reads: Vec<ViewRead>,
    /// For each read where its values go.
    pub(crate) places: Vec<Places>,
}

/// Where the values of one read go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// The position in the vector of the view's first feature.
    first: usize,
    /// For each row of the read its row in the request.
    rows: Vec<usize>,
}

/// Feature vectors, column by column in vector order, with what stands behind each value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Vectors {
    /// The values.
    pub(crate) columns: Vec<Vec<Value>>,
    /// One status per value.
    pub(crate) statuses: Vec<Vec<FeatureStatus>>,
}

/// Cuts the rows of a table into reads of groups. `moments` holds one moment per row of the whole table.
pub(crate) fn cut(
    plan: &ServicePlan,
    table: &TableRows,
    range: Range<usize>,
    moments: &Moments,
) -> Result<Vec<GroupReads>, Failure> {
    let mut cut: Vec<GroupReads> = Vec::new();
    let end = plan
        .views
        .iter()
        .map(|view| view.view.span.end())
        .max()
        .unwrap_or(0);
    let mut position_of_group: Vec<Option<usize>> = vec![None; usize::try_from(end).unwrap_or(0)];
    for view in &plan.views {
        let span = view.view.span;
        let keys = key_columns(view, table)?;
        for row in range.clone() {
            let Some(entity) = keys.entity(row)? else { continue };
            let group = span.group_of_entity(&entity);
            let slot = &mut position_of_group[usize::try_from(group.get()).unwrap_or(0)];
            let position = *slot.get_or_insert_with(|| {
                cut.push(GroupReads {
                    group,
                    reads: Vec::new(),
                    places: Vec::new(),
                });
                cut.len() - 1
            });
            cut[position].add(view, entity, moments.of(row), row - range.start);
        }
    }
    cut.sort_by_key(|reads| reads.group);
    Ok(cut)
}

impl GroupReads {
    fn add(&mut self, plan: &ViewPlan, entity: EntityKey, moment: Moment, row: usize) {
        // Views come one after the other, so the read of this view is the last one or is not there yet.
        if self.places.last().is_none_or(|places| places.first != plan.first) {
            let (view, sources) = (Arc::clone(&plan.view), Arc::clone(&plan.sources));
            self.reads.push(ViewRead {
                view,
                sources,
                rows: Vec::new(),
            });
            self.places.push(Places {
                first: plan.first,
                rows: Vec::new(),
            });
        }
        let read = self.reads.last_mut().expect("the read of this view is there");
        read.rows.push((entity, moment));
        self.places
            .last_mut()
            .expect("each read has its places")
            .rows
            .push(row);
    }
}

/// The columns of a table that hold a view's join keys.
struct KeyColumns<'a> {
    plan: &'a ViewPlan,
    columns: Vec<&'a [Value]>,
}

fn key_columns<'a>(plan: &'a ViewPlan, table: &'a TableRows) -> Result<KeyColumns<'a>, Failure> {
    let mut columns = Vec::with_capacity(plan.view.join_keys.len());
    for key in &plan.view.join_keys {
        let column = table.column(&key.name).ok_or_else(|| {
            let (view, given) = (&plan.view.definition.name, table.names_text());
            let (name, data_type) = (&key.name, key.data_type);
            let reason =
                format!("join key `{name}` ({data_type}) of view `{view}` is missing; given: {given}");
            Failure::invalid("entities", reason)
        })?;
        columns.push(column);
    }
    Ok(KeyColumns { plan, columns })
}

impl KeyColumns<'_> {
    /// The entity of a row; `None` if a part of its key is null, so that there is nothing to be found.
    fn entity(&self, row: usize) -> Result<Option<EntityKey>, Failure> {
        let values = || self.columns.iter().map(|column| &column[row]);
        let join_keys = &self.plan.view.join_keys;
        if let Some(entity) = entity_key(values(), join_keys.iter().map(|key| key.data_type)) {
            return Ok(Some(entity));
        }
        for (value, key) in values().zip(join_keys) {
            if let Some(found) = value.data_type().filter(|found| *found != key.data_type) {
                let reason = format!(
                    "join key `{}` of row {row} must be {} and is {found}",
                    key.name, key.data_type
                );
                return Err(Failure::invalid("entities", reason));
            }
        }
        Ok(None)
    }
}

impl Vectors {
    /// Vectors for the rows of `range`: what the caller gave is there, what the groups have to say is not yet.
    pub(crate) fn new(plan: &ServicePlan, table: &TableRows, range: Range<usize>) -> Result<Self, Failure> {
        let stored = plan.names.len() - plan.request.len();
        let ViewValues {
            mut columns,
            mut statuses,
        } = ViewValues::not_found(stored, range.len());
        for feature in &plan.request {
            let column = request_column(feature, table, range.clone())?;
            statuses.push(column.iter().map(status_of).collect());
            columns.push(column);
        }
        Ok(Self { columns, statuses })
    }

    /// Puts a group's answers where they belong.
    pub(crate) fn place(&mut self, places: Vec<Places>, answers: Vec<ViewValues>) {
        for (places, values) in places.into_iter().zip(answers) {
            let features = values.columns.into_iter().zip(values.statuses);
            for (feature, (column, statuses)) in features.enumerate() {
                let position = places.first + feature;
                for ((row, value), status) in places.rows.iter().zip(column).zip(statuses) {
                    self.columns[position][*row] = value;
                    self.statuses[position][*row] = status;
                }
            }
        }
    }
}

/// The values of a feature that the caller gives, of the declared type.
fn request_column(
    feature: &RequestFeature,
    table: &TableRows,
    range: Range<usize>,
) -> Result<Vec<Value>, Failure> {
    let RequestFeature { name, data_type } = feature;
    let column = table.column(name).ok_or_else(|| {
        let reason = format!(
            "request feature `{name}` ({data_type}) is missing; given: {}",
            table.names_text()
        );
        Failure::invalid("entities", reason)
    })?;
    range
        .map(|row| typed(name, *data_type, row, &column[row]))
        .collect()
}

fn typed(name: &str, data_type: DataType, row: usize, value: &Value) -> Result<Value, Failure> {
    let value = widen(value, data_type);
    match value.data_type().filter(|found| *found != data_type) {
        None => Ok(value),
        Some(found) => {
            let reason = format!("request feature `{name}` of row {row} must be {data_type} and is {found}");
            Err(Failure::invalid("entities", reason))
        }
    }
}

fn status_of(value: &Value) -> FeatureStatus {
    if value.is_null() {
        FeatureStatus::Null
    } else {
        FeatureStatus::Present
    }
}

#[cfg(test)]
mod tests {
    use covey_state::catalog::{FeatureService, ViewSelection};

    use super::*;
    use crate::features::push::sample;
    use crate::features::service_plan::Schemas;

    fn plan() -> ServicePlan {
        let service = FeatureService {
            name: "delays".to_owned(),
            description: String::new(),
            views: vec![ViewSelection {
                view: "weather".to_owned(),
                features: vec!["wind".to_owned()],
            }],
            request: vec![RequestFeature {
                name: "hour".to_owned(),
                data_type: DataType::Float64,
            }],
        };
        let schemas = Schemas::from([("weather".to_owned(), Arc::new(sample::weather()))]);
        ServicePlan::resolve(&service, &schemas).unwrap()
    }

    fn table(origins: Vec<Value>, hours: Vec<Value>) -> TableRows {
        TableRows::new(
            "entities",
            vec!["origin".to_owned(), "hour".to_owned()],
            vec![origins, hours],
        )
        .unwrap()
    }

    fn text(text: &str) -> Value {
        Value::String(text.to_owned())
    }

    #[test]
    fn answers_go_back_to_the_rows_that_they_belong_to() {
        let (plan, now) = (plan(), Moments::Now(Timestamp::from_micros(1)));
        let airports = ["JFK", "LGA", "EWR", "BOS", "SFO"];
        let origins: Vec<Value> = airports
            .iter()
            .map(|name| text(name))
            .chain([Value::Null])
            .collect();
        let table = table(origins, vec![Value::Int64(7); 6]);
        let mut vectors = Vectors::new(&plan, &table, 0..6).unwrap();
        for reads in cut(&plan, &table, 0..6, &now).unwrap() {
            let found = |(entity, _): &(EntityKey, Moment)| text(&entity.to_string());
            let column: Vec<Value> = reads.reads[0].rows.iter().map(found).collect();
            let statuses = vec![FeatureStatus::Present; column.len()];
            vectors.place(
                reads.places,
                vec![ViewValues {
                    columns: vec![column],
                    statuses: vec![statuses],
                }],
            );
        }
        assert_eq!(vectors.columns[0][..5], airports.map(text));
        assert_eq!(
            (&vectors.columns[0][5], vectors.statuses[0][5]),
            (&Value::Null, FeatureStatus::NotFound)
        );
        assert_eq!(vectors.columns[1], vec![Value::Float64(7.0); 6]);
    }

    #[test]
    fn a_range_is_placed_from_its_own_start() {
        let (plan, now) = (plan(), Moments::Now(Timestamp::from_micros(1)));
        let table = table(vec![text("JFK"); 3], vec![Value::Null; 3]);
        let reads = cut(&plan, &table, 2..3, &now).unwrap();
        assert_eq!(reads[0].places[0].rows, [0]);
    }

    #[test]
    fn what_is_missing_or_of_the_wrong_type_is_named() {
        let (plan, now) = (plan(), Moments::Now(Timestamp::from_micros(1)));
        let wrong = table(vec![Value::Int64(3)], vec![text("seven")]);
        assert_eq!(
            cut(&plan, &wrong, 0..1, &now).unwrap_err().to_string(),
            "entities is invalid: join key `origin` of row 0 must be string and is int64"
        );
        assert_eq!(
            Vectors::new(&plan, &wrong, 0..1).unwrap_err().to_string(),
            "entities is invalid: request feature `hour` of row 0 must be float64 and is string"
        );
        let nothing = TableRows::new("entities", vec!["x".to_owned()], vec![vec![Value::Null]]).unwrap();
        assert_eq!(
            cut(&plan, &nothing, 0..1, &now).unwrap_err().to_string(),
            "entities is invalid: join key `origin` (string) of view `weather` is missing; given: `x`"
        );
        assert_eq!(
            Vectors::new(&plan, &nothing, 0..1).unwrap_err().to_string(),
            "entities is invalid: request feature `hour` (float64) is missing; given: `x`"
        );
    }
}
