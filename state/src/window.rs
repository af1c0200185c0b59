//! Windows over event time: which aggregates there are, which hops they are kept in, and how one is put together.
//!
//! A window of length `w` as of `t` covers the event times in `(floor(t - w), t]`, where `floor` goes down to the hop:
//! whole tiles for the tail and the middle, single rows of history for the head, so that nothing after `t` is seen.
//! (The shape is Chronon's sawtooth window; the sums here are exact, so tiles and rows give the same bits.)

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Timestamp;
use crate::tile::{ColumnTile, Tile};
use crate::value::Value;

/// One second in microseconds.
pub const SECOND: i64 = 1_000_000;
/// One minute in microseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// One hour in microseconds.
pub const HOUR: i64 = 60 * MINUTE;
/// One day in microseconds.
pub const DAY: i64 = 24 * HOUR;
/// The shortest window that can be declared.
pub const WINDOW_MICROS_MIN: i64 = MINUTE;
/// The longest window that can be declared.
pub const WINDOW_MICROS_MAX: i64 = 90 * DAY;

/// The width of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Hop {
    /// Five minutes, for windows under 12 hours.
    FiveMinutes,
    /// One hour, for windows of 12 hours to 12 days.
    Hour,
    /// One day, for longer windows.
    Day,
}

impl Hop {
    /// The width in microseconds.
    pub const fn micros(self) -> i64 {
        match self {
            Self::FiveMinutes => 5 * MINUTE,
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }
}

/// What is computed over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// How many rows had a value.
    Count,
    /// The exact sum, rounded once.
    Sum,
    /// Sum divided by count; null when there is none.
    Mean,
    /// The smallest value; null when there is none.
    Min,
    /// The largest value; null when there is none.
    Max,
    /// The newest value; null when there is none.
    Last,
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
        })
    }
}

/// One aggregate feature of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregate {
    /// The numeric column it is over.
    pub column: String,
    /// What is computed.
    pub function: Function,
    /// The window's length in microseconds.
    pub window_micros: i64,
}

impl Aggregate {
    /// The feature's name, for instance `delay_mean_3h`.
    pub fn name(&self) -> String {
        format!(
            "{}_{}_{}",
            self.column,
            self.function,
            window_text(self.window_micros)
        )
    }

    /// The hop that its tiles are kept in.
    pub const fn hop(&self) -> Hop {
        if self.window_micros >= 12 * DAY {
            Hop::Day
        } else if self.window_micros >= 12 * HOUR {
            Hop::Hour
        } else {
            Hop::FiveMinutes
        }
    }

    /// The parts of event time that the window as of `at` is put together from.
    pub fn span(&self, at: Timestamp) -> Span {
        let hop = self.hop();
        Span {
            hop,
            tail: at.plus_micros(-self.window_micros).floor_to(hop.micros()),
            head: at.floor_to(hop.micros()),
            at,
        }
    }

    /// The feature's value from the merged tile of its window; `position` is its column's place in the tile.
    pub fn value(&self, merged: &Tile, position: usize) -> Value {
        let empty = ColumnTile::default();
        let column = merged.columns.get(position).unwrap_or(&empty);
        let present = |number: Option<f64>| number.map_or(Value::Null, Value::Float64);
        match self.function {
            Function::Count => Value::Int64(i64::try_from(column.count).unwrap_or(i64::MAX)),
            Function::Sum => Value::Float64(column.sum.value()),
            #[allow(clippy::cast_precision_loss)]
            Function::Mean => present((column.count > 0).then(|| column.sum.value() / column.count as f64)),
            Function::Min => present(column.min),
            Function::Max => present(column.max),
            Function::Last => present(column.last.map(|(_, number)| number)),
        }
    }
}

/// The event times that a window is put together from: tiles with start in `[tail, head)`, rows in `[head, at]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    /// The width of its tiles.
    pub hop: Hop,
    /// Start of the first whole tile.
    pub tail: Timestamp,
    /// Start of the hop that `at` falls into; its rows are read one by one.
    pub head: Timestamp,
    /// The moment the window ends, inclusive.
    pub at: Timestamp,
}

/// A length of time in the largest unit that divides it, for instance `90m` or `7d`.
pub fn window_text(micros: i64) -> String {
    for (unit, suffix) in [(DAY, "d"), (HOUR, "h"), (MINUTE, "m"), (SECOND, "s")] {
        if micros % unit == 0 {
            return format!("{}{suffix}", micros / unit);
        }
    }
    format!("{micros}us")
}
