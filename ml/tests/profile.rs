//! Reference profiles, window counts and the verdict on them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use covey_ml::profile::counts::FeatureCounts;
use covey_ml::profile::{FeatureShape, NUMERIC_BINS_MAX};
use covey_ml::{
    Column, FeatureSpec, Frame, Output, ProfileCounts, ReferenceProfile, Thresholds, Verdict, score,
};

fn frame(rows: u32, shift: f64, city: impl Fn(u32) -> Option<&'static str>) -> Frame {
    let number = |row: u32| f64::from(row * 7919 % rows) / f64::from(rows) + shift;
    Frame::new(vec![
        Column::float("x", (0..rows).map(number).collect()),
        Column::text(
            "city",
            (0..rows).map(|row| city(row).map(str::to_owned)).collect(),
        ),
    ])
    .unwrap()
}

fn probabilities(rows: u32) -> Vec<f64> {
    (0..rows)
        .map(|row| f64::from(row) / f64::from(rows - 1))
        .collect()
}

fn city(row: u32) -> Option<&'static str> {
    ["ams", "ber", "cdg"].get(row as usize % 4).copied()
}

fn features() -> [FeatureSpec; 2] {
    [FeatureSpec::numeric("x"), FeatureSpec::categorical("city")]
}

fn profile() -> ReferenceProfile {
    ReferenceProfile::build(
        &features(),
        &frame(4000, 0.0, city),
        Output::Probability,
        &probabilities(4000),
    )
    .unwrap()
}

fn window(profile: &ReferenceProfile, frame: &Frame) -> ProfileCounts {
    let mut counts = ProfileCounts::zero(profile);
    counts
        .observe(profile, frame, &probabilities(frame.rows() as u32))
        .unwrap();
    counts
}

#[test]
fn every_row_of_the_reference_is_counted_once_per_feature() {
    let profile = profile();
    assert_eq!(profile.reference.rows, 4000);
    let FeatureShape::Numeric(shape) = &profile.features[0].shape else {
        panic!("not numeric")
    };
    assert_eq!(shape.edges.len(), NUMERIC_BINS_MAX + 1);
    let FeatureCounts::Numeric(counts) = &profile.reference.features[0] else {
        panic!("not numeric")
    };
    assert_eq!((counts.under, counts.over, counts.missing), (0, 0, 0));
    assert_eq!(counts.bins.iter().sum::<u64>(), 4000);
    assert!(counts.bins.iter().all(|count| (100..150).contains(count)));
    let FeatureCounts::Categorical(counts) = &profile.reference.features[1] else {
        panic!("not categorical")
    };
    assert_eq!(
        (&counts.categories[..], counts.missing, counts.new),
        (&[1000, 1000, 1000][..], 1000, 0)
    );
    assert_eq!(profile.reference.prediction.bins.len(), 20);
}

#[test]
fn a_profile_reads_back_and_a_broken_one_is_refused() {
    let profile = profile();
    let bytes = profile.to_bytes().unwrap();
    assert_eq!(ReferenceProfile::from_bytes(&bytes), Ok(profile.clone()));
    let mut unsorted = profile.clone();
    unsorted.prediction.edges.swap(3, 4);
    assert!(unsorted.to_bytes().is_err());
    let mut short = profile;
    short.prediction.edges.pop();
    assert!(short.to_bytes().is_err());
}

#[test]
fn counts_merge_in_any_order() {
    let profile = profile();
    let parts: Vec<ProfileCounts> = [("new a", 300), ("new b", 70), ("ams", 5)]
        .into_iter()
        .map(|(name, rows)| window(&profile, &frame(rows, 0.1, |_| Some(name))))
        .collect();
    let merge = |order: [usize; 3]| {
        let mut merged = ProfileCounts::zero(&profile);
        order
            .into_iter()
            .for_each(|part| merged.merge(&parts[part]).unwrap());
        merged
    };
    assert_eq!(merge([0, 1, 2]), merge([2, 0, 1]));
    assert_eq!(merge([0, 1, 2]).rows, 375);
}

#[test]
fn the_same_distribution_is_stable_even_in_a_small_window() {
    let profile = profile();
    for rows in [500, 3000] {
        let report = score(
            &profile,
            &window(&profile, &frame(rows, 0.0, city)),
            &Thresholds::default(),
        )
        .unwrap();
        assert_eq!((report.verdict, report.drifted_share), (Verdict::Stable, 0.0));
    }
}

#[test]
fn a_shift_a_new_category_and_vanished_values_are_seen() {
    let profile = profile();
    let thresholds = Thresholds::default();
    let report = score(
        &profile,
        &window(&profile, &frame(2000, 0.3, |_| None)),
        &thresholds,
    )
    .unwrap();
    assert_eq!(
        (report.verdict.clone(), report.drifted_share),
        (Verdict::Drifted, 1.0)
    );
    let [x, city] = &report.features[..] else {
        panic!("two features")
    };
    assert!((x.kolmogorov_smirnov.unwrap() - 0.3).abs() < 0.02 && x.kolmogorov_smirnov_p.unwrap() < 1e-9);
    assert!((x.wasserstein.unwrap() - 0.3 / (1.0_f64 / 12.0).sqrt()).abs() < 0.2);
    assert_eq!((city.missing_share_reference, city.missing_share), (0.25, 1.0));
    assert!(!report.prediction.drifted);
    let new = |row| {
        if row % 10 == 0 {
            Some("xyz")
        } else {
            self::city(row)
        }
    };
    let report = score(&profile, &window(&profile, &frame(2000, 0.0, new)), &thresholds).unwrap();
    assert_eq!(report.features[1].new_categories, ["xyz"]);
    assert!((report.features[1].new_category_share - 0.1).abs() < 1e-12 && report.features[1].drifted);
    assert_eq!(report.verdict, Verdict::Drifted);
}

#[test]
fn a_watched_feature_decides_alone_and_few_rows_decide_nothing() {
    let profile = profile();
    let moved = window(&profile, &frame(600, 0.4, city));
    let lenient = Thresholds {
        drift_share: 0.9,
        ..Thresholds::default()
    };
    assert_eq!(
        score(&profile, &moved, &lenient).unwrap().verdict,
        Verdict::Stable
    );
    let watching = Thresholds {
        watched: BTreeSet::from(["x".to_owned()]),
        ..lenient
    };
    let report = score(&profile, &moved, &watching).unwrap();
    assert_eq!(
        (report.verdict, report.watched_drifted),
        (Verdict::Drifted, vec!["x".to_owned()])
    );
    let careful = Thresholds {
        rows_min: 601,
        ..watching
    };
    assert_eq!(
        score(&profile, &moved, &careful).unwrap().verdict,
        Verdict::TooFewRows
    );
}

#[test]
fn counts_on_other_bins_are_refused_and_empty_windows_are_neutral() {
    let profile = profile();
    let other = ReferenceProfile::build(
        &features()[..1],
        &frame(50, 0.0, city),
        Output::Number,
        &probabilities(50),
    )
    .unwrap();
    assert!(score(&profile, &other.reference, &Thresholds::default()).is_err());
    assert!(ProfileCounts::zero(&profile).merge(&other.reference).is_err());
    let report = score(&profile, &ProfileCounts::zero(&profile), &Thresholds::default()).unwrap();
    assert_eq!(
        (report.verdict, report.features[0].psi),
        (Verdict::TooFewRows, 0.0)
    );
}
