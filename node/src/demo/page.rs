//! The report as one page that needs nothing else: sums, plots and the months.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::chart::{Chart, Line, escape};
use super::report::Report;
use super::timeline::{mid_month, month_start};

/// Features whose drift is plotted: those that drifted most.
const FEATURES_PLOTTED: usize = 8;
const NAMES: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    h1{font-weight:600}svg{width:100%;height:auto;margin:1rem 0}table{border-collapse:collapse}\
    td,th{padding:.25rem .8rem;border-bottom:1px solid #ddd;text-align:left}\
    .title{font-size:14px;font-weight:600}.tick{font-size:11px;fill:#666}.name{font-size:12px}\
    .grid{stroke:#eee}.mark{stroke:#bbb;stroke-dasharray:4 3}";

/// A month's short name.
pub(super) fn month_name(month: u32) -> &'static str {
    usize::try_from(month)
        .ok()
        .and_then(|month| NAMES.get(month.wrapping_sub(1)))
        .copied()
        .unwrap_or("?")
}

/// The page.
pub(super) fn render(report: &Report) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Covey: a year of flights</title>\
         <style>{STYLE}</style><h1>A year of flights through Covey</h1><p>Every flight that left New York from April to \
         December 2013, predicted at its scheduled departure by a model trained on January to March, on a cluster that \
         lost its busiest leader in May, got it back in June, grew in July and gave up its first node in August.</p>"
    );
    for chart in [quality(report), losses(report), drift(report), latency(report)] {
        page.push_str(&chart.svg());
    }
    page.push_str("<table>");
    for (name, value) in report
        .summary(std::time::Duration::ZERO)
        .iter()
        .filter(|(name, _)| *name != "took")
    {
        let _ = write!(
            page,
            "<tr><th>{}</th><td>{}</td></tr>",
            escape(name.trim()),
            escape(value)
        );
    }
    page.push_str("</table></html>\n");
    page
}

fn quality(report: &Report) -> Chart<'static> {
    by_month(
        "Area under the ROC curve by month",
        [
            ("retrained on drift", &report.auc_by_month),
            ("never retrained", &report.auc_by_month_no_retrain),
            ("without windows", &report.auc_by_month_no_windows),
        ],
    )
}

fn losses(report: &Report) -> Chart<'static> {
    by_month(
        "Log loss by month",
        [
            ("retrained on drift", &report.logloss_by_month),
            ("never retrained", &report.logloss_by_month_no_retrain),
            ("without windows", &report.logloss_by_month_no_windows),
        ],
    )
}

fn latency(report: &Report) -> Chart<'static> {
    let percentile = |of: fn(&super::report::Latency) -> f64| -> BTreeMap<u32, f64> {
        report
            .latency_ms_by_month
            .iter()
            .map(|(month, latency)| (*month, of(latency)))
            .collect()
    };
    by_month(
        "Latency of a prediction request, in milliseconds",
        [
            ("p50", &percentile(|latency| latency.p50)),
            ("p99", &percentile(|latency| latency.p99)),
        ],
    )
}

fn by_month<const N: usize>(title: &'static str, lines: [(&str, &BTreeMap<u32, f64>); N]) -> Chart<'static> {
    let line = |(name, values): (&str, &BTreeMap<u32, f64>)| Line {
        name: name.to_owned(),
        points: values
            .iter()
            .map(|(month, value)| (position(mid_month(*month)), *value))
            .collect(),
    };
    Chart {
        title,
        lines: lines.into_iter().map(line).collect(),
        ticks: ticks(),
        marks: marks(),
    }
}

fn drift(report: &Report) -> Chart<'static> {
    let mut worst: BTreeMap<&str, f64> = BTreeMap::new();
    for point in &report.drift {
        let most = worst.entry(&point.feature).or_insert(0.0);
        *most = most.max(point.js);
    }
    let mut features: Vec<(&str, f64)> = worst.into_iter().collect();
    features.sort_by(|a, b| b.1.total_cmp(&a.1));
    let lines = features.iter().take(FEATURES_PLOTTED).map(|(feature, _)| {
        let of_feature = report.drift.iter().filter(|point| point.feature == *feature);
        let mut points: Vec<(f64, f64)> = of_feature
            .map(|point| (position(point.window_start_micros), point.js))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line {
            name: (*feature).to_owned(),
            points,
        }
    });
    Chart {
        title: "Drift by feature: Jensen-Shannon distance to the serving version's training set",
        lines: lines.collect(),
        ticks: ticks(),
        marks: marks(),
    }
}

fn ticks() -> Vec<(f64, String)> {
    (4..=12)
        .map(|month| (position(mid_month(month)), month_name(month).to_owned()))
        .collect()
}

fn marks() -> Vec<(f64, String)> {
    [(5, "kill"), (6, "restart"), (7, "join"), (8, "remove")]
        .into_iter()
        .map(|(month, name)| (position(mid_month(month)), name.to_owned()))
        .collect()
}

/// Days since the beginning of the year.
#[allow(clippy::cast_precision_loss)]
fn position(at: i64) -> f64 {
    (at - month_start(1)) as f64 / 86_400e6
}
