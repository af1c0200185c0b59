//! Drift statistics against values measured with Evidently's own functions on SciPy 1.17.1.
//!
//! G1 to G4 are numeric samples given by formula, C1 and C2 categorical ones given by counts.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use covey_ml::drift::{binning, distance, proportion, sample};

#[track_caller]
fn close(found: f64, wanted: f64, tolerance: f64) {
    assert!(
        (found - wanted).abs() <= tolerance * wanted.abs(),
        "{found} is not {wanted}"
    );
}

/// The measured values were noted with twelve digits.
const DIGITS: f64 = 1e-11;

struct Golden {
    psi: f64,
    jensen_shannon: f64,
    kullback_leibler: f64,
    wasserstein: f64,
    hellinger: f64,
    energy: Option<f64>,
    ks_p: f64,
}

#[track_caller]
fn check(reference: &[f64], current: &[f64], golden: &Golden) {
    let (before, now) = binning::common_shares(reference, current);
    close(distance::psi(&before, &now), golden.psi, DIGITS);
    close(
        distance::jensen_shannon(&before, &now),
        golden.jensen_shannon,
        DIGITS,
    );
    close(
        distance::kullback_leibler(&before, &now),
        golden.kullback_leibler,
        DIGITS,
    );
    close(
        sample::wasserstein(reference, current).unwrap(),
        golden.wasserstein,
        DIGITS,
    );
    let (before, now) = binning::distinct_shares(reference, current);
    close(distance::hellinger(&before, &now), golden.hellinger, DIGITS);
    if let Some(energy) = golden.energy {
        close(sample::energy(reference, current).unwrap(), energy, DIGITS);
    }
    close(
        sample::kolmogorov_smirnov(reference, current).unwrap().p_value,
        golden.ks_p,
        1e-8,
    );
}

fn ranks(rows: u32) -> impl Iterator<Item = f64> {
    (0..rows).map(move |row| (f64::from(row) + 0.5) / f64::from(rows))
}

/// The standard normal quantile: bisection on `erfc` to the last bits.
fn normal(probability: f64) -> f64 {
    if probability > 0.5 {
        return -normal(1.0 - probability);
    }
    let (mut low, mut high) = (-10.0, 0.0);
    for _ in 0..200 {
        let middle = (low + high) / 2.0;
        if libm::erfc(-middle / std::f64::consts::SQRT_2) / 2.0 < probability {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

#[test]
fn g1_a_shift_of_a_uniform_sample() {
    let reference: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
    let current: Vec<f64> = reference.iter().map(|value| 0.1 + value).collect();
    let golden = Golden {
        psi: 1.25577542901,
        jensen_shannon: 0.252886182807,
        kullback_leibler: 0.627824932009,
        wasserstein: 0.346410334719,
        hellinger: 0.303614743043,
        energy: Some(0.139044597162),
        ks_p: 7.33592171715e-05,
    };
    check(&reference, &current, &golden);
}

#[test]
fn g2_a_wider_normal_of_another_size() {
    let reference: Vec<f64> = ranks(2000).map(normal).collect();
    let current: Vec<f64> = ranks(500).map(|rank| 0.3 + 1.2 * normal(rank)).collect();
    let golden = Golden {
        psi: 0.138372683206,
        jensen_shannon: 0.12801507818,
        kullback_leibler: 0.0592558295609,
        wasserstein: 0.311552543328,
        hellinger: 0.129656786873,
        energy: Some(0.236798240088),
        ks_p: 3.36774911362e-06,
    };
    check(&reference, &current, &golden);
    close(
        sample::kolmogorov_smirnov(&reference, &current)
            .unwrap()
            .statistic,
        0.1285,
        DIGITS,
    );
}

#[test]
fn g3_empty_bins() {
    let reference: Vec<f64> = ranks(1500).map(|rank| -libm::log1p(-rank)).collect();
    let current: Vec<f64> = ranks(300).map(|rank| 3.0 + rank).collect();
    let golden = Golden {
        psi: 10.5448063716,
        jensen_shannon: 0.771993502832,
        kullback_leibler: 7.36106836201,
        wasserstein: 2.54174204677,
        hellinger: 0.886444139639,
        energy: Some(1.94744875463),
        ks_p: 1.06653150389e-270,
    };
    check(&reference, &current, &golden);
}

#[test]
fn g4_samples_beyond_the_exact_test() {
    let reference: Vec<f64> = ranks(20_000).map(normal).collect();
    let current: Vec<f64> = ranks(15_000).map(|rank| 0.02 + normal(rank)).collect();
    let golden = Golden {
        psi: 0.000409242892198,
        jensen_shannon: 0.00715166399611,
        kullback_leibler: 0.000204357136697,
        wasserstein: 0.020020894954,
        hellinger: 0.00715198037058,
        energy: None,
        ks_p: 0.634721211162,
    };
    check(&reference, &current, &golden);
    close(
        sample::kolmogorov_smirnov(&reference, &current)
            .unwrap()
            .statistic,
        0.00803333333333,
        1e-11,
    );
}

#[test]
fn c1_a_new_category() {
    let (before, now) = ([500, 300, 200, 0], [220, 150, 100, 30]);
    let (reference, current) = (distance::shares(&before), distance::shares(&now));
    close(distance::psi(&reference, &current), 0.390846088638, DIGITS);
    close(
        distance::jensen_shannon(&reference, &current),
        0.147487333124,
        DIGITS,
    );
    close(
        distance::kullback_leibler(&reference, &current),
        0.0631706707225,
        DIGITS,
    );
    close(distance::hellinger(&reference, &current), 0.175950061147, DIGITS);
    assert_eq!(proportion::chi_squared_p(&before, &now), Ok(0.0));
}

#[test]
fn c2_a_moved_mix() {
    let (before, now) = ([500, 300, 200], [220, 180, 100]);
    let (reference, current) = (distance::shares(&before), distance::shares(&now));
    close(distance::psi(&reference, &current), 0.0186092956982, DIGITS);
    close(
        distance::jensen_shannon(&reference, &current),
        0.0482039303668,
        DIGITS,
    );
    close(
        distance::kullback_leibler(&reference, &current),
        0.00922021871676,
        DIGITS,
    );
    close(distance::hellinger(&reference, &current), 0.0482171081107, DIGITS);
    close(
        proportion::chi_squared_p(&before, &now).unwrap(),
        0.00822974704902,
        DIGITS,
    );
}

#[test]
fn the_z_test_pools_both_proportions() {
    close(
        proportion::two_proportion_p(400, 1000, 170, 500),
        0.0240173566459,
        DIGITS,
    );
    assert_eq!(proportion::two_proportion_p(0, 10, 0, 10), 1.0);
}

#[test]
fn evidentlys_own_fixtures() {
    let (before, now) = ([16, 18, 16, 14, 12, 12], [16, 16, 16, 16, 16, 8]);
    assert!((proportion::chi_squared_p(&before, &now).unwrap() - 0.67309).abs() < 1e-5);
    let distance = distance::hellinger(&distance::shares(&before), &distance::shares(&now));
    assert!((distance - 0.06812).abs() < 1e-5);
}

#[test]
fn statistics_of_nothing_are_refused_or_neutral() {
    assert!(sample::kolmogorov_smirnov(&[1.0], &[f64::NAN]).is_err());
    assert!(sample::wasserstein(&[], &[1.0]).is_err());
    assert_eq!(proportion::chi_squared_p(&[1, 2], &[0, 0]), Ok(1.0));
    assert_eq!(binning::sturges_edges(&[2.0, 2.0]), [1.5, 2.5]);
}
