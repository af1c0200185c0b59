//! Values as Arrow arrays, and arrays as the bytes of a Parquet file.
//!
//! Invariant: the same arrays give the same bytes: fixed settings, no time, no name of a version, one writer.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType as ArrowType, TimeUnit};
use bytes::Bytes;
use covey_state::{DataType, Value};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};

use crate::error::Failure;

/// The writer that the file names: one text for all versions, so that the bytes stay the same.
const CREATED_BY: &str = "covey";
/// The time zone of every timestamp.
const UTC: &str = "UTC";

/// The Arrow type of a column.
pub(super) fn arrow_type(data_type: DataType) -> ArrowType {
    match data_type {
        DataType::Bool => ArrowType::Boolean,
        DataType::Int64 => ArrowType::Int64,
        DataType::Float64 => ArrowType::Float64,
        DataType::String => ArrowType::Utf8,
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
    }
}

/// The values of a column as an Arrow array; `name` is for the error.
pub(super) fn array(name: &str, data_type: DataType, values: &[Value]) -> Result<ArrayRef, Failure> {
    if let Some(other) = values
        .iter()
        .find(|value| value.data_type().is_some_and(|found| found != data_type))
    {
        return Err(Failure::internal(
            "laying out a dataset",
            format!("`{name}` is {data_type} and holds {other}"),
        ));
    }
    let boolean = |value: &Value| {
        if let Value::Bool(flag) = value {
            Some(*flag)
        } else {
            None
        }
    };
    let integer = |value: &Value| {
        if let Value::Int64(number) = value {
            Some(*number)
        } else {
            None
        }
    };
    let float = |value: &Value| {
        if let Value::Float64(number) = value {
            Some(*number)
        } else {
            None
        }
    };
    let moment = |value: &Value| {
        if let Value::Timestamp(at) = value {
            Some(at.micros())
        } else {
            None
        }
    };
    Ok(match data_type {
        DataType::Bool => Arc::new(values.iter().map(boolean).collect::<BooleanArray>()),
        DataType::Int64 => Arc::new(values.iter().map(integer).collect::<Int64Array>()),
        DataType::Float64 => Arc::new(values.iter().map(float).collect::<Float64Array>()),
        DataType::String => Arc::new(values.iter().map(text).collect::<StringArray>()),
        DataType::Timestamp => Arc::new(
            values
                .iter()
                .map(moment)
                .collect::<TimestampMicrosecondArray>()
                .with_timezone(UTC),
        ),
    })
}

fn text(value: &Value) -> Option<&str> {
    if let Value::String(text) = value {
        Some(text)
    } else {
        None
    }
}

/// The bytes of a Parquet file with one row group per batch.
pub(super) fn parquet(batches: &[RecordBatch]) -> Result<Bytes, Failure> {
    write(batches).map_err(|error| Failure::internal("encoding a dataset", error))
}

fn write(batches: &[RecordBatch]) -> Result<Bytes, parquet::errors::ParquetError> {
    let Some(first) = batches.first() else {
        return Ok(Bytes::new());
    };
    let properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, first.schema(), options)?;
    for batch in batches {
        writer.write(batch)?;
        writer.flush()?;
    }
    writer.close()?;
    Ok(bytes.into())
}
