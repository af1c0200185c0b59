//! Window tiles: un-windowed partial aggregates of one entity's rows over one hop of event time.
//!
//! Invariant: a tile is a function of the set of rows in its hop, not of the order in which they came; a tile rebuilt
//! from history equals the stored one in every value it yields.

use serde::{Deserialize, Serialize};

use crate::exact_sum::ExactSum;
use crate::row::{Row, RowVersion};
use crate::value::Value;

/// The partial aggregates of one column over the rows of one hop. Nulls count for nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ColumnTile {
    /// How many rows had a value.
    pub count: u64,
    /// The exact sum of the values.
    pub sum: ExactSum,
    /// The smallest value.
    pub min: Option<f64>,
    /// The largest value.
    pub max: Option<f64>,
    /// The value of the newest row that had one, with that row's place in the order.
    pub last: Option<(RowVersion, f64)>,
}

/// The partial aggregates of every aggregated column over one hop.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tile {
    /// The log index of the newest row counted here: a read as of an older index rebuilds the tile from history.
    pub through: u64,
    /// How many rows fell into the hop, whatever they held.
    pub rows: u64,
    /// One entry per aggregated column, in the order of [`crate::catalog::FeatureView::aggregated_columns`].
    pub columns: Vec<ColumnTile>,
}

impl ColumnTile {
    fn observe(&mut self, version: RowVersion, number: f64) {
        self.count += 1;
        self.sum.add(number);
        self.min = Some(self.min.map_or(number, |least| least.min(number)));
        self.max = Some(self.max.map_or(number, |most| most.max(number)));
        if self.last.is_none_or(|(newest, _)| newest < version) {
            self.last = Some((version, number));
        }
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum.merge(&other.sum);
        self.min = least(self.min, other.min);
        self.max = most(self.max, other.max);
        if other
            .last
            .is_some_and(|(version, _)| self.last.is_none_or(|(newest, _)| newest < version))
        {
            self.last = other.last;
        }
    }
}

impl Tile {
    /// A tile of no rows over `columns` aggregated columns.
    pub fn empty(columns: usize) -> Self {
        Self {
            through: 0,
            rows: 0,
            columns: vec![ColumnTile::default(); columns],
        }
    }

    /// Counts `row`, whose aggregated columns stand at `positions` among its values.
    pub fn observe(&mut self, row: &Row, positions: &[usize]) {
        self.through = self.through.max(row.log_index);
        self.rows += 1;
        self.columns
            .resize(positions.len().max(self.columns.len()), ColumnTile::default());
        for (column, position) in self.columns.iter_mut().zip(positions) {
            if let Some(number) = row.values.get(*position).and_then(Value::as_number) {
                column.observe(row.version(), number);
            }
        }
    }

    /// Counts everything that `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        self.through = self.through.max(other.through);
        self.rows += other.rows;
        self.columns
            .resize(other.columns.len().max(self.columns.len()), ColumnTile::default());
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            mine.merge(theirs);
        }
    }
}

fn least(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}

fn most(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, None) | (None, one) => one,
    }
}
