//! Feature values of many entities from one consistent view of one group.
//!
//! The one place where a stored row becomes feature values, for online reads and for training sets alike.

use std::sync::Arc;

use covey_state::catalog::InstalledView;
use covey_state::entity::EntityKey;
use covey_state::read::{self, AsOf, RowStatus};
use covey_state::{Fault, Key, Record, Row, Timestamp, Value, View};
use serde::{Deserialize, Serialize};

use crate::features::group::nearby::Nearby;
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

/// Moments of one entity from which on what they have read is kept for each other.
const KEEP_MOMENTS_MIN: usize = 8;

/// Reads the values; rows of the log after `through` are not seen.
pub(super) fn read_values(
    group: &dyn View,
    wanted: &ViewRead,
    through: Option<u64>,
) -> Result<ViewValues, Fault> {
    let reader = Reader::new(group, wanted, through)?;
    let rows = &wanted.rows;
    let mut values = ViewValues::not_found(wanted.sources.len(), rows.len());
    // Entity by entity, each from its newest moment to its oldest: neighbours on disk are read together.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by(|a, b| {
        rows[*a]
            .0
            .cmp(&rows[*b].0)
            .then_with(|| rows[*b].1.cmp(&rows[*a].1))
    });
    for moments in order.chunk_by(|a, b| rows[*a].0 == rows[*b].0) {
        let nearby = Nearby::new(group);
        let group: &dyn View = if moments.len() < KEEP_MOMENTS_MIN {
            group
        } else {
            &nearby
        };
        let mut previous: Option<usize> = None;
        for row in moments {
            match previous.filter(|previous| rows[*previous].1 == rows[*row].1) {
                Some(same) => values.copy(same, *row),
                None => values.fill(*row, reader.read(group, *row)?),
            }
            previous = Some(*row);
        }
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

    fn fill(&mut self, row: usize, values: Vec<(Value, FeatureStatus)>) {
        let lists = self.columns.iter_mut().zip(&mut self.statuses);
        for ((column, statuses), (value, status)) in lists.zip(values) {
            column[row] = value;
            statuses[row] = status;
        }
    }
}

/// One [`ViewRead`] at work.
struct Reader<'a> {
    wanted: &'a ViewRead,
    through: Option<u64>,
    /// The positions of the aggregates among the features, in feature order.
    aggregates: Vec<usize>,
    /// Whether any feature is a column.
    reads_columns: bool,
    /// The current rows, where these are what is asked for: they are read in one round.
    current: Option<Vec<Option<Row>>>,
}

impl<'a> Reader<'a> {
    fn new(group: &dyn View, wanted: &'a ViewRead, through: Option<u64>) -> Result<Self, Fault> {
        let aggregate = |source: &FeatureSource| match source {
            FeatureSource::Column(_) => None,
            FeatureSource::Aggregate(position) => Some(*position),
        };
        let aggregates: Vec<usize> = wanted.sources.iter().filter_map(aggregate).collect();
        let reads_columns = aggregates.len() < wanted.sources.len();
        let is_now = |(_, moment): &(EntityKey, Moment)| matches!(moment, Moment::Now(_));
        let wants_current = reads_columns && through.is_none() && wanted.rows.iter().all(is_now);
        let current = wants_current.then(|| current_rows(group, wanted)).transpose()?;
        Ok(Self {
            wanted,
            through,
            aggregates,
            reads_columns,
            current,
        })
    }

    /// The values of one entity, one per feature.
    fn read(&self, group: &dyn View, row: usize) -> Result<Vec<(Value, FeatureStatus)>, Fault> {
        let found = self.row(group, row)?;
        let (entity, moment) = &self.wanted.rows[row];
        let view = &*self.wanted.view;
        let at = moment.at();
        let mut aggregates = match self.aggregates.as_slice() {
            [] => Vec::new(),
            wanted => read::aggregates(
                group,
                view,
                entity,
                AsOf {
                    at,
                    through: self.through,
                },
                wanted,
            )?,
        }
        .into_iter();
        let value = |source: &FeatureSource| match source {
            FeatureSource::Column(position) => column_value(view, found.as_ref(), *position, at),
            FeatureSource::Aggregate(_) => with_status(aggregates.next().unwrap_or(Value::Null)),
        };
        Ok(self.wanted.sources.iter().map(value).collect())
    }

    /// The row that the columns' values come from.
    fn row(&self, group: &dyn View, row: usize) -> Result<Option<Row>, Fault> {
        let (entity, moment) = &self.wanted.rows[row];
        let at = match moment {
            Moment::Now(_) => None,
            Moment::AsOf(at) => Some(*at),
        };
        match &self.current {
            Some(rows) => Ok(rows[row].clone()),
            None if self.reads_columns => {
                read::latest_row(group, entity, self.wanted.view.id, at, self.through)
            }
            None => Ok(None),
        }
    }
}

fn current_rows(group: &dyn View, wanted: &ViewRead) -> Result<Vec<Option<Row>>, Fault> {
    let key = |(entity, _): &(EntityKey, Moment)| Key::Latest(entity.clone(), wanted.view.id);
    let keys: Vec<Key> = wanted.rows.iter().map(key).collect();
    let row = |record| match record {
        Some(Record::Row(row)) => Some(row),
        _ => None,
    };
    Ok(group.get_many(&keys)?.into_iter().map(row).collect())
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
    match read::row_status(row, view.definition.ttl_micros, at) {
        RowStatus::Expired => (Value::Null, FeatureStatus::OutsideMaxAge),
        // A row of an older schema version is shorter: it has no value for the columns that came later.
        RowStatus::Present => with_status(row.values.get(position).cloned().unwrap_or(Value::Null)),
    }
}

fn with_status(value: Value) -> (Value, FeatureStatus) {
    let status = if value.is_null() {
        FeatureStatus::Null
    } else {
        FeatureStatus::Present
    };
    (value, status)
}

#[cfg(test)]
mod tests {
    use covey_state::window::{HOUR, MINUTE};

    use super::*;
    use crate::features::group::replay::Replay;
    use crate::features::push::sample;

    const NOON: i64 = 12 * HOUR;

    fn jfk() -> Value {
        Value::String("JFK".to_owned())
    }

    fn wind(number: f64) -> Vec<Value> {
        vec![Value::Float64(number), Value::Null]
    }

    /// `wind`, `gust` and the mean wind of three hours.
    fn read(
        replay: &Replay,
        entity: &str,
        moment: Moment,
        through: Option<u64>,
    ) -> Vec<(Value, FeatureStatus)> {
        let sources = [
            FeatureSource::Column(0),
            FeatureSource::Column(1),
            FeatureSource::Aggregate(0),
        ];
        let wanted = ViewRead {
            view: Arc::new(sample::weather()),
            sources: sources.into(),
            rows: vec![(EntityKey::text(entity), moment)],
        };
        let values = read_values(&replay.group, &wanted, through).unwrap();
        let columns = values.columns.into_iter().zip(values.statuses);
        columns
            .map(|(column, statuses)| (column[0].clone(), statuses[0]))
            .collect()
    }

    fn as_of(at: i64) -> Moment {
        Moment::AsOf(Timestamp::from_micros(at))
    }

    #[test]
    fn a_training_read_sees_what_an_online_read_saw_before_the_correction() {
        let mut replay = Replay::of(sample::weather());
        replay.push(jfk(), NOON - HOUR, wind(2.0));
        let through = replay.push(jfk(), NOON, wind(4.0));
        let served = read(&replay, "JFK", Moment::Now(Timestamp::from_micros(NOON)), None);
        replay.push(jfk(), NOON, wind(9.0));
        replay.push(jfk(), NOON - 2 * HOUR, wind(100.0));
        assert_eq!(read(&replay, "JFK", as_of(NOON), Some(through)), served);
        assert_eq!(served[0], (Value::Float64(4.0), FeatureStatus::Present));
        assert_eq!(served[1], (Value::Null, FeatureStatus::Null));
        assert_eq!(served[2], (Value::Float64(3.0), FeatureStatus::Present));
        assert_eq!(read(&replay, "JFK", as_of(NOON), None)[0].0, Value::Float64(9.0));
    }

    #[test]
    fn nothing_after_the_moment_is_seen() {
        let mut replay = Replay::of(sample::weather());
        replay.push(jfk(), NOON, wind(2.0));
        replay.push(jfk(), NOON + 1, wind(4.0));
        let values = read(&replay, "JFK", as_of(NOON), None);
        assert_eq!(values[0].0, Value::Float64(2.0));
        assert_eq!(values[2].0, Value::Float64(2.0));
    }

    #[test]
    fn a_row_beyond_its_age_yields_null_and_an_unknown_entity_is_not_found() {
        let mut replay = Replay::of(sample::weather());
        replay.push(jfk(), NOON, wind(2.0));
        let (fresh, stale) = (as_of(NOON + HOUR), as_of(NOON + HOUR + MINUTE));
        assert_eq!(read(&replay, "JFK", fresh, None)[0].1, FeatureStatus::Present);
        assert_eq!(
            read(&replay, "JFK", stale, None)[0],
            (Value::Null, FeatureStatus::OutsideMaxAge)
        );
        assert_eq!(
            read(&replay, "LGA", fresh, None)[0],
            (Value::Null, FeatureStatus::NotFound)
        );
        assert_eq!(
            read(&replay, "LGA", fresh, None)[2],
            (Value::Null, FeatureStatus::Null)
        );
    }

    #[test]
    fn equal_rows_of_one_read_get_equal_values_in_their_own_places() {
        let mut replay = Replay::of(sample::weather());
        replay.push(jfk(), NOON, wind(2.0));
        let (jfk, lga) = (EntityKey::text("JFK"), EntityKey::text("LGA"));
        let wanted = ViewRead {
            view: Arc::new(sample::weather()),
            sources: [FeatureSource::Column(0)].into(),
            rows: [&jfk, &lga, &jfk]
                .map(|entity| (entity.clone(), as_of(NOON)))
                .into(),
        };
        let values = read_values(&replay.group, &wanted, None).unwrap();
        assert_eq!(
            values.columns,
            [[Value::Float64(2.0), Value::Null, Value::Float64(2.0)]]
        );
    }
}
