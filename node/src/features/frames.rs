//! Training sets as frames for the models: text stays text, everything else becomes a number.
//!
//! Invariant: a value becomes the number or the text that serving makes of it too.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType as ArrowType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use bytes::Bytes;
use covey_ml::frame::{Column, Frame};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::error::{BoxError, Failure};

/// The frames of a training set's logical partitions, from the bytes of its file and the sizes in its manifest.
pub(crate) fn partitions(bytes: Bytes, sizes: &[u64]) -> Result<Vec<Frame>, Failure> {
    let whole = read(bytes).map_err(|error| Failure::internal("reading a dataset", error))?;
    let rows: u64 = sizes.iter().sum();
    if rows != whole.num_rows() as u64 {
        let source = format!(
            "the manifest names {rows} rows, the file holds {}",
            whole.num_rows()
        );
        return Err(Failure::internal("reading a dataset", source));
    }
    let mut start = 0;
    let mut frames = Vec::with_capacity(sizes.len());
    for size in sizes {
        let end = start + usize::try_from(*size).unwrap_or(usize::MAX);
        frames.push(frame_of_batch(&whole, start..end)?);
        start = end;
    }
    Ok(frames)
}

fn read(bytes: Bytes) -> Result<RecordBatch, BoxError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let schema = builder.schema().clone();
    let batches = builder.build()?.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

fn frame_of_batch(batch: &RecordBatch, range: Range<usize>) -> Result<Frame, Failure> {
    let schema = batch.schema();
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        let array = array.slice(range.start, range.len());
        columns.push(column_of_array(field.name(), &array)?);
    }
    frame(columns)
}

/// A missing number is NaN; a time is a number of microseconds.
#[allow(
    clippy::cast_precision_loss,
    reason = "models compute with floats, on both sides"
)]
fn column_of_array(name: &str, array: &ArrayRef) -> Result<Column, Failure> {
    let numbers = |value: &dyn Fn(usize) -> f64| {
        let number = |row| if array.is_null(row) { f64::NAN } else { value(row) };
        Column::float(name, (0..array.len()).map(number).collect())
    };
    match array.data_type() {
        ArrowType::Boolean => Ok(numbers(&|row| f64::from(u8::from(array.as_boolean().value(row))))),
        ArrowType::Int64 => Ok(numbers(&|row| {
            array.as_primitive::<Int64Type>().value(row) as f64
        })),
        ArrowType::Float64 => Ok(numbers(&|row| array.as_primitive::<Float64Type>().value(row))),
        ArrowType::Timestamp(TimeUnit::Microsecond, _) => Ok(numbers(&|row| {
            array.as_primitive::<TimestampMicrosecondType>().value(row) as f64
        })),
        ArrowType::Utf8 => {
            let texts = array.as_string::<i32>();
            Ok(Column::text(
                name,
                texts.iter().map(|text| text.map(str::to_owned)).collect(),
            ))
        }
        other => Err(Failure::internal(
            "reading a dataset",
            format!("column `{name}` is {other}"),
        )),
    }
}

fn frame(columns: Vec<Column>) -> Result<Frame, Failure> {
    Frame::new(columns).map_err(|error| Failure::internal("framing features", error))
}
