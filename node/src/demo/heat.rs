//! Drift as a map: a row per feature, a column per window, the darker the further from what the model was trained on.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::flights::DAY;
use super::frame::{Frame, LEFT, RIGHT, WIDTH, days, escape};
use super::report::DriftPoint;
use super::tally::FIRST_MONTH;
use super::timeline::{day, mid_month, month_name, month_start};

/// Features that are shown: those that drifted most.
const FEATURES: usize = 14;
/// The distance that is shown in full colour.
const FULL: f64 = 0.5;
const ROW: f64 = 20.0;
const TOP: f64 = 8.0;
/// The space of the features' names.
const NAMES: f64 = 262.0;

/// The map of all verdicts.
pub(super) fn figure(points: &[DriftPoint]) -> String {
    let features = worst(points);
    #[allow(clippy::cast_precision_loss)]
    let height = TOP + features.len() as f64 * ROW;
    let mut svg = String::new();
    for (row, feature) in features.iter().enumerate() {
        #[allow(clippy::cast_precision_loss)]
        let y = TOP + row as f64 * ROW;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"name end\">{}</text>",
            NAMES - 8.0,
            y + 14.0,
            escape(&feature.replace("__", " · "))
        );
        for point in newest(points, feature) {
            cell(point, y, &mut svg);
        }
    }
    for month in FIRST_MONTH..=12 {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"tick middle\">{}</text>",
            x(days(mid_month(month))),
            height + 18.0,
            month_name(month)
        );
    }
    format!(
        "<figure><figcaption><b>Drift by feature</b><span>Jensen–Shannon distance per week between what was served and what \
         the serving version was trained on; a dot where the feature counted as drifted</span></figcaption><svg \
         viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"Drift by feature\">{svg}</svg></figure>",
        height + 28.0
    )
}

/// The features that drifted most in any window.
fn worst(points: &[DriftPoint]) -> Vec<&str> {
    let mut most: BTreeMap<&str, f64> = BTreeMap::new();
    for point in points {
        let most = most.entry(&point.feature).or_insert(0.0);
        *most = most.max(point.js);
    }
    let mut features: Vec<(&str, f64)> = most.into_iter().collect();
    features.sort_by(|a, b| b.1.total_cmp(&a.1));
    features.truncate(FEATURES);
    features.into_iter().map(|(feature, _)| feature).collect()
}

/// One verdict per window: that of the newest version that served in it.
fn newest<'p>(points: &'p [DriftPoint], feature: &str) -> impl Iterator<Item = &'p DriftPoint> {
    let mut windows: BTreeMap<i64, &DriftPoint> = BTreeMap::new();
    for point in points.iter().filter(|point| point.feature == feature) {
        let known = windows.entry(point.window_start_micros).or_insert(point);
        if known.version < point.version {
            *known = point;
        }
    }
    windows.into_values()
}

fn cell(point: &DriftPoint, y: f64, svg: &mut String) {
    let from = x(days(point.window_start_micros.max(month_start(FIRST_MONTH))));
    let until = x(days((point.window_start_micros + 7 * DAY).min(month_start(13))));
    let _ = write!(
        svg,
        "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" class=\"heat\" \
         fill-opacity=\"{:.2}\"><title>{}, week of {}, version {}: {:.3} (PSI {:.3})</title></rect>",
        (until - from - 1.5).max(0.5),
        ROW - 2.0,
        (point.js / FULL).clamp(0.03, 1.0),
        escape(&point.feature),
        day(point.window_start_micros),
        point.version,
        point.js,
        point.psi
    );
    if point.drifted {
        let _ = write!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\" class=\"drifted\"/>",
            f64::midpoint(from, until) - 0.75,
            y + ROW / 2.0 - 1.0
        );
    }
}

/// Where a day is, to the right of the names.
fn x(day: f64) -> f64 {
    let share = (Frame::new(&[]).x(day) - LEFT) / (WIDTH - LEFT - RIGHT);
    NAMES + share * (WIDTH - NAMES - RIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_counts_and_the_worst_features_come_first() {
        let point = |feature: &str, version, js| DriftPoint {
            window_start_micros: mid_month(5),
            version,
            feature: feature.to_owned(),
            psi: 0.1,
            js,
            drifted: js > 0.2,
        };
        let points = [
            point("calm", 1, 0.01),
            point("wild", 1, 0.1),
            point("wild", 2, 0.4),
        ];
        assert_eq!(worst(&points), ["wild", "calm"]);
        let shown: Vec<u64> = newest(&points, "wild").map(|point| point.version).collect();
        assert_eq!(shown, [2]);
        let svg = figure(&points);
        assert_eq!(
            (
                svg.matches("<rect").count(),
                svg.matches("class=\"drifted\"").count()
            ),
            (2, 1)
        );
    }
}
