//! Latency of a prediction: features read and scored in one call, by a client on loopback, three nodes otherwise idle.
//!
//! Every flight is asked about as of its scheduled departure, so that windows and rows with a time to live are there to be
//! read. Small requests go through the prediction cache, so they are measured twice: with flights that come again, and
//! with vectors of which no two are equal. The share that came from the cache is reported.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use covey_proto::v1;

use super::percentile;
use crate::demo::{Prepared, Vectors};

/// Requests before the clock runs.
const WARM_UP: usize = 300;
/// Measured requests of one row.
const REQUESTS_1: usize = 4_000;
/// Measured requests of a hundred rows.
const REQUESTS_100: usize = 1_000;
/// The least share of feature values that must be there: with a wrong moment, windows and old rows would be missing.
const PRESENT_MIN: f64 = 0.8;

/// Measures and gives the figures by name.
pub(super) async fn measure(definitions: &Path) -> Result<Vec<(&'static str, f64)>> {
    let folder = tempfile::tempdir()?;
    let prepared = Prepared::three_nodes(folder.path(), definitions).await?;
    let measured = all(&prepared).await;
    prepared.stop().await?;
    measured
}

async fn all(prepared: &Prepared) -> Result<Vec<(&'static str, f64)>> {
    let present = present(prepared).await?;
    ensure!(
        present >= PRESENT_MIN,
        "only {present:.2} of the feature values are there; the measurement would be too good"
    );
    let one = run(prepared, (1, REQUESTS_1), Vectors::AsTheyCome).await?;
    let distinct = run(prepared, (1, REQUESTS_1), Vectors::Distinct).await?;
    let hundred = run(prepared, (100, REQUESTS_100), Vectors::AsTheyCome).await?;
    Ok(vec![
        ("predict_1_p50_ms", one.percentile(0.50)),
        ("predict_1_p99_ms", one.percentile(0.99)),
        ("predict_1_cached_share", one.cached_share),
        ("predict_1_distinct_p50_ms", distinct.percentile(0.50)),
        ("predict_1_distinct_p99_ms", distinct.percentile(0.99)),
        ("predict_1_distinct_cached_share", distinct.cached_share),
        ("predict_100_p50_ms", hundred.percentile(0.50)),
        ("predict_100_p99_ms", hundred.percentile(0.99)),
        ("predict_100_cached_share", hundred.cached_share),
        ("features_present_share", present),
    ])
}

/// What one run has measured.
struct Measured {
    /// Sorted latencies in milliseconds.
    latencies: Vec<f64>,
    /// The share of rows that were answered from the prediction cache.
    cached_share: f64,
}

/// Requests made one after the other.
async fn run(prepared: &Prepared, (rows, requests): (usize, usize), vectors: Vectors) -> Result<Measured> {
    let mut serving = prepared.connection()?.serving();
    let mut latencies = Vec::with_capacity(requests);
    let mut cached = 0;
    for number in 0..WARM_UP + requests {
        let request = request(prepared, (number * rows, rows), vectors);
        let started = Instant::now();
        let reply = serving.predict(request).await.context("predicting")?.into_inner();
        let took = started.elapsed();
        ensure!(
            reply.predictions.len() == rows,
            "{} of {rows} rows were answered",
            reply.predictions.len()
        );
        if number >= WARM_UP {
            latencies.push(took.as_secs_f64() * 1e3);
            cached += reply.cached as usize;
        }
    }
    latencies.sort_by(f64::total_cmp);
    Ok(Measured {
        latencies,
        cached_share: share(cached, rows * requests),
    })
}

/// The share of the features of a hundred flights that are there.
async fn present(prepared: &Prepared) -> Result<f64> {
    let request = v1::PredictRequest {
        return_features: true,
        ..request(prepared, (0, 100), Vectors::AsTheyCome)
    };
    let reply = prepared
        .connection()?
        .serving()
        .predict(request)
        .await?
        .into_inner();
    let features = reply.features.context("the reply has no features")?;
    let values = features.columns.iter().flat_map(|column| &column.values);
    let there = values.clone().filter(|value| value.kind.is_some()).count();
    Ok(share(there, values.count()))
}

fn request(prepared: &Prepared, (from, rows): (usize, usize), vectors: Vectors) -> v1::PredictRequest {
    let (table, as_of_micros) = prepared.questions(from, rows, vectors);
    v1::PredictRequest {
        deployment: prepared.deployment().to_owned(),
        rows: Some(table),
        as_of_micros,
        ..v1::PredictRequest::default()
    }
}

#[allow(clippy::cast_precision_loss)]
fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

impl Measured {
    fn percentile(&self, share: f64) -> f64 {
        percentile(&self.latencies, share)
    }
}
