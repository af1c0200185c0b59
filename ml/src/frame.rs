//! A columnar batch of rows: the only form in which data enters this crate.
//!
//! It is not a query engine: it can slice, pick and join rows, and nothing else.
//!
//! Invariants: every column has as many values as the frame has rows; names are unique. Integers, booleans
//! and timestamps arrive as floats; a missing number is NaN and a missing text is `None`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The kind of values a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueKind {
    /// Numbers, NaN where missing.
    Float,
    /// Texts, `None` where missing.
    Text,
}

impl fmt::Display for ValueKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            ValueKind::Float => "float",
            ValueKind::Text => "text",
        })
    }
}

/// The values of one column, one per row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ColumnValues {
    /// Numbers. NaN and the infinities count as missing wherever a feature is read.
    Float(Vec<f64>),
    /// Texts.
    Text(Vec<Option<String>>),
}

impl ColumnValues {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            ColumnValues::Float(values) => values.len(),
            ColumnValues::Text(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The kind of the values.
    pub fn kind(&self) -> ValueKind {
        match self {
            ColumnValues::Float(_) => ValueKind::Float,
            ColumnValues::Text(_) => ValueKind::Text,
        }
    }

    fn slice(&self, range: Range<usize>) -> ColumnValues {
        match self {
            ColumnValues::Float(values) => ColumnValues::Float(values[range].to_vec()),
            ColumnValues::Text(values) => ColumnValues::Text(values[range].to_vec()),
        }
    }

    fn keep(&self, kept: &[bool]) -> ColumnValues {
        fn pick<T: Clone>(values: &[T], kept: &[bool]) -> Vec<T> {
            values
                .iter()
                .zip(kept)
                .filter(|(_, keep)| **keep)
                .map(|(value, _)| value.clone())
                .collect()
        }
        match self {
            ColumnValues::Float(values) => ColumnValues::Float(pick(values, kept)),
            ColumnValues::Text(values) => ColumnValues::Text(pick(values, kept)),
        }
    }
}

/// A named column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its name, unique in its frame.
    pub name: String,
    /// One value per row.
    pub values: ColumnValues,
}

impl Column {
    /// A column of numbers, NaN where missing.
    pub fn float(name: impl Into<String>, values: Vec<f64>) -> Column {
        Column {
            name: name.into(),
            values: ColumnValues::Float(values),
        }
    }

    /// A column of texts.
    pub fn text(name: impl Into<String>, values: Vec<Option<String>>) -> Column {
        Column {
            name: name.into(),
            values: ColumnValues::Text(values),
        }
    }
}

/// A batch of rows, column by column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Column>", into = "Vec<Column>")]
pub struct Frame {
    columns: Vec<Column>,
    rows: usize,
}

impl TryFrom<Vec<Column>> for Frame {
    type Error = Error;

    fn try_from(columns: Vec<Column>) -> Result<Frame> {
        Frame::new(columns)
    }
}

impl From<Frame> for Vec<Column> {
    fn from(frame: Frame) -> Vec<Column> {
        frame.columns
    }
}

impl Frame {
    /// A frame of equally long, differently named columns.
    pub fn new(columns: Vec<Column>) -> Result<Frame> {
        let rows = columns.first().map_or(0, |column| column.values.len());
        for (position, column) in columns.iter().enumerate() {
            let actual = column.values.len();
            if actual != rows {
                return Err(Error::ColumnLength {
                    name: column.name.clone(),
                    expected: rows,
                    actual,
                });
            }
            if columns[..position]
                .iter()
                .any(|earlier| earlier.name == column.name)
            {
                return Err(Error::DuplicateColumn {
                    name: column.name.clone(),
                });
            }
        }
        Ok(Frame { columns, rows })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns in their order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column of that name, looked for first at `position`: constant time when the caller keeps the
    /// order.
    pub(crate) fn column_near(&self, name: &str, position: usize) -> Result<&Column> {
        let near = self.columns.get(position).filter(|column| column.name == name);
        near.or_else(|| self.column(name))
            .ok_or_else(|| Error::MissingColumn {
                name: name.to_owned(),
            })
    }

    /// The numbers of the column of that name.
    pub fn floats(&self, name: &str) -> Result<&[f64]> {
        self.column_near(name, 0)?.floats()
    }

    /// The texts of the column of that name.
    pub fn texts(&self, name: &str) -> Result<&[Option<String>]> {
        self.column_near(name, 0)?.texts()
    }

    /// The rows of a range, copied.
    pub fn slice(&self, range: Range<usize>) -> Result<Frame> {
        if range.start > range.end || range.end > self.rows {
            return Err(Error::RowRange {
                start: range.start,
                end: range.end,
                rows: self.rows,
            });
        }
        Ok(Frame {
            columns: self.map_values(|values| values.slice(range.clone())),
            rows: range.end - range.start,
        })
    }

    /// The rows whose flag is set; the frame itself when that is all of them.
    pub fn keep(&self, kept: &[bool]) -> Result<Cow<'_, Frame>> {
        if kept.len() != self.rows {
            return Err(Error::Shape {
                what: "row mask",
                expected: self.rows,
                actual: kept.len(),
            });
        }
        let rows = kept.iter().filter(|keep| **keep).count();
        if rows == self.rows {
            return Ok(Cow::Borrowed(self));
        }
        Ok(Cow::Owned(Frame {
            columns: self.map_values(|values| values.keep(kept)),
            rows,
        }))
    }

    /// The rows of several frames with the same columns, one after another.
    pub fn concat(frames: &[Frame]) -> Result<Frame> {
        let Some((first, rest)) = frames.split_first() else {
            return Ok(Frame::default());
        };
        let mut joined = first.clone();
        for frame in rest {
            for (position, column) in joined.columns.iter_mut().enumerate() {
                let more = frame.column_near(&column.name, position)?;
                match &mut column.values {
                    ColumnValues::Float(values) => values.extend_from_slice(more.floats()?),
                    ColumnValues::Text(values) => values.extend_from_slice(more.texts()?),
                }
            }
            joined.rows += frame.rows;
        }
        Ok(joined)
    }

    fn map_values(&self, change: impl Fn(&ColumnValues) -> ColumnValues) -> Vec<Column> {
        let changed = |column: &Column| Column {
            name: column.name.clone(),
            values: change(&column.values),
        };
        self.columns.iter().map(changed).collect()
    }
}

impl Column {
    /// The numbers of this column.
    pub fn floats(&self) -> Result<&[f64]> {
        match &self.values {
            ColumnValues::Float(values) => Ok(values),
            ColumnValues::Text(_) => Err(self.kind_error(ValueKind::Float)),
        }
    }

    /// The texts of this column.
    pub fn texts(&self) -> Result<&[Option<String>]> {
        match &self.values {
            ColumnValues::Text(values) => Ok(values),
            ColumnValues::Float(_) => Err(self.kind_error(ValueKind::Text)),
        }
    }

    fn kind_error(&self, expected: ValueKind) -> Error {
        Error::ColumnKind {
            name: self.name.clone(),
            expected,
            actual: self.values.kind(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Frame {
        Frame::new(vec![
            Column::float("x", vec![1.0, 2.0, f64::NAN]),
            Column::text("c", vec![Some("a".into()), None, Some("b".into())]),
        ])
        .unwrap()
    }

    #[test]
    fn a_frame_refuses_uneven_and_repeated_columns() {
        let uneven = Frame::new(vec![Column::float("x", vec![1.0]), Column::float("y", vec![])]);
        assert_eq!(
            uneven,
            Err(Error::ColumnLength {
                name: "y".into(),
                expected: 1,
                actual: 0
            })
        );
        let repeated = Frame::new(vec![Column::float("x", vec![]), Column::float("x", vec![])]);
        assert_eq!(repeated, Err(Error::DuplicateColumn { name: "x".into() }));
    }

    #[test]
    fn a_wrong_kind_is_named_with_its_column() {
        let error = sample().floats("c").unwrap_err();
        assert_eq!(
            error.to_string(),
            "column \"c\" must hold float values and holds text values"
        );
        assert_eq!(
            sample().texts("z"),
            Err(Error::MissingColumn { name: "z".into() })
        );
    }

    #[test]
    fn a_frame_from_the_wire_is_checked_like_any_other() {
        let uneven = vec![Column::float("x", vec![1.0]), Column::float("y", vec![])];
        let bytes = postcard::to_allocvec(&uneven).unwrap();
        assert!(postcard::from_bytes::<Frame>(&bytes).is_err());
        let bytes = postcard::to_allocvec(&sample()).unwrap();
        assert_eq!(
            postcard::from_bytes::<Frame>(&bytes).unwrap().texts("c"),
            sample().texts("c")
        );
    }

    #[test]
    fn slicing_and_joining_give_the_rows_back() {
        let frame = sample();
        let parts = [frame.slice(0..1).unwrap(), frame.slice(1..3).unwrap()];
        let joined = Frame::concat(&parts).unwrap();
        assert_eq!(joined.texts("c"), frame.texts("c"));
        assert_eq!(joined.rows(), 3);
        assert!(frame.slice(2..4).is_err());
        assert_eq!(
            frame.keep(&[true, false, false]).unwrap().floats("x").unwrap(),
            [1.0]
        );
    }
}
