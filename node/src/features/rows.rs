//! Rows of named columns inside the process: what requests carry and what vectors come back as.
//!
//! Invariant: names are unique and all columns have the same length.

use covey_proto::convert::table;
use covey_proto::v1::Table;
use covey_state::{DataType, Timestamp, Value};

use crate::error::Failure;

/// The largest integer that every smaller one can be written as a float exactly: 2^53.
const EXACT_FLOAT_MAX: u64 = 1 << 53;

/// Rows of named columns, column by column.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct TableRows {
    names: Vec<String>,
    columns: Vec<Vec<Value>>,
    rows: usize,
}

impl TableRows {
    /// A table of equally long, differently named columns; `field` is its path in errors.
    pub(crate) fn new(field: &str, names: Vec<String>, columns: Vec<Vec<Value>>) -> Result<Self, Failure> {
        let rows = columns.first().map_or(0, Vec::len);
        for (position, (name, column)) in names.iter().zip(&columns).enumerate() {
            if column.len() != rows {
                let reason = format!(
                    "column `{name}` has {} values, the first one has {rows}",
                    column.len()
                );
                return Err(Failure::invalid(field, reason));
            }
            if names[..position].contains(name) {
                return Err(Failure::invalid(field, format!("column `{name}` is given twice")));
            }
        }
        Ok(Self { names, columns, rows })
    }

    /// A table from the wire; `field` is its path in errors.
    pub(crate) fn from_wire(field: &str, wire: Table) -> Result<Self, Failure> {
        let (names, columns) =
            table::from_wire(wire).map_err(|error| Failure::invalid(field, error.to_string()))?;
        Self::new(field, names, columns)
    }

    /// The table as it goes over the wire.
    pub(crate) fn into_wire(self) -> Table {
        table::to_wire(self.names, self.columns)
    }

    /// The number of rows.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// The names of the columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The columns, in the order of their names.
    pub(crate) fn columns(&self) -> &[Vec<Value>] {
        &self.columns
    }

    /// The column of that name.
    pub(crate) fn column(&self, name: &str) -> Option<&[Value]> {
        let position = self.names.iter().position(|known| known == name)?;
        Some(&self.columns[position])
    }

    /// The names for an error text.
    pub(crate) fn names_text(&self) -> String {
        quoted(&self.names)
    }
}

/// Names for an error text: "`a`, `b`".
pub(crate) fn quoted(names: &[impl AsRef<str>]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names
            .iter()
            .map(|name| format!("`{}`", name.as_ref()))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The value as `wanted`, if that loses nothing: an integer below 2^53 is also a float. Anything else stays as it is.
pub(crate) fn widen(value: &Value, wanted: DataType) -> Value {
    match (value, wanted) {
        #[allow(clippy::cast_precision_loss)]
        (Value::Int64(number), DataType::Float64) if number.unsigned_abs() <= EXACT_FLOAT_MAX => {
            Value::Float64(*number as f64)
        }
        (value, _) => value.clone(),
    }
}

/// The values of a column as moments; null and other types are refused, with the row's number.
pub(crate) fn moments(field: &str, name: &str, column: &[Value]) -> Result<Vec<Timestamp>, Failure> {
    let moment = |(row, value): (usize, &Value)| match value {
        Value::Timestamp(at) => Ok(*at),
        other => {
            let found = other
                .data_type()
                .map_or("null".to_owned(), |found| found.to_string());
            Err(Failure::invalid(
                field,
                format!("`{name}` of row {row} must be a timestamp and is {found}"),
            ))
        }
    };
    column.iter().enumerate().map(moment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uneven_and_repeated_columns_are_refused_by_name() {
        let uneven = TableRows::new(
            "rows",
            vec!["a".into(), "b".into()],
            vec![vec![Value::Null], Vec::new()],
        )
        .unwrap_err();
        assert_eq!(
            uneven.to_string(),
            "rows is invalid: column `b` has 0 values, the first one has 1"
        );
        let repeated =
            TableRows::new("rows", vec!["a".into(), "a".into()], vec![Vec::new(), Vec::new()]).unwrap_err();
        assert_eq!(repeated.to_string(), "rows is invalid: column `a` is given twice");
    }

    #[test]
    fn an_integer_is_widened_only_where_it_stays_itself() {
        assert_eq!(widen(&Value::Int64(3), DataType::Float64), Value::Float64(3.0));
        let large = Value::Int64(i64::MAX);
        assert_eq!(widen(&large, DataType::Float64), large);
        assert_eq!(widen(&Value::Int64(3), DataType::String), Value::Int64(3));
    }

    #[test]
    fn a_moment_that_is_missing_is_named_with_its_row() {
        let column = [Value::Timestamp(Timestamp::from_micros(1)), Value::Null];
        let error = moments("rows", "event_time", &column).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rows is invalid: `event_time` of row 1 must be a timestamp and is null"
        );
    }
}
