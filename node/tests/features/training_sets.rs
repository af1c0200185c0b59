//! Training sets: the same values as online, the same bytes again, and clear refusals.

use covey_proto::v1;
use covey_proto::v1::spine::{Kind, ViewSpine};
use tonic::Status;

use crate::definitions::{HOUR, NOON, flag, integer, moment, null, push, table, text, winds};
use crate::server::Server;
use crate::{Features, column, ready};

/// Flights from JFK and LGA around noon, the last one without an outcome.
fn flights() -> v1::Table {
    let minute = HOUR / 60;
    let departures = [0, 30, 61, 62];
    table([
        ("flight_id", ["a", "b", "c", "d"].map(text).to_vec()),
        (
            "event_time",
            departures
                .map(|minutes| moment(NOON + minutes * minute + HOUR))
                .to_vec(),
        ),
        (
            "departure",
            departures.map(|minutes| moment(NOON + minutes * minute)).to_vec(),
        ),
        ("origin", ["JFK", "LGA", "JFK", "EWR"].map(text).to_vec()),
        ("hour", vec![integer(12); 4]),
        ("late", vec![flag(true), flag(false), flag(true), null()]),
    ])
}

fn training_set() -> v1::DatasetSpec {
    let spine = ViewSpine {
        view: "flights".to_owned(),
        timestamp: "departure".to_owned(),
        from_micros: NOON - HOUR,
        until_micros: NOON + 24 * HOUR,
    };
    v1::DatasetSpec {
        name: "late_flights".to_owned(),
        service: "delays".to_owned(),
        spine: Some(v1::Spine {
            kind: Some(Kind::View(spine)),
        }),
        label: "late".to_owned(),
    }
}

async fn build(features: &mut Features, spec: v1::DatasetSpec) -> Result<v1::DatasetManifest, Status> {
    let mut progress = features
        .build_dataset(v1::BuildDatasetRequest { spec: Some(spec) })
        .await?
        .into_inner();
    let mut manifest = None;
    while let Some(message) = progress.message().await? {
        manifest = message.manifest;
    }
    Ok(manifest.unwrap())
}

#[tokio::test]
async fn a_training_set_holds_what_an_online_read_gives_and_is_the_same_bytes_again() {
    let (server, mut features) = ready().await;
    let rows = winds(&[
        ("JFK", -2, 2.0),
        ("JFK", -1, 4.5),
        ("JFK", 1, 8.0),
        ("LGA", -1, 1.0),
    ]);
    features.push(push("weather", rows)).await.unwrap();
    features.push(push("flights", flights())).await.unwrap();

    let first = build(&mut features, training_set()).await.unwrap();
    assert_eq!(
        (first.version, first.rows, first.partitions.clone()),
        (1, 3, vec![3])
    );
    let columns = "flight_id departure weather__wind weather__gust weather__wind_mean_3h weather__wind_count_3h hour late";
    assert_eq!(first.columns.join(" "), columns);
    // Late rows and corrections come in: the first version stays what it was.
    features
        .push(push("weather", winds(&[("JFK", -1, 100.0), ("LGA", 0, 50.0)])))
        .await
        .unwrap();
    let verify = v1::VerifyDatasetRequest {
        name: "late_flights".to_owned(),
        version: 1,
    };
    let verified = features.verify_dataset(verify).await.unwrap().into_inner();
    assert!(verified.identical, "{verified:?}");
    let second = build(&mut features, training_set()).await.unwrap();
    assert_ne!(second.content_sha256, first.content_sha256);
    let third = build(&mut features, training_set()).await.unwrap();
    assert_eq!(
        (third.version, third.content_sha256.clone()),
        (3, second.content_sha256.clone())
    );
    let listed = features
        .list_datasets(v1::ListDatasetsRequest {
            name: "late_flights".to_owned(),
        })
        .await
        .unwrap();
    assert_eq!(listed.into_inner().datasets, [first, second.clone(), third]);

    let file = download(&server, second.artifact.unwrap()).await;
    let frame = parquet_floats(file, &["weather__wind", "weather__wind_mean_3h"]);
    for (name, trained) in frame {
        for (row, (origin, minutes)) in [("JFK", 0), ("LGA", 30), ("JFK", 61)].into_iter().enumerate() {
            let served = read_at(&mut features, origin, NOON + minutes * HOUR / 60).await;
            let number = match column(&served, &name)[0].kind {
                Some(v1::value::Kind::Float64Value(number)) => number,
                ref other => panic!("{name} of row {row} was served as {other:?}"),
            };
            assert_eq!(number.to_bits(), trained[row].to_bits(), "{name} of row {row}");
        }
    }
}

async fn read_at(features: &mut Features, origin: &str, at: i64) -> v1::GetOnlineFeaturesReply {
    let request = v1::GetOnlineFeaturesRequest {
        service: "delays".to_owned(),
        entities: Some(table([
            ("origin", vec![text(origin)]),
            ("hour", vec![integer(12)]),
        ])),
        as_of_micros: vec![at],
        consistency: None,
    };
    features.get_online_features(request).await.unwrap().into_inner()
}

async fn download(server: &Server, artifact: v1::Artifact) -> Vec<u8> {
    let request = v1::DownloadArtifactRequest {
        artifact: Some(artifact),
    };
    let mut parts = server
        .registry()
        .await
        .download_artifact(request)
        .await
        .unwrap()
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await.unwrap() {
        bytes.extend_from_slice(&part.data);
    }
    bytes
}

fn parquet_floats(file: Vec<u8>, names: &[&str]) -> Vec<(String, Vec<f64>)> {
    use arrow::array::AsArray;
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file));
    let batches: Vec<_> = reader.unwrap().build().unwrap().map(Result::unwrap).collect();
    let numbers = |name: &str| {
        let column = batches[0].column_by_name(name).unwrap();
        column
            .as_primitive::<arrow::datatypes::Float64Type>()
            .values()
            .to_vec()
    };
    names
        .iter()
        .map(|name| ((*name).to_owned(), numbers(name)))
        .collect()
}

#[tokio::test]
async fn a_training_set_that_makes_no_sense_is_refused_by_the_name_of_what_is_wrong() {
    let (_server, mut features) = ready().await;
    let label = v1::DatasetSpec {
        label: "early".to_owned(),
        ..training_set()
    };
    let input = v1::DatasetSpec {
        label: "hour".to_owned(),
        ..training_set()
    };
    let service = v1::DatasetSpec {
        service: "delay".to_owned(),
        ..training_set()
    };
    features.push(push("flights", flights())).await.unwrap();
    for (spec, expected) in [
        (label, "`early`"),
        (input, "`hour` is an input too"),
        (service, "`delay`"),
    ] {
        let status = build(&mut features, spec).await.unwrap_err();
        assert!(status.message().contains(expected), "{status:?}");
    }
}
