//! Quality metrics and distributions against values from scikit-learn and SciPy (`golden/generate.py`).

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use covey_ml::drift::{kolmogorov, proportion, sample};
use covey_ml::metrics::{self, calibration};
use serde_json::Value;

fn golden(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn vector(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

#[track_caller]
fn close(found: f64, wanted: f64, tolerance: f64) {
    let gap = (found - wanted).abs();
    assert!(
        gap <= tolerance * wanted.abs().max(f64::MIN_POSITIVE),
        "{found} is not {wanted}"
    );
}

#[test]
fn metrics_are_those_of_scikit_learn() {
    let golden = golden(include_str!("golden/metrics.json"));
    let (labels, scores) = (vector(&golden["labels"]), vector(&golden["scores"]));
    let wanted = |name: &str| golden[name].as_f64().unwrap();
    close(metrics::auc(&labels, &scores).unwrap(), wanted("auc"), 1e-12);
    close(
        metrics::log_loss(&labels, &scores).unwrap(),
        wanted("log_loss"),
        1e-12,
    );
    close(metrics::brier(&labels, &scores).unwrap(), wanted("brier"), 1e-12);
    close(
        metrics::accuracy(&labels, &scores).unwrap(),
        wanted("accuracy"),
        1e-12,
    );
    let (numbers, guesses) = (vector(&golden["numbers"]), vector(&golden["guesses"]));
    close(metrics::rmse(&numbers, &guesses).unwrap(), wanted("rmse"), 1e-12);
    close(metrics::mae(&numbers, &guesses).unwrap(), wanted("mae"), 1e-12);
}

#[test]
fn calibration_is_that_of_scikit_learn() {
    let golden = golden(include_str!("golden/metrics.json"));
    let (labels, spread) = (vector(&golden["labels"]), vector(&golden["spread"]));
    close(
        calibration::expected_error(&labels, &spread).unwrap(),
        golden["calibration_error"].as_f64().unwrap(),
        1e-12,
    );
    let bins = calibration::table(&labels, &spread).unwrap();
    assert_eq!(bins.iter().map(|bin| bin.rows).sum::<u64>(), 300);
    let used: Vec<_> = bins.iter().filter(|bin| bin.rows > 0).collect();
    let (observed, predicted) = (vector(&golden["observed"]), vector(&golden["predicted"]));
    assert_eq!(used.len(), observed.len());
    for ((bin, observed), predicted) in used.iter().zip(observed).zip(predicted) {
        assert!((bin.observed - observed).abs() < 1e-12 && (bin.predicted - predicted).abs() < 1e-12);
    }
}

#[test]
fn metrics_refuse_what_they_do_not_define() {
    assert!(metrics::auc(&[1.0, 1.0], &[0.1, 0.2]).is_err());
    assert!(metrics::log_loss(&[], &[]).is_err());
    assert!(metrics::rmse(&[1.0], &[]).is_err());
    assert!(metrics::mae(&[1.0], &[f64::NAN]).is_err());
}

#[test]
fn the_kolmogorov_distribution_is_that_of_scipy() {
    let golden = golden(include_str!("golden/kolmogorov.json"));
    for case in golden["survival"].as_array().unwrap() {
        let case = vector(case);
        let (found, wanted) = (kolmogorov::survival(case[0] as u64, case[1]), case[2]);
        assert!(
            (found - wanted).abs() <= 1e-8 * wanted,
            "n={} d={}: {found} is not {wanted}",
            case[0],
            case[1]
        );
    }
}

#[test]
fn two_sample_tests_and_chi_squared_are_those_of_scipy() {
    let golden = golden(include_str!("golden/kolmogorov.json"));
    for pair in golden["pairs"].as_array().unwrap() {
        let test = sample::kolmogorov_smirnov(&vector(&pair["first"]), &vector(&pair["second"])).unwrap();
        close(test.statistic, pair["statistic"].as_f64().unwrap(), 1e-12);
        close(test.p_value, pair["p"].as_f64().unwrap(), 1e-10);
    }
    for case in golden["chi_squared"].as_array().unwrap() {
        let case = vector(case);
        close(
            proportion::chi_squared_survival(case[0] as u32, case[1]),
            case[2],
            1e-10,
        );
    }
}
