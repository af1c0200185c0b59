//! Drift monitors, their verdicts and alerts.

use covey_state::Timestamp;
use covey_state::monitor::{Alert, DriftReport, FeatureScore, Monitor};
use covey_state::registry::VersionId;

use super::{all, non_empty};
use crate::v1;

impl From<v1::Monitor> for Monitor {
    fn from(monitor: v1::Monitor) -> Self {
        Self {
            name: monitor.name,
            deployment: monitor.deployment,
            window_micros: monitor.window_micros,
            rows_min: monitor.rows_min,
            psi_threshold: monitor.psi_threshold,
            js_threshold: monitor.js_threshold,
            ks_threshold: monitor.ks_threshold,
            new_category_share: monitor.new_category_share,
            drift_share: monitor.drift_share,
            watch: monitor.watch,
            pipeline: non_empty(monitor.pipeline),
        }
    }
}

impl From<Monitor> for v1::Monitor {
    fn from(monitor: Monitor) -> Self {
        Self {
            name: monitor.name,
            deployment: monitor.deployment,
            window_micros: monitor.window_micros,
            rows_min: monitor.rows_min,
            psi_threshold: monitor.psi_threshold,
            js_threshold: monitor.js_threshold,
            ks_threshold: monitor.ks_threshold,
            new_category_share: monitor.new_category_share,
            drift_share: monitor.drift_share,
            watch: monitor.watch,
            pipeline: monitor.pipeline.unwrap_or_default(),
        }
    }
}

impl From<FeatureScore> for v1::FeatureScore {
    fn from(score: FeatureScore) -> Self {
        Self {
            feature: score.feature,
            psi: score.psi,
            js: score.js,
            ks: score.ks,
            new_categories: score.new_categories,
            drifted: score.drifted,
        }
    }
}

/// The version that was serving, the start of the window, and the verdict on it.
impl From<(VersionId, Timestamp, DriftReport)> for v1::DriftReport {
    fn from((version, window, report): (VersionId, Timestamp, DriftReport)) -> Self {
        Self {
            version: version.number,
            model: version.model,
            window_start_micros: window.micros(),
            rows: report.rows,
            scores: all(report.scores),
            drifted: report.drifted,
            scored_at_micros: report.scored_at.micros(),
        }
    }
}

impl From<Alert> for v1::Alert {
    fn from(alert: Alert) -> Self {
        Self {
            monitor: alert.monitor,
            version: alert.version.number,
            model: alert.version.model,
            window_start_micros: alert.window.micros(),
            features: alert.features,
            at_micros: alert.at.micros(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitors_survive_the_way_to_the_wire_and_back() {
        for pipeline in [None, Some("retrain".to_owned())] {
            let monitor = Monitor {
                name: "m".to_owned(),
                deployment: "d".to_owned(),
                window_micros: 60,
                rows_min: 100,
                psi_threshold: 0.2,
                js_threshold: 0.1,
                ks_threshold: pipeline.as_ref().map(|_| 0.3),
                new_category_share: pipeline.as_ref().map(|_| 0.05),
                drift_share: 0.5,
                watch: vec!["temp".to_owned()],
                pipeline,
            };
            assert_eq!(Monitor::from(v1::Monitor::from(monitor.clone())), monitor);
        }
    }
}
