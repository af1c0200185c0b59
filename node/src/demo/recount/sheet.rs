//! What must be in a view: the questions that are asked of it, and the answers that follow from the input.

use anyhow::{Result, anyhow};
use covey_proto::v1;
use covey_proto::v1::value::Kind;

use crate::demo::table::TableBuilder;

/// One value. Numbers are compared by their bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// No value.
    Null,
    /// A number, a flag or a moment, as its bits.
    Bits(u64),
    /// A text.
    Text(String),
}

/// One question and its answer.
#[derive(Debug, Clone)]
pub(super) struct SheetRow {
    /// The entity.
    pub(super) key: String,
    /// The moment it is asked about; `None` for now.
    pub(super) at: Option<i64>,
    /// One per column.
    pub(super) expected: Vec<Cell>,
}

/// What must be in a view.
#[derive(Debug)]
pub(super) struct Sheet {
    /// The feature service that reads all of it.
    pub(super) service: &'static str,
    /// The join key.
    pub(super) key: &'static str,
    /// The features.
    pub(super) columns: Vec<String>,
    /// The column that counts rows, if there is one.
    pub(super) counts_in: Option<usize>,
    pub(super) rows: Vec<SheetRow>,
}

impl Cell {
    /// A number.
    pub(super) const fn number(number: f64) -> Self {
        Self::Bits(number.to_bits())
    }

    /// A number that may be missing.
    pub(super) fn maybe(number: Option<f64>) -> Self {
        number.map_or(Self::Null, Self::number)
    }

    /// An integer or a moment.
    #[allow(clippy::cast_sign_loss)]
    pub(super) const fn integer(number: i64) -> Self {
        Self::Bits(number as u64)
    }

    /// An integer that may be missing.
    pub(super) fn maybe_integer(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::integer)
    }

    /// A text.
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// How many rows were counted; nothing counts as none.
    pub(super) const fn count(&self) -> u64 {
        match self {
            Self::Bits(count) => *count,
            Self::Null | Self::Text(_) => 0,
        }
    }
}

impl From<&v1::Value> for Cell {
    fn from(value: &v1::Value) -> Self {
        match &value.kind {
            None => Self::Null,
            Some(Kind::BoolValue(flag)) => Self::Bits(u64::from(*flag)),
            Some(Kind::Int64Value(number) | Kind::TimestampMicros(number)) => Self::integer(*number),
            Some(Kind::Float64Value(number)) => Self::number(*number),
            Some(Kind::StringValue(text)) => Self::text(text),
        }
    }
}

impl Sheet {
    /// The keys and the moments to ask for; none for now.
    pub(super) fn questions(&self, rows: &[SheetRow]) -> (v1::Table, Vec<i64>) {
        let keys = TableBuilder::default()
            .texts(self.key, rows.iter().map(|row| row.key.as_str()))
            .build();
        (keys, rows.iter().filter_map(|row| row.at).collect())
    }

    /// The cells of an answer, row by row.
    pub(super) fn cells(&self, table: &v1::Table, rows: usize) -> Result<Vec<Vec<Cell>>> {
        let mut cells = vec![Vec::with_capacity(self.columns.len()); rows];
        for name in &self.columns {
            let found = table.columns.iter().find(|column| column.name == *name);
            let column = found.ok_or_else(|| anyhow!("the reply has no column `{name}`"))?;
            if column.values.len() != rows {
                let given = column.values.len();
                return Err(anyhow!("column `{name}` has {given} values for {rows} rows"));
            }
            for (cells, value) in cells.iter_mut().zip(&column.values) {
                cells.push(Cell::from(value));
            }
        }
        Ok(cells)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_cells_row_by_row_and_must_be_complete() {
        let sheet = Sheet {
            service: "s",
            key: "k",
            columns: vec!["v__b".to_owned(), "v__a".to_owned()],
            counts_in: None,
            rows: Vec::new(),
        };
        let table = TableBuilder::default()
            .integers("v__a", [Some(1), None])
            .texts("v__b", ["x", "y"])
            .build();
        let cells = sheet.cells(&table, 2).unwrap();
        assert_eq!(cells[0], [Cell::text("x"), Cell::integer(1)]);
        assert_eq!(cells[1], [Cell::text("y"), Cell::Null]);
        assert!(sheet.cells(&table, 3).is_err());
        assert!(sheet.cells(&v1::Table::default(), 2).is_err());
    }
}
