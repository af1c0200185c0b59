//! The verdict on a window of counts against the reference profile of a model.
//!
//! The PSI of two samples of one distribution is not 0 but about (bins − 1)(1/n + 1/m). That expectation is
//! reported beside the index and taken off before the threshold is applied, so small windows do not cry wolf.
//! The gap of Kolmogorov and Smirnov is read at the bin edges, so it is never above that of the raw values.
//!
//! Invariants: counts must lie on the profile's bins; below `rows_min` rows there are figures and no verdict.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::profile::counts::{CategoricalCounts, FeatureCounts, NumericCounts, ProfileCounts};
use crate::profile::{FeatureShape, NumericShape, ReferenceProfile};

use super::distance::{hellinger, jensen_shannon, psi, shares};
use super::proportion::{chi_squared_p, two_proportion_p};
use super::sample::asymptotic_p;

/// The name under which the prediction is scored.
pub const PREDICTION: &str = "prediction";

/// When a feature counts as drifted, and when a dataset does. A threshold that is absent is not applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Least population stability index above its expectation without drift.
    pub psi: Option<f64>,
    /// Least Jensen-Shannon distance.
    pub jensen_shannon: Option<f64>,
    /// Least Kolmogorov-Smirnov gap, of numeric features.
    pub kolmogorov_smirnov: Option<f64>,
    /// Least share of rows with a category that training never had.
    pub new_category_share: Option<f64>,
    /// Least share of drifted features that makes the dataset drifted.
    pub drift_share: f64,
    /// Features (or `prediction`) whose drift alone makes the dataset drifted.
    pub watched: BTreeSet<String>,
    /// Rows below which there is no verdict.
    pub rows_min: u64,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds {
            psi: Some(0.1),
            jensen_shannon: None,
            kolmogorov_smirnov: None,
            new_category_share: Some(0.05),
            drift_share: 0.5,
            watched: BTreeSet::new(),
            rows_min: 500,
        }
    }
}

/// The figures of one feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureDrift {
    /// The feature, or `prediction`.
    pub feature: String,
    /// Population stability index over all bins, missing values included.
    pub psi: f64,
    /// What the index would be on average without drift.
    pub psi_expected: f64,
    /// Jensen-Shannon distance over the same bins.
    pub jensen_shannon: f64,
    /// Hellinger distance over the same bins.
    pub hellinger: f64,
    /// Kolmogorov-Smirnov gap of the values present, of numeric features.
    pub kolmogorov_smirnov: Option<f64>,
    /// Its p-value.
    pub kolmogorov_smirnov_p: Option<f64>,
    /// Wasserstein distance over the reference's standard deviation, from bins; values beyond the edges count
    /// as on them.
    pub wasserstein: Option<f64>,
    /// Chi-squared p-value, of categorical features.
    pub chi_squared_p: Option<f64>,
    /// Share of rows with a category that training never had.
    pub new_category_share: f64,
    /// Some of those categories.
    pub new_categories: Vec<String>,
    /// Share of missing values in training.
    pub missing_share_reference: f64,
    /// Share of missing values in the window.
    pub missing_share: f64,
    /// p-value of the two missing shares being one.
    pub missing_p: f64,
    /// Whether a threshold is reached.
    pub drifted: bool,
}

/// What a window says about the whole dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// Too few rows to say.
    TooFewRows,
    /// No reason for alarm.
    Stable,
    /// Drifted.
    Drifted,
}

/// The figures of a window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// Rows of the window.
    pub rows: u64,
    /// One entry per feature, in signature order.
    pub features: Vec<FeatureDrift>,
    /// The predictions; not part of `drifted_share`.
    pub prediction: FeatureDrift,
    /// Share of features that drifted.
    pub drifted_share: f64,
    /// Drifted features that are watched.
    pub watched_drifted: Vec<String>,
    /// The verdict.
    pub verdict: Verdict,
}

/// Scores a window.
pub fn score(
    profile: &ReferenceProfile,
    counts: &ProfileCounts,
    thresholds: &Thresholds,
) -> Result<DriftReport> {
    profile.reference.check_fits(counts)?;
    let pairs = profile.reference.features.iter().zip(&counts.features);
    let mut features = Vec::with_capacity(profile.features.len());
    for (feature, pair) in profile.features.iter().zip(pairs) {
        let mut drift = match (&feature.shape, pair) {
            (FeatureShape::Numeric(shape), (FeatureCounts::Numeric(before), FeatureCounts::Numeric(now))) => {
                numeric_drift(&feature.name, shape, before, now)
            }
            (_, (FeatureCounts::Categorical(before), FeatureCounts::Categorical(now))) => {
                categorical_drift(&feature.name, before, now)?
            }
            (FeatureShape::Categorical(_), (FeatureCounts::Numeric(_), _))
            | (_, (FeatureCounts::Numeric(_), FeatureCounts::Categorical(_)))
            | (_, (FeatureCounts::Categorical(_), FeatureCounts::Numeric(_))) => {
                unreachable!("counts that fit a profile have its kinds")
            }
        };
        drift.drifted = is_drifted(&drift, thresholds);
        features.push(drift);
    }
    let mut prediction = numeric_drift(
        PREDICTION,
        &profile.prediction,
        &profile.reference.prediction,
        &counts.prediction,
    );
    prediction.drifted = is_drifted(&prediction, thresholds);
    let drifted = features.iter().filter(|drift| drift.drifted).count();
    let drifted_share = drifted as f64 / features.len().max(1) as f64;
    let alarming = |drift: &&FeatureDrift| drift.drifted && thresholds.watched.contains(&drift.feature);
    let named = features.iter().chain([&prediction]).filter(alarming);
    let watched_drifted: Vec<String> = named.map(|drift| drift.feature.clone()).collect();
    let verdict = if counts.rows < thresholds.rows_min {
        Verdict::TooFewRows
    } else if drifted_share >= thresholds.drift_share || !watched_drifted.is_empty() {
        Verdict::Drifted
    } else {
        Verdict::Stable
    };
    Ok(DriftReport {
        rows: counts.rows,
        features,
        prediction,
        drifted_share,
        watched_drifted,
        verdict,
    })
}

fn is_drifted(drift: &FeatureDrift, thresholds: &Thresholds) -> bool {
    let reached = |value: f64, threshold: Option<f64>| threshold.is_some_and(|least| value >= least);
    reached(drift.psi - drift.psi_expected, thresholds.psi)
        || reached(drift.jensen_shannon, thresholds.jensen_shannon)
        || drift
            .kolmogorov_smirnov
            .is_some_and(|gap| reached(gap, thresholds.kolmogorov_smirnov))
        || reached(drift.new_category_share, thresholds.new_category_share)
}

fn numeric_drift(
    name: &str,
    shape: &NumericShape,
    before: &NumericCounts,
    now: &NumericCounts,
) -> FeatureDrift {
    let cells =
        |counts: &NumericCounts| [&[counts.under], &counts.bins[..], &[counts.over, counts.missing]].concat();
    let mut drift = over_cells(name, &cells(before), &cells(now), before.missing, now.missing);
    let present = |counts: &NumericCounts| counts.under + counts.over + counts.bins.iter().sum::<u64>();
    let (rows, others) = (present(before), present(now));
    if rows == 0 || others == 0 {
        return drift;
    }
    let (mut upto, mut other_upto) = (before.under, now.under);
    let (mut gap_max, mut area): (f64, f64) = (
        (other_upto as f64 / others as f64 - upto as f64 / rows as f64).abs(),
        0.0,
    );
    for (bin, edges) in shape.edges.windows(2).enumerate() {
        let gap_before = upto as f64 / rows as f64 - other_upto as f64 / others as f64;
        upto += before.bins[bin];
        other_upto += now.bins[bin];
        let gap = upto as f64 / rows as f64 - other_upto as f64 / others as f64;
        gap_max = gap_max.max(gap.abs());
        area += trapezium(gap_before, gap) * (edges[1] - edges[0]);
    }
    drift.kolmogorov_smirnov = Some(gap_max);
    drift.kolmogorov_smirnov_p = Some(asymptotic_p(rows, others, gap_max));
    drift.wasserstein = Some(area / shape.standard_deviation.max(0.001));
    drift
}

/// Mean size of a gap that runs straight from one value to another.
fn trapezium(from: f64, to: f64) -> f64 {
    if from * to >= 0.0 {
        return (from.abs() + to.abs()) / 2.0;
    }
    (from * from + to * to) / (from.abs() + to.abs()) / 2.0
}

fn categorical_drift(
    name: &str,
    before: &CategoricalCounts,
    now: &CategoricalCounts,
) -> Result<FeatureDrift> {
    let cells = |counts: &CategoricalCounts| {
        [
            &counts.categories[..],
            &[counts.other, counts.new, counts.missing],
        ]
        .concat()
    };
    let (reference, current) = (cells(before), cells(now));
    let mut drift = over_cells(name, &reference, &current, before.missing, now.missing);
    drift.chi_squared_p = Some(chi_squared_p(&reference, &current)?);
    let rows: u64 = current.iter().sum();
    drift.new_category_share = if rows == 0 {
        0.0
    } else {
        now.new as f64 / rows as f64
    };
    drift.new_categories = now.new_examples.iter().cloned().collect();
    Ok(drift)
}

/// The figures that any cells have. Cells that are empty on both sides are left out.
fn over_cells(
    name: &str,
    before: &[u64],
    now: &[u64],
    missing_before: u64,
    missing_now: u64,
) -> FeatureDrift {
    let used = || {
        before
            .iter()
            .zip(now)
            .filter(|(left, right)| **left + **right > 0)
    };
    let reference: Vec<u64> = used().map(|(count, _)| *count).collect();
    let current: Vec<u64> = used().map(|(_, count)| *count).collect();
    let (rows, others): (u64, u64) = (reference.iter().sum(), current.iter().sum());
    let share = |count: u64, rows: u64| {
        if rows == 0 {
            0.0
        } else {
            count as f64 / rows as f64
        }
    };
    let comparable = rows > 0 && others > 0;
    let (left, right) = (shares(&reference), shares(&current));
    let figure = |distance: fn(&[f64], &[f64]) -> f64| if comparable { distance(&left, &right) } else { 0.0 };
    let freedom = reference.len().saturating_sub(1) as f64;
    FeatureDrift {
        feature: name.to_owned(),
        psi: figure(psi),
        psi_expected: if comparable {
            freedom * (1.0 / rows as f64 + 1.0 / others as f64)
        } else {
            0.0
        },
        jensen_shannon: figure(jensen_shannon),
        hellinger: figure(hellinger),
        kolmogorov_smirnov: None,
        kolmogorov_smirnov_p: None,
        wasserstein: None,
        chi_squared_p: None,
        new_category_share: 0.0,
        new_categories: Vec::new(),
        missing_share_reference: share(missing_before, rows),
        missing_share: share(missing_now, others),
        missing_p: two_proportion_p(missing_before, rows, missing_now, others),
        drifted: false,
    }
}
