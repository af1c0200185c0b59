//! What can go wrong in this crate: one enum, every variant a refusal that names the field and the value.
//!
//! It holds no panics in disguise: a variant is always the caller's data or settings, never a broken
//! invariant.

use crate::frame::ValueKind;

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A refusal. Deterministic: the same input is refused in the same words on every node.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A column that was asked for is not there.
    #[error("column {name:?} is missing from the frame")]
    MissingColumn {
        /// The name asked for.
        name: String,
    },
    /// A column is there with the wrong kind of values.
    #[error("column {name:?} must hold {expected} values and holds {actual} values")]
    ColumnKind {
        /// The column.
        name: String,
        /// The kind the reader needs.
        expected: ValueKind,
        /// The kind found.
        actual: ValueKind,
    },
    /// Two columns of a frame, or two features, have one name.
    #[error("column {name:?} appears twice")]
    DuplicateColumn {
        /// The repeated name.
        name: String,
    },
    /// The columns of a frame are not equally long, or two frames to be joined differ.
    #[error("column {name:?} has {actual} rows where {expected} are expected")]
    ColumnLength {
        /// The column.
        name: String,
        /// Rows expected.
        expected: usize,
        /// Rows found.
        actual: usize,
    },
    /// A row range reaches past the end of a frame.
    #[error("row range {start}..{end} does not fit a frame of {rows} rows")]
    RowRange {
        /// First row.
        start: usize,
        /// One past the last row.
        end: usize,
        /// Rows of the frame.
        rows: usize,
    },
    /// A label or weight value cannot be used.
    #[error("column {name:?} row {row} holds {value}: {expected}")]
    Value {
        /// The column.
        name: String,
        /// The row, counted from 0 in its partition.
        row: usize,
        /// The value found.
        value: f64,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A setting is outside its range.
    #[error("{name} is {value}: {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value as given.
        value: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A named limit was passed.
    #[error("{what} is {actual}, over the limit of {limit}")]
    Limit {
        /// What is counted.
        what: String,
        /// The count.
        actual: u64,
        /// The limit.
        limit: u64,
    },
    /// There is too little data to do the work.
    #[error("{what}: {actual} found, at least {needed} needed")]
    TooFew {
        /// What is counted.
        what: &'static str,
        /// The count.
        actual: u64,
        /// The least count that would do.
        needed: u64,
    },
    /// Two things that must describe the same shape do not.
    #[error("{what} has size {actual} where {expected} is expected")]
    Shape {
        /// What differs.
        what: &'static str,
        /// Size expected.
        expected: usize,
        /// Size found.
        actual: usize,
    },
    /// A number that must be finite is not.
    #[error("{what} is not finite")]
    NotFinite {
        /// What was computed or read.
        what: &'static str,
    },
    /// A partial answers another task than the one that is due.
    #[error("a partial of task {actual} was given where task {expected} is due")]
    UnexpectedPartial {
        /// The task due.
        expected: &'static str,
        /// The task answered.
        actual: &'static str,
    },
    /// A partial was computed at a trial point of another round.
    #[error("a partial of round {actual} was given where round {expected} is due")]
    StalePartial {
        /// The round due.
        expected: u32,
        /// The round answered.
        actual: u32,
    },
    /// The bytes of an artifact cannot be read.
    #[error("{what} cannot be read: {reason}")]
    Artifact {
        /// What was being read.
        what: &'static str,
        /// Why it was refused.
        reason: String,
    },
    /// A library algorithm refused the data.
    #[error("{algorithm} cannot be fitted: {reason}")]
    Fit {
        /// The algorithm.
        algorithm: &'static str,
        /// The library's own words.
        reason: String,
    },
}
