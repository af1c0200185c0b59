//! From a monitor's thresholds to a verdict on a window, and from the verdict to an alert. Pure.

use covey_ml::{DriftReport as Scored, Thresholds, Verdict};
use covey_state::Timestamp;
use covey_state::monitor::{Alert, DriftReport, FeatureScore, Monitor};
use covey_state::registry::VersionId;

/// The thresholds that a monitor declares; without a monitor those of the field.
pub(super) fn thresholds(monitor: Option<&Monitor>) -> Thresholds {
    let Some(monitor) = monitor else {
        return Thresholds::default();
    };
    Thresholds {
        psi: Some(monitor.psi_threshold),
        jensen_shannon: Some(monitor.js_threshold),
        kolmogorov_smirnov: monitor.ks_threshold,
        new_category_share: monitor.new_category_share,
        drift_share: monitor.drift_share,
        watched: monitor.watch.iter().cloned().collect(),
        rows_min: monitor.rows_min,
    }
}

/// The verdict in the form of the log: the features in signature order, then the prediction.
pub(super) fn report(scored: &Scored) -> DriftReport {
    let all = scored.features.iter().chain([&scored.prediction]);
    let scores = all.map(|drift| FeatureScore {
        feature: drift.feature.clone(),
        psi: drift.psi,
        js: drift.jensen_shannon,
        ks: drift.kolmogorov_smirnov,
        new_categories: drift.new_category_share,
        drifted: drift.drifted,
    });
    DriftReport {
        rows: scored.rows,
        scores: scores.collect(),
        drifted: scored.verdict == Verdict::Drifted,
        // The time is set by the decision.
        scored_at: Timestamp::default(),
    }
}

/// The alert that a monitor raises on a verdict, if it does: the drifted features, worst first.
pub(super) fn alert(
    monitor: &Monitor,
    (version, window): (VersionId, Timestamp),
    scored: &Scored,
) -> Option<Alert> {
    if scored.verdict != Verdict::Drifted {
        return None;
    }
    let all = scored.features.iter().chain([&scored.prediction]);
    let mut drifted: Vec<_> = all.filter(|drift| drift.drifted).collect();
    drifted.sort_by(|left, right| right.psi.total_cmp(&left.psi));
    let features = drifted.into_iter().map(|drift| drift.feature.clone()).collect();
    Some(Alert {
        monitor: monitor.name.clone(),
        version,
        window,
        features,
        at: Timestamp::default(),
    })
}

#[cfg(test)]
mod tests {
    use covey_ml::{ProfileCounts, score};

    use super::*;
    use crate::drift::counts::tests::{profile, rows};

    fn monitor() -> Monitor {
        Monitor {
            name: "watch".to_owned(),
            deployment: "d".to_owned(),
            window_micros: 60_000_000,
            rows_min: 50,
            psi_threshold: 0.2,
            js_threshold: 0.9,
            ks_threshold: None,
            new_category_share: None,
            drift_share: 0.5,
            watch: Vec::new(),
            pipeline: None,
        }
    }

    fn scored(count: u32, origin: &str) -> Scored {
        scored_by(&monitor(), count, origin)
    }

    fn scored_by(monitor: &Monitor, count: u32, origin: &str) -> Scored {
        let profile = profile();
        let mut counts = ProfileCounts::zero(&profile);
        counts
            .observe(&profile, &rows(count, origin), &vec![0.5; count as usize])
            .unwrap();
        score(&profile, &counts, &thresholds(Some(monitor))).unwrap()
    }

    #[test]
    fn an_alert_names_what_has_drifted_and_stable_windows_raise_none() {
        let version = VersionId {
            model: "m".to_owned(),
            number: 3,
        };
        let window = (version, Timestamp::from_micros(60));
        let drifted = scored(100, "ORD");
        let alert = alert(&monitor(), window.clone(), &drifted).expect("every origin is new");
        assert!(alert.features.contains(&"origin".to_owned()), "{alert:?}");
        assert_eq!((alert.version, alert.window), window);
        let logged = report(&drifted);
        assert_eq!(logged.scores.len(), 3);
        assert!(logged.drifted && logged.scores[1].new_categories > 0.4);
        assert_eq!(super::alert(&monitor(), window, &scored(100, "EWR")), None);
    }

    #[test]
    fn a_monitor_may_alert_on_the_gap_of_kolmogorov_and_smirnov_or_on_new_categories_alone() {
        let deaf = Monitor {
            psi_threshold: 1e9,
            ..monitor()
        };
        let by_gap = Monitor {
            ks_threshold: Some(0.3),
            watch: vec!["wind".to_owned()],
            ..deaf.clone()
        };
        let by_names = Monitor {
            new_category_share: Some(0.3),
            watch: vec!["origin".to_owned()],
            ..deaf.clone()
        };
        // Sixty rows hold the lower part of the wind only.
        let alerted = |monitor: &Monitor, count, origin: &str| {
            let scored = scored_by(monitor, count, origin);
            let alert = alert(monitor, (VersionId::default(), Timestamp::default()), &scored);
            alert.map(|alert| alert.features)
        };
        assert_eq!(alerted(&deaf, 60, "ORD"), None);
        // What the model answers is always watched, and here it is always the same.
        let both = ["prediction", "wind"].map(str::to_owned).to_vec();
        assert_eq!(alerted(&by_gap, 60, "EWR"), Some(both));
        assert_eq!(alerted(&by_gap, 100, "ORD"), None);
        assert_eq!(alerted(&by_names, 100, "ORD"), Some(vec!["origin".to_owned()]));
        assert_eq!(alerted(&by_names, 60, "EWR"), None);
    }

    #[test]
    fn too_few_rows_raise_no_alert() {
        let few = scored(20, "ORD");
        assert_eq!(
            alert(&monitor(), (VersionId::default(), Timestamp::default()), &few),
            None
        );
        assert!(!report(&few).drifted);
    }
}
