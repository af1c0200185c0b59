//! Is what was served what is trained on? The sampled vectors are compared, bit for bit, with a training set that is
//! built afterwards for the same flights and moments.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, RecordBatchReader, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type};
use bytes::Bytes;
use covey_proto::v1;
use covey_proto::v1::value::Kind;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::fleet::Fleet;
use super::flights::Flight;
use super::rows::day_name;
use super::tally::Sample;
use super::training;

/// The part of an upload that travels in one message.
const UPLOAD_BYTES: usize = 1 << 20;

/// What the comparison found.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Comparison {
    /// Vectors compared.
    pub(super) vectors: u64,
    /// Values compared.
    pub(super) values: u64,
    /// Values that differ in any bit.
    pub(super) different: u64,
}

/// Builds a training set for the sampled flights and compares it with what was served.
pub(super) async fn compare(fleet: &Fleet, samples: &[Sample]) -> Result<Comparison> {
    let artifact = upload(fleet, spine(samples)?)
        .await
        .context("uploading the spine")?;
    let spine = v1::spine::FileSpine {
        artifact: Some(artifact),
        timestamp: "scheduled_departure".to_owned(),
    };
    let spec = v1::DatasetSpec {
        name: "served".to_owned(),
        service: "flight_delay".to_owned(),
        spine: Some(v1::Spine {
            kind: Some(v1::spine::Kind::File(spine)),
        }),
        label: String::new(),
    };
    let manifest = training::build_dataset(fleet, spec).await?;
    let built = download(fleet, manifest.artifact.unwrap_or_default())
        .await
        .context("downloading the set")?;
    let built = read(built)?;
    let mut found = Comparison {
        vectors: samples.len() as u64,
        ..Comparison::default()
    };
    let mut columns: BTreeMap<&str, Vec<&v1::Value>> = BTreeMap::new();
    for sample in samples {
        for (name, value) in &sample.features {
            columns.entry(name).or_default().push(value);
        }
    }
    for (name, served) in columns {
        let trained = built
            .column_by_name(name)
            .ok_or_else(|| anyhow!("the training set has no column `{name}`"))?;
        found.values += served.len() as u64;
        found.different += differences(&served, trained)?;
    }
    Ok(found)
}

fn differences(served: &[&v1::Value], trained: &ArrayRef) -> Result<u64> {
    let same = |row: usize,
                value: &v1::Value,
                texts: Option<&StringArray>,
                numbers: Option<&arrow::array::Float64Array>| {
        match &value.kind {
            None => trained.is_null(row),
            Some(Kind::StringValue(text)) => {
                texts.is_some_and(|texts| texts.is_valid(row) && texts.value(row) == text)
            }
            Some(_) => {
                let expected = super::table::number(value).map(f64::to_bits);
                numbers.is_some_and(|numbers| {
                    numbers.is_valid(row) && Some(numbers.value(row).to_bits()) == expected
                })
            }
        }
    };
    let texts = matches!(
        trained.data_type(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Dictionary(..)
    )
    .then(|| cast(trained, &DataType::Utf8))
    .transpose()?;
    let texts = texts.as_ref().map(|texts| texts.as_string::<i32>());
    let numbers = if texts.is_none() {
        Some(cast(trained, &DataType::Float64)?)
    } else {
        None
    };
    let numbers = numbers
        .as_ref()
        .map(|numbers| numbers.as_primitive::<Float64Type>());
    let different = served
        .iter()
        .enumerate()
        .filter(|(row, value)| !same(*row, value, texts, numbers));
    Ok(different.count() as u64)
}

/// The sampled flights as a Parquet file: join keys, request features and the moment they were asked for.
fn spine(samples: &[Sample]) -> Result<Bytes> {
    let flights: Vec<&Flight> = samples.iter().map(|sample| &sample.flight).collect();
    let texts = |text: fn(&Flight) -> Option<String>| -> ArrayRef {
        Arc::new(flights.iter().map(|flight| text(flight)).collect::<StringArray>())
    };
    let moments = TimestampMicrosecondArray::from_iter_values(flights.iter().map(|flight| flight.scheduled));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("origin", texts(|flight| Some(flight.origin.clone()))),
        ("dest", texts(|flight| Some(flight.dest.clone()))),
        ("carrier", texts(|flight| Some(flight.carrier.clone()))),
        ("tailnum", texts(|flight| flight.tail.clone())),
        (
            "hour",
            Arc::new(Int64Array::from_iter_values(
                flights.iter().map(|flight| flight.hour),
            )),
        ),
        ("day_of_week", texts(|flight| Some(day_name(flight).to_owned()))),
        (
            "distance",
            Arc::new(Float64Array::from_iter_values(
                flights.iter().map(|flight| flight.distance),
            )),
        ),
        ("scheduled_departure", Arc::new(moments.with_timezone("UTC"))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )?;
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(Bytes::from(file))
}

fn read(file: Bytes) -> Result<RecordBatch> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
    let schema = reader.schema();
    let batches = reader.collect::<Result<Vec<_>, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

async fn upload(fleet: &Fleet, file: Bytes) -> Result<v1::Artifact> {
    let reply = fleet
        .ask(|connection| {
            let file = file.clone();
            async move {
                let parts: Vec<v1::UploadArtifactRequest> = file
                    .chunks(UPLOAD_BYTES)
                    .map(|part| v1::UploadArtifactRequest {
                        name: "spine.parquet".to_owned(),
                        data: file.slice_ref(part),
                    })
                    .collect();
                connection
                    .registry()
                    .upload_artifact(futures::stream::iter(parts))
                    .await
            }
        })
        .await?;
    Ok(reply.into_inner())
}

async fn download(fleet: &Fleet, artifact: v1::Artifact) -> Result<Bytes> {
    let whole = fleet
        .ask(|connection| {
            let request = v1::DownloadArtifactRequest {
                artifact: Some(artifact.clone()),
            };
            async move {
                let mut parts = connection
                    .registry()
                    .download_artifact(request)
                    .await?
                    .into_inner();
                let mut whole = Vec::new();
                while let Some(part) = parts.message().await? {
                    whole.extend_from_slice(&part.data);
                }
                Ok(whole)
            }
        })
        .await?;
    Ok(Bytes::from(whole))
}
