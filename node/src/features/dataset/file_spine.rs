//! Examples from a Parquet file that the caller has uploaded, in the file's own order.

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType as ArrowType, Float64Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use bytes::Bytes;
use covey_state::dataset::{DatasetSpec, Spine};
use covey_state::{DataType, Timestamp, Value};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::encode::arrow_type;
use super::examples::{ExampleColumn, Examples};
use crate::context::Context;
use crate::error::Failure;
use crate::features::rows::{TableRows, moments, quoted};
use crate::features::service_plan::ServicePlan;

/// Rows of one file.
const FILE_ROWS_MAX: usize = 20_000_000;

/// Reads the examples of the file.
pub(super) async fn read(ctx: &Context, spec: &DatasetSpec, plan: &ServicePlan) -> Result<Examples, Failure> {
    let Spine::File { artifact, timestamp } = &spec.spine else {
        return Err(Failure::internal("reading a spine", "it is not a file"));
    };
    let bytes = ctx.artifacts.load(artifact).await?;
    let keys = key_names(plan);
    let mut wanted: Vec<String> = Vec::new();
    let inputs = plan
        .inputs()
        .into_iter()
        .chain([timestamp.as_str()])
        .chain(spec.label.as_deref());
    for name in inputs.map(str::to_owned) {
        if !wanted.contains(&name) {
            wanted.push(name);
        }
    }
    let (table, types) = ctx.compute.run(move || read_columns(bytes, wanted)).await?;
    let column = |name: &String| {
        let position = table.names().iter().position(|known| known == name);
        let position = position.expect("every wanted column has been read");
        ExampleColumn {
            name: name.clone(),
            data_type: types[position],
        }
    };
    let times = table.column(timestamp).unwrap_or_default();
    let at: Vec<Timestamp> = moments("spine.file", timestamp, times)?;
    let (keys, label) = (keys.iter().map(column).collect(), spec.label.as_ref().map(column));
    Ok(Examples {
        at,
        keys,
        timestamp: timestamp.clone(),
        label,
        table,
    })
}

/// The join keys of the service's views, each once.
fn key_names(plan: &ServicePlan) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for key in plan.views.iter().flat_map(|plan| &plan.view.join_keys) {
        if !names.contains(&key.name) {
            names.push(key.name.clone());
        }
    }
    names
}

/// The wanted columns of a Parquet file, with their types.
fn read_columns(bytes: Bytes, wanted: Vec<String>) -> Result<(TableRows, Vec<DataType>), Failure> {
    let unreadable = |error: &dyn std::error::Error| {
        Failure::invalid("spine.file", format!("not a readable Parquet file: {error}"))
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| unreadable(&error))?;
    let positions = positions(builder.schema(), &wanted)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), positions);
    let reader = builder
        .with_projection(mask)
        .build()
        .map_err(|error| unreadable(&error))?;
    let mut types: Vec<Option<DataType>> = vec![None; wanted.len()];
    let mut columns: Vec<Vec<Value>> = vec![Vec::new(); wanted.len()];
    for batch in reader {
        let batch = batch.map_err(|error| unreadable(&error))?;
        for ((name, values), data_type) in wanted.iter().zip(&mut columns).zip(&mut types) {
            let array = batch
                .column_by_name(name)
                .expect("the projection holds every wanted column");
            let found = column_type(name, array.data_type())?;
            *data_type = Some(found);
            append(name, array, found, values)?;
        }
        if columns.first().is_some_and(|column| column.len() > FILE_ROWS_MAX) {
            return Err(Failure::invalid(
                "spine.file",
                format!("it has more than {FILE_ROWS_MAX} rows"),
            ));
        }
    }
    let types = types
        .into_iter()
        .map(|found| found.unwrap_or(DataType::String))
        .collect();
    Ok((TableRows::new("spine.file", wanted, columns)?, types))
}

fn positions(schema: &SchemaRef, wanted: &[String]) -> Result<Vec<usize>, Failure> {
    let position = |name: &String| {
        schema.index_of(name).map_err(|_| {
            let known: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
            let reason = format!("it has no column `{name}`; given: {}", quoted(&known));
            Failure::invalid("spine.file", reason)
        })
    };
    wanted.iter().map(position).collect()
}

/// The type that values of an Arrow type are read as.
fn column_type(name: &str, arrow: &ArrowType) -> Result<DataType, Failure> {
    match arrow {
        ArrowType::Boolean => Ok(DataType::Bool),
        integer if integer.is_integer() => Ok(DataType::Int64),
        float if float.is_floating() => Ok(DataType::Float64),
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => Ok(DataType::String),
        ArrowType::Dictionary(_, values) => column_type(name, values),
        ArrowType::Timestamp(_, _) | ArrowType::Date32 | ArrowType::Date64 => Ok(DataType::Timestamp),
        other => Err(Failure::invalid(
            "spine.file",
            format!("column `{name}` is {other}, which is not supported"),
        )),
    }
}

fn append(
    name: &str,
    array: &dyn Array,
    data_type: DataType,
    values: &mut Vec<Value>,
) -> Result<(), Failure> {
    // A timestamp without a zone is taken as UTC, so the zone does not matter here.
    let target = match data_type {
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Bool | DataType::Int64 | DataType::Float64 | DataType::String => arrow_type(data_type),
    };
    let unreadable = |error| Failure::invalid("spine.file", format!("column `{name}`: {error}"));
    let array = cast(array, &target).map_err(unreadable)?;
    let value = |row: usize| match data_type {
        _ if array.is_null(row) => Value::Null,
        DataType::Bool => Value::Bool(array.as_boolean().value(row)),
        DataType::Int64 => Value::Int64(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::String => Value::String(array.as_string::<i32>().value(row).to_owned()),
        DataType::Timestamp => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            Value::Timestamp(Timestamp::from_micros(micros))
        }
    };
    values.extend((0..array.len()).map(value));
    Ok(())
}

/// Missing numbers are written as NaN by many tools; here they are null.
fn float(number: f64) -> Value {
    if number.is_finite() {
        Value::Float64(number)
    } else {
        Value::Null
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Date32Array, Float32Array, Int32Array, LargeStringArray, RecordBatch};

    use super::super::encode;
    use super::*;

    fn file() -> Bytes {
        let batch = RecordBatch::try_from_iter([
            (
                "id",
                Arc::new(Int32Array::from(vec![Some(7), None])) as arrow::array::ArrayRef,
            ),
            ("name", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
            ("day", Arc::new(Date32Array::from(vec![0, 1]))),
            ("x", Arc::new(Float32Array::from(vec![0.5, f32::NAN]))),
        ]);
        encode::parquet(&[batch.unwrap()]).unwrap()
    }

    #[test]
    fn columns_are_read_by_name_and_typed_from_the_file() {
        let wanted = ["day", "id", "name", "x"].map(str::to_owned).to_vec();
        let (table, types) = read_columns(file(), wanted).unwrap();
        assert_eq!(
            types,
            [
                DataType::Timestamp,
                DataType::Int64,
                DataType::String,
                DataType::Float64
            ]
        );
        let day = Timestamp::from_micros(covey_state::window::DAY);
        assert_eq!(table.column("day").unwrap()[1], Value::Timestamp(day));
        assert_eq!(table.column("id").unwrap(), [Value::Int64(7), Value::Null]);
        assert_eq!(table.column("name").unwrap()[1], Value::String("b".to_owned()));
        assert_eq!(table.column("x").unwrap(), [Value::Float64(0.5), Value::Null]);
    }

    #[test]
    fn a_column_that_the_file_does_not_have_is_named_with_those_it_has() {
        assert_eq!(
            read_columns(file(), vec!["late".to_owned()])
                .unwrap_err()
                .to_string(),
            "spine.file is invalid: it has no column `late`; given: `id`, `name`, `day`, `x`"
        );
    }

    #[test]
    fn bytes_that_are_no_parquet_file_are_refused() {
        let error = read_columns(Bytes::from_static(b"id,name"), Vec::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("spine.file is invalid: not a readable Parquet file"),
            "{error}"
        );
    }
}
