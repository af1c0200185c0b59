//! Feature values of many entities from one consistent view of one group.
//!
//! The one place where a stored row becomes feature values, for online reads and for training sets alike.

use std::sync::Arc;

use covey_state::catalog::InstalledView;
use covey_state::entity::EntityKey;
use covey_state::{Fault, Key, Record, Row, Timestamp, Value, View, read};
use serde::{Deserialize, Serialize};

use crate::features::service_plan::FeatureSource;

/// The time that an entity is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Moment {
    /// Its current row, with windows that end at this time.
    Now(Timestamp),
    /// What was true at this event time.
    AsOf(Timestamp),
}

impl Moment {
    /// The time that windows end at and that a row's age is judged by.
    pub(crate) const fn at(self) -> Timestamp {
        match self {
            Self::Now(at) | Self::AsOf(at) => at,
        }
    }
}

/// Features of one view for some entities of the group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ViewRead {
    /// The view, at the schema version that is read.
    pub(crate) view: Arc<InstalledView>,
    /// The features.
    pub(crate) sources: Arc<[FeatureSource]>,
    /// The entities, each with the time it is looked at.
    pub(crate) rows: Vec<(EntityKey, Moment)>,
}

/// What stands behind a feature's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FeatureStatus {
    /// There is a value.
    Present,
    /// The row holds null, or the window has no value.
    Null,
    /// There is no row.
    NotFound,
    /// The row is older than its view allows.
    OutsideMaxAge,
}

/// The values of a [`ViewRead`]: one list per feature, one entry per row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ViewValues {
    /// The values.
    pub(crate) columns: Vec<Vec<Value>>,
    /// What stands behind them.
    pub(crate) statuses: Vec<Vec<FeatureStatus>>,
}

impl ViewValues {
    /// Values of `features` features for `rows` rows, none of which is there.
    pub(crate) fn not_found(features: usize, rows: usize) -> Self {
        Self {
            columns: vec![vec![Value::Null; rows]; features],
            statuses: vec![vec![FeatureStatus::NotFound; rows]; features],
        }
    }
}

/// Reads the values; rows of the log after `through` are not seen.
pub(super) fn read_values(
    group: &dyn View,
    wanted: &ViewRead,
    through: Option<u64>,
) -> Result<ViewValues, Fault> {
    let mut values = ViewValues::not_found(wanted.sources.len(), wanted.rows.len());
    let current = current_rows(group, wanted, through)?;
    // Neighbours in this order share blocks on disk, and equal ones are read once.
    let mut order: Vec<usize> = (0..wanted.rows.len()).collect();
    order.sort_by(|a, b| wanted.rows[*a].cmp(&wanted.rows[*b]));
    let mut previous: Option<usize> = None;
    for row in order {
        match previous.filter(|previous| wanted.rows[*previous] == wanted.rows[row]) {
            Some(same) => values.copy(same, row),
            None => values.fill(row, &reading(group, wanted, (row, &current), through)?),
        }
        previous = Some(row);
    }
    Ok(values)
}

impl ViewValues {
    fn copy(&mut self, from: usize, to: usize) {
        for (column, statuses) in self.columns.iter_mut().zip(&mut self.statuses) {
            column[to] = column[from].clone();
            statuses[to] = statuses[from];
        }
    }

    fn fill(&mut self, row: usize, values: &[(Value, FeatureStatus)]) {
        let lists = self.columns.iter_mut().zip(&mut self.statuses);
        for ((column, statuses), (value, status)) in lists.zip(values) {
            column[row] = value.clone();
            statuses[row] = *status;
        }
    }
}

/// The current rows of the entities, in one round; `None` where the time asked for needs a look into history.
fn current_rows(
    group: &dyn View,
    wanted: &ViewRead,
    through: Option<u64>,
) -> Result<Option<Vec<Option<Row>>>, Fault> {
    let is_now = |(_, moment): &(EntityKey, Moment)| matches!(moment, Moment::Now(_));
    if through.is_some() || !reads_columns(wanted) || !wanted.rows.iter().all(is_now) {
        return Ok(None);
    }
    let key = |(entity, _): &(EntityKey, Moment)| Key::Latest(entity.clone(), wanted.view.id);
    let keys: Vec<Key> = wanted.rows.iter().map(key).collect();
    let row = |record| match record {
        Some(Record::Row(row)) => Some(row),
        _ => None,
    };
    Ok(Some(group.get_many(&keys)?.into_iter().map(row).collect()))
}

fn reads_columns(wanted: &ViewRead) -> bool {
    wanted.sources.iter().any(|source| matches!(source, FeatureSource::Column(_)))
}

/// The values of one entity, one per feature.
fn reading(
    group: &dyn View,
    wanted: &ViewRead,
    (row, current): (usize, &Option<Vec<Option<Row>>>),
    through: Option<u64>,
) -> Result<Vec<(Value, FeatureStatus)>, Fault> {
    let (entity, moment) = &wanted.rows[row];
    let found = match current {
        Some(rows) => rows[row].clone(),
        None if reads_columns(wanted) => read::row_as_of(group, entity, wanted.view.id, moment.at(), through)?,
        None => None,
    };
    let aggregates = read::aggregates(group, entity, &wanted.view, moment.at(), through)?;
    let value = |source: &FeatureSource| match source {
        FeatureSource::Column(position) => column_value(&wanted.view, found.as_ref(), *position, moment.at()),
        FeatureSource::Aggregate(position) => {
            let value = aggregates.get(*position).cloned().unwrap_or(Value::Null);
            let status = status_of(&value);
            (value, status)
        }
    };
    Ok(wanted.sources.iter().map(value).collect())
}

fn column_value(
    view: &InstalledView,
    row: Option<&Row>,
    position: usize,
    at: Timestamp,
) -> (Value, FeatureStatus) {
    let Some(row) = row else {
        return (Value::Null, FeatureStatus::NotFound);
    };
    let age = at.micros().saturating_sub(row.event_time.micros());
    if view.definition.ttl_micros.is_some_and(|ttl| age > ttl) {
        return (Value::Null, FeatureStatus::OutsideMaxAge);
    }
    // A row of an older schema version is shorter: it has no value for the columns that came later.
    let value = row.values.get(position).cloned().unwrap_or(Value::Null);
    let status = status_of(&value);
    (value, status)
}

fn status_of(value: &Value) -> FeatureStatus {
    if value.is_null() { FeatureStatus::Null } else { FeatureStatus::Present }
}
