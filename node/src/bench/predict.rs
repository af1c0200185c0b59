//! Latency of a prediction: features read and scored in one call, by a client on loopback, three nodes otherwise idle.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use covey_proto::v1;

use super::percentile;
use crate::demo::Prepared;

/// Requests before the clock runs.
const WARM_UP: usize = 300;
/// Measured requests of one row.
const REQUESTS_1: usize = 4_000;
/// Measured requests of a hundred rows.
const REQUESTS_100: usize = 1_000;

/// Measures and gives the figures by name.
pub(super) async fn measure(definitions: &Path) -> Result<Vec<(&'static str, f64)>> {
    let folder = tempfile::tempdir()?;
    let prepared = Prepared::three_nodes(folder.path(), definitions).await?;
    let measured = both(&prepared).await;
    prepared.stop().await?;
    measured
}

async fn both(prepared: &Prepared) -> Result<Vec<(&'static str, f64)>> {
    let one = latencies(prepared, 1, REQUESTS_1).await?;
    let hundred = latencies(prepared, 100, REQUESTS_100).await?;
    Ok(vec![
        ("predict_1_p50_ms", percentile(&one, 0.50)),
        ("predict_1_p99_ms", percentile(&one, 0.99)),
        ("predict_100_p50_ms", percentile(&hundred, 0.50)),
        ("predict_100_p99_ms", percentile(&hundred, 0.99)),
    ])
}

/// Sorted latencies in milliseconds of requests made one after the other.
async fn latencies(prepared: &Prepared, rows: usize, requests: usize) -> Result<Vec<f64>> {
    let mut serving = prepared.connection()?.serving();
    let mut latencies = Vec::with_capacity(requests);
    for number in 0..WARM_UP + requests {
        let request = v1::PredictRequest {
            deployment: prepared.deployment().to_owned(),
            rows: Some(prepared.questions(number * rows, rows)),
            ..v1::PredictRequest::default()
        };
        let started = Instant::now();
        let reply = serving.predict(request).await.context("predicting")?.into_inner();
        let took = started.elapsed();
        anyhow::ensure!(
            reply.predictions.len() == rows,
            "{} of {rows} rows were answered",
            reply.predictions.len()
        );
        if number >= WARM_UP {
            latencies.push(took.as_secs_f64() * 1e3);
        }
    }
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}
