//! Files of rows, read batch by batch: Parquet, CSV with a header, and JSON lines.
//!
//! A cell that is not of its column's type stays what it is, so that the node can refuse that row with its reason.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::csv::reader::Format;
use arrow::datatypes::{
    DataType as ArrowType, Field, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use covey_proto::{convert::table, v1};
use covey_state::{DataType, Timestamp, Value};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::cell;
use super::trouble::Trouble;

/// Wanted types by column name; a column without one is read by its looks.
pub(crate) type Types = BTreeMap<String, DataType>;

/// Some rows of a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Batch {
    /// The columns' names.
    pub(crate) names: Vec<String>,
    /// The columns, in the order of their names and all equally long.
    pub(crate) columns: Vec<Vec<Value>>,
}

impl Batch {
    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    /// Takes a column out, if it is there.
    pub(crate) fn take(&mut self, name: &str) -> Option<Vec<Value>> {
        let position = self.names.iter().position(|known| known == name)?;
        self.names.remove(position);
        Some(self.columns.remove(position))
    }

    /// Gives columns other names.
    pub(crate) fn rename(&mut self, renames: &[(String, String)]) {
        for name in &mut self.names {
            if let Some((_, to)) = renames.iter().find(|(from, _)| from == name) {
                name.clone_from(to);
            }
        }
    }

    /// Keeps only the columns that are wanted, and answers with the names of the others.
    pub(crate) fn keep(&mut self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let others: Vec<String> = self.names.iter().filter(|name| !wanted(name)).cloned().collect();
        for name in &others {
            self.take(name);
        }
        others
    }

    /// Brings every cell to its column's wanted type, where that loses nothing.
    pub(crate) fn convert(&mut self, types: &Types) {
        for (name, column) in self.names.iter().zip(&mut self.columns) {
            let wanted = types.get(name).copied();
            for value in column {
                *value = cell::of_value(std::mem::replace(value, Value::Null), wanted);
            }
        }
    }

    /// The rows as they go over the wire.
    pub(crate) fn into_wire(self) -> v1::Table {
        table::to_wire(self.names, self.columns)
    }
}

enum Source {
    Parquet(ParquetRecordBatchReader),
    Csv(Box<arrow::csv::Reader<File>>),
    Lines(Lines<BufReader<File>>),
}

/// A file that is being read.
pub(crate) struct Sheet {
    source: Source,
    types: Types,
    rows_per_batch: usize,
    /// The number of rows, if the file says it.
    pub(crate) rows: Option<u64>,
}

impl Sheet {
    /// Opens a file; its extension says what it is. `types` are by the names in the file.
    pub(crate) fn open(path: &Path, types: Types, rows_per_batch: usize) -> Result<Self, Trouble> {
        let file = File::open(path).map_err(|error| Trouble::file(path, &error))?;
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or_default();
        let unreadable = |error: &dyn std::error::Error| Trouble::file(path, error);
        let (source, rows) = match extension {
            "parquet" => {
                let builder =
                    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| unreadable(&error))?;
                let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
                let reader = builder
                    .with_batch_size(rows_per_batch)
                    .build()
                    .map_err(|error| unreadable(&error))?;
                (Source::Parquet(reader), rows)
            }
            "csv" => (
                Source::Csv(Box::new(csv_reader(file, path, rows_per_batch)?)),
                None,
            ),
            "jsonl" | "ndjson" => (Source::Lines(BufReader::new(file).lines()), None),
            other => {
                let what = format!("file `{}` has the extension `{other}`", path.display());
                return Err(Trouble::usage(what, "give a .parquet, .csv or .jsonl file"));
            }
        };
        Ok(Self {
            source,
            types,
            rows_per_batch,
            rows,
        })
    }

    /// The next rows, or `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, Trouble> {
        let next = match &mut self.source {
            Source::Parquet(reader) => reader.next(),
            Source::Csv(reader) => reader.next(),
            Source::Lines(lines) => return next_lines(lines, &self.types, self.rows_per_batch),
        };
        let Some(read) = next else { return Ok(None) };
        let read =
            read.map_err(|error| Trouble::refused(format!("cannot read rows: {error}"), "mend the file"))?;
        self.batch(&read).map(Some)
    }

    fn batch(&self, read: &RecordBatch) -> Result<Batch, Trouble> {
        let mut batch = Batch::default();
        for (field, array) in read.schema_ref().fields().iter().zip(read.columns()) {
            let values = match &self.source {
                Source::Csv(_) => texts(array, self.types.get(field.name()).copied()),
                Source::Parquet(_) | Source::Lines(_) => values(array).map_err(|reason| {
                    Trouble::refused(
                        format!("column `{}`: {reason}", field.name()),
                        "write it as another type",
                    )
                })?,
            };
            batch.names.push(field.name().clone());
            batch.columns.push(values);
        }
        batch.convert(&self.types);
        Ok(batch)
    }
}

/// A reader that takes every cell as text.
fn csv_reader(file: File, path: &Path, rows: usize) -> Result<arrow::csv::Reader<File>, Trouble> {
    let unreadable = |error: &dyn std::error::Error| Trouble::file(path, error);
    let format = Format::default().with_header(true);
    let head = File::open(path).map_err(|error| unreadable(&error))?;
    let (schema, _) = format
        .infer_schema(head, Some(0))
        .map_err(|error| unreadable(&error))?;
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), ArrowType::Utf8, true))
        .collect();
    let builder = arrow::csv::ReaderBuilder::new(Arc::new(Schema::new(fields)));
    builder
        .with_header(true)
        .with_batch_size(rows)
        .build(file)
        .map_err(|error| unreadable(&error))
}

fn texts(array: &dyn Array, wanted: Option<DataType>) -> Vec<Value> {
    let texts = array.as_string::<i32>();
    texts
        .iter()
        .map(|text| text.map_or(Value::Null, |text| cell::of_text(text, wanted)))
        .collect()
}

/// The values of an Arrow column of any type that Covey has a type for.
fn values(array: &dyn Array) -> Result<Vec<Value>, String> {
    let wanted = match array.data_type() {
        ArrowType::Null => return Ok(vec![Value::Null; array.len()]),
        ArrowType::Boolean => ArrowType::Boolean,
        kind if kind.is_integer() => ArrowType::Int64,
        kind if kind.is_floating() => ArrowType::Float64,
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View | ArrowType::Dictionary(..) => {
            ArrowType::Utf8
        }
        ArrowType::Timestamp(..) | ArrowType::Date32 | ArrowType::Date64 => {
            ArrowType::Timestamp(TimeUnit::Microsecond, None)
        }
        other => return Err(format!("type {other} has no counterpart")),
    };
    let array = cast(array, &wanted).map_err(|error| error.to_string())?;
    Ok(match wanted {
        ArrowType::Boolean => present(array.as_boolean().iter(), Value::Bool),
        ArrowType::Int64 => present(array.as_primitive::<Int64Type>().iter(), Value::Int64),
        ArrowType::Float64 => present(array.as_primitive::<Float64Type>().iter(), Value::Float64),
        ArrowType::Utf8 => present(array.as_string::<i32>().iter(), |text| {
            Value::String(text.to_owned())
        }),
        _ => {
            let times = array.as_primitive::<TimestampMicrosecondType>().iter();
            present(times, |micros| Value::Timestamp(Timestamp::from_micros(micros)))
        }
    })
}

fn present<T>(cells: impl Iterator<Item = Option<T>>, value: impl Fn(T) -> Value) -> Vec<Value> {
    cells.map(|cell| cell.map_or(Value::Null, &value)).collect()
}

/// The next lines as rows. Columns are in order of first appearance; what a line leaves out is null.
fn next_lines(
    lines: &mut Lines<BufReader<File>>,
    types: &Types,
    limit: usize,
) -> Result<Option<Batch>, Trouble> {
    let mut batch = Batch::default();
    let mut rows = 0;
    for line in lines.by_ref() {
        let line =
            line.map_err(|error| Trouble::refused(format!("cannot read a line: {error}"), "mend the file"))?;
        if line.trim().is_empty() {
            continue;
        }
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&line).map_err(|error| {
                Trouble::refused(
                    format!("line `{}` is no JSON object: {error}", shortened(&line)),
                    "mend the file",
                )
            })?;
        for (name, json) in &object {
            let position = batch
                .names
                .iter()
                .position(|known| known == name)
                .unwrap_or_else(|| {
                    batch.names.push(name.clone());
                    batch.columns.push(vec![Value::Null; rows]);
                    batch.names.len() - 1
                });
            batch.columns[position].push(cell::of_json(json, types.get(name).copied()));
        }
        rows += 1;
        for column in &mut batch.columns {
            column.resize(rows, Value::Null);
        }
        if rows == limit {
            break;
        }
    }
    Ok((rows > 0).then_some(batch))
}

fn shortened(line: &str) -> String {
    line.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Batch {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let types = Types::from([
            ("temp".to_owned(), DataType::Float64),
            ("at".to_owned(), DataType::Timestamp),
        ]);
        let mut sheet = Sheet::open(&path, types, 100).unwrap();
        let batch = sheet.next_batch().unwrap().unwrap();
        assert_eq!(sheet.next_batch().unwrap(), None);
        batch
    }

    #[test]
    fn a_bad_cell_of_a_csv_file_stays_a_text_and_the_others_are_typed() {
        let batch = read(
            "rows.csv",
            "origin,temp,at\nJFK,39,2013-01-01T00:00:00Z\nEWR,NA,\n",
        );
        assert_eq!(batch.names, ["origin", "temp", "at"]);
        assert_eq!(
            batch.columns[1],
            [Value::Float64(39.0), Value::String("NA".to_owned())]
        );
        assert!(matches!(batch.columns[2][..], [Value::Timestamp(_), Value::Null]));
    }

    #[test]
    fn json_lines_may_leave_columns_out() {
        let batch = read(
            "rows.jsonl",
            "{\"origin\":\"JFK\"}\n\n{\"temp\":40,\"origin\":\"EWR\"}\n",
        );
        assert_eq!(batch.rows(), 2);
        assert_eq!(batch.columns[1], [Value::Null, Value::Float64(40.0)]);
    }

    #[test]
    fn a_file_of_another_kind_is_refused_with_the_known_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.xlsx");
        std::fs::write(&path, "").unwrap();
        let refused = Sheet::open(&path, Types::new(), 1)
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("xlsx") && refused.contains(".parquet"),
            "{refused}"
        );
    }
}
