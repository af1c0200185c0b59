//! The examples of a training set before features are joined to them.

use covey_state::{DataType, Timestamp};

use crate::features::rows::TableRows;

/// A typed column of the examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ExampleColumn {
    /// Its name in the examples' table and in the training set.
    pub(super) name: String,
    /// The type of its values.
    pub(super) data_type: DataType,
}

/// The examples, in the order of the training set.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Examples {
    /// The join keys, what the service takes from its caller, and the label.
    pub(super) table: TableRows,
    /// The time that each example's features are read as of.
    pub(super) at: Vec<Timestamp>,
    /// The columns that name an example.
    pub(super) keys: Vec<ExampleColumn>,
    /// The name of the time column.
    pub(super) timestamp: String,
    /// The label column, if there is one.
    pub(super) label: Option<ExampleColumn>,
}

impl Examples {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }
}
