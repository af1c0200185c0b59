//! k-means: centres drawn by k-means++ with a seeded generator of our own, then linfa's Lloyd rounds.
//!
//! linfa's rounds keep the old centre as one more member of its cluster, so a cluster never empties.
//!
//! Invariant: the same rows in the same order and the same seed give the same centres, for any number of
//! threads.

use std::collections::BTreeMap;

use linfa::traits::Fit;
use linfa::{DatasetBase, ParamGuard};
use linfa_clustering::{KMeans, KMeansInit};
use ndarray::{Array2, Axis};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256Plus;

use crate::error::{Error, Result};
use crate::model::parameters::{Parameters, nearest};

/// Movement of the centres below which the rounds end.
const TOLERANCE: f64 = 1e-6;

pub(super) fn fit(
    records: Array2<f64>,
    clusters: usize,
    iterations_max: u32,
    seed: u64,
) -> Result<(Parameters, BTreeMap<String, f64>)> {
    if records.nrows() < clusters {
        return Err(Error::TooFew {
            what: "rows to cluster",
            actual: records.nrows() as u64,
            needed: clusters as u64,
        });
    }
    let generator = Xoshiro256Plus::seed_from_u64(seed);
    let start = draw_centres(&records, clusters, generator.clone());
    let settings = KMeans::params_with_rng(clusters, generator)
        .n_runs(1)
        .tolerance(TOLERANCE)
        .max_n_iterations(iterations_max.into())
        .init_method(KMeansInit::Precomputed(start));
    let refused = |reason: String| Error::Fit {
        algorithm: "k_means",
        reason,
    };
    let settings = settings.check().map_err(|error| refused(error.to_string()))?;
    let data = DatasetBase::from(records);
    let fitted = settings.fit(&data).map_err(|error| refused(error.to_string()))?;
    let centres: Vec<Vec<f64>> = fitted
        .centroids()
        .rows()
        .into_iter()
        .map(|row| row.to_vec())
        .collect();
    let distance = |row: ndarray::ArrayView1<'_, f64>| nearest(&centres, &row.to_vec()).1;
    let inertia: f64 = data.records.rows().into_iter().map(distance).sum();
    Ok((
        Parameters::KMeans { centres },
        BTreeMap::from([("inertia".to_owned(), inertia)]),
    ))
}

/// k-means++ (Arthur and Vassilvitskii, 2007): each further centre is a row drawn in proportion to its
/// squared distance from the nearest centre so far.
fn draw_centres(records: &Array2<f64>, clusters: usize, mut generator: Xoshiro256Plus) -> Array2<f64> {
    let mut chosen = vec![generator.gen_range(0..records.nrows())];
    let mut distances = vec![f64::INFINITY; records.nrows()];
    while chosen.len() < clusters {
        let newest = records.row(chosen[chosen.len() - 1]);
        for (distance, row) in distances.iter_mut().zip(records.rows()) {
            let squared: f64 = row
                .iter()
                .zip(newest)
                .map(|(left, right)| (left - right) * (left - right))
                .sum();
            *distance = distance.min(squared);
        }
        let total: f64 = distances.iter().sum();
        let mut left = generator.r#gen::<f64>() * total;
        let drawn = distances.iter().position(|distance| {
            left -= distance;
            left < 0.0
        });
        // Every row is already a centre when the total is 0; any row is then as good.
        chosen.push(drawn.unwrap_or(records.nrows() - 1));
    }
    records.select(Axis(0), &chosen)
}
