//! Decides drift monitoring: what is watched, counters that come in, and verdicts.
//!
//! Invariants: a flush counts once however often it is sent; one alert per window and version; the windows with rows that
//! no verdict covers are in the index of open windows; what is kept of a deployment is bounded, and the oldest goes first.

mod predictions;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::deployment::DeploymentRecord;
use crate::id::Timestamp;
use crate::key::Key;
use crate::monitor::{
    Alert, DriftBook, DriftReport, DriftWindow, FlushMark, FlushSource, LoggedPrediction, Monitor,
    WindowCounts,
};
use crate::pipeline::Pipeline;
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{check_name, check_text, ensure, invalid, within};
use crate::record::Record;
use crate::registry::VersionId;
use crate::rejection::Rejection;
use crate::window::{MINUTE, WINDOW_MICROS_MAX, window_text};

pub(super) use self::predictions::record_labels;
pub use self::predictions::{LABELS_MAX, OUTCOMES_KEPT_MAX, PREDICTIONS_KEPT_MAX};

/// The most windows of one flush.
pub const WINDOWS_MAX: usize = 1_000;
/// The most logged predictions of one flush.
pub const PREDICTIONS_MAX: usize = 10_000;
/// The most windows that are kept of a deployment.
pub const WINDOWS_KEPT_MAX: u64 = 10_000;
/// The most features that a monitor watches by name.
const WATCHED_MAX: usize = 1_000;

/// Declares or changes a monitor.
pub(super) fn put_monitor(draft: &mut Draft<'_>, monitor: &Monitor) -> Decided {
    check_monitor(monitor)?;
    let deployment = &monitor.deployment;
    draft.need::<DeploymentRecord>(&Key::Deployment(deployment.clone()), "deployment", deployment)?;
    if let Some(pipeline) = &monitor.pipeline {
        draft.need::<Pipeline>(&Key::Pipeline(pipeline.clone()), "pipeline", pipeline)?;
    }
    let place = Key::Monitor(monitor.name.clone());
    if draft.get::<Monitor>(&place)?.as_ref() != Some(monitor) {
        draft.put(place, monitor.clone());
    }
    Ok(Answer::Done)
}

/// Takes a monitor away.
pub(super) fn remove_monitor(draft: &mut Draft<'_>, name: &str) -> Decided {
    let place = Key::Monitor(name.to_owned());
    draft.need::<Monitor>(&place, "monitor", name)?;
    draft.delete(place);
    Ok(Answer::Done)
}

/// Adds a delta of counters, once per life of a node and sequence number.
pub(super) fn flush(
    draft: &mut Draft<'_>,
    deployment: &str,
    (source, sequence): (FlushSource, u64),
    deltas: &[(VersionId, Timestamp, WindowCounts)],
    predictions: &[LoggedPrediction],
) -> Decided {
    check_name("deployment", deployment)?;
    within(deltas.len(), WINDOWS_MAX, "windows of one flush")?;
    within(predictions.len(), PREDICTIONS_MAX, "predictions of one flush")?;
    let place = Key::DriftFlush(deployment.to_owned(), source.node);
    let mark = FlushMark {
        incarnation: source.incarnation,
        sequence,
    };
    if let Some(last) = draft.get::<FlushMark>(&place)?.filter(|last| mark <= *last) {
        return Ok(Answer::Number(last.sequence));
    }
    let mut book = book(draft, deployment)?;
    book.flushes += 1;
    put_windows(draft, deployment, &mut book, deltas)?;
    predictions::put(draft, deployment, &mut book, predictions)?;
    draft.put(Key::DriftBook(deployment.to_owned()), book);
    draft.put(place, mark);
    Ok(Answer::Number(sequence))
}

/// What is kept of a deployment, in numbers.
fn book(draft: &Draft<'_>, deployment: &str) -> Result<DriftBook, Stop> {
    let book = draft.get(&Key::DriftBook(deployment.to_owned()))?;
    Ok(book.unwrap_or(DriftBook {
        newest: Timestamp::MIN,
        ..DriftBook::default()
    }))
}

fn put_windows(
    draft: &mut Draft<'_>,
    deployment: &str,
    book: &mut DriftBook,
    deltas: &[(VersionId, Timestamp, WindowCounts)],
) -> Result<(), Stop> {
    let mut windows: BTreeMap<(Timestamp, &VersionId), DriftWindow> = BTreeMap::new();
    for (version, start, delta) in deltas {
        let window = match windows.entry((*start, version)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let key = Key::DriftWindow(deployment.to_owned(), *start, version.clone());
                let known = draft.get::<DriftWindow>(&key)?;
                book.windows += u64::from(known.is_none());
                book.newest = book.newest.max(*start);
                place.insert(known.unwrap_or_default())
            }
        };
        window.counts.merge(delta);
    }
    forget_windows(draft, deployment, book, &windows)?;
    for ((start, version), window) in windows {
        put_window(draft, (deployment, start, version), window);
    }
    Ok(())
}

/// Stores a window, and that it is open if it has rows which no verdict covers.
fn put_window(
    draft: &mut Draft<'_>,
    (deployment, start, version): (&str, Timestamp, &VersionId),
    window: DriftWindow,
) {
    let open = Key::DriftOpen(deployment.to_owned(), start, version.clone());
    if window.scored_rows == window.counts.rows {
        draft.delete(open);
    } else {
        draft.put(open, Record::Marker);
    }
    draft.put(
        Key::DriftWindow(deployment.to_owned(), start, version.clone()),
        window,
    );
}

/// Makes room by forgetting the oldest windows, with their verdicts and alerts; those that are being added to stay.
fn forget_windows(
    draft: &mut Draft<'_>,
    deployment: &str,
    book: &mut DriftBook,
    touched: &BTreeMap<(Timestamp, &VersionId), DriftWindow>,
) -> Result<(), Stop> {
    let surplus = book.windows.saturating_sub(WINDOWS_KEPT_MAX);
    let mut oldest = Vec::new();
    if surplus > 0 {
        let from = Key::DriftWindow(deployment.to_owned(), Timestamp::MIN, VersionId::default());
        draft.scan(&from, &mut |key, _| {
            let Key::DriftWindow(of, start, version) = key else {
                return ControlFlow::Break(());
            };
            if of != deployment || oldest.len() as u64 == surplus {
                return ControlFlow::Break(());
            }
            if !touched.contains_key(&(start, &version)) {
                oldest.push((start, version));
            }
            ControlFlow::Continue(())
        })?;
    }
    book.windows -= oldest.len() as u64;
    for (start, version) in oldest {
        let deployment = || deployment.to_owned();
        draft.delete(Key::DriftWindow(deployment(), start, version.clone()));
        draft.delete(Key::DriftOpen(deployment(), start, version.clone()));
        draft.delete(Key::DriftReport(deployment(), start, version.clone()));
        draft.delete(Key::Alert(deployment(), start, version));
    }
    Ok(())
}

/// Stores the verdict on a window, and its alert if it is the first.
pub(super) fn report(
    draft: &mut Draft<'_>,
    deployment: &str,
    (start, version): (Timestamp, &VersionId),
    report: &DriftReport,
    alert: Option<&Alert>,
) -> Decided {
    let place = Key::DriftWindow(deployment.to_owned(), start, version.clone());
    let name = format!("{deployment}/{version}/{}us", start.micros());
    let mut window: DriftWindow = draft.need(&place, "drift window", &name)?;
    ensure(report.rows <= window.counts.rows, "report.rows", || {
        format!(
            "{} rows are scored, the window has {}",
            report.rows, window.counts.rows
        )
    })?;
    check_scores(report)?;
    window.scored_rows = report.rows;
    put_window(draft, (deployment, start, version), window);
    let now = draft.now;
    draft.put(
        Key::DriftReport(deployment.to_owned(), start, version.clone()),
        DriftReport {
            scored_at: now,
            ..report.clone()
        },
    );
    if let Some(alert) = alert {
        ensure(
            (alert.window, &alert.version) == (start, version),
            "alert",
            || {
                format!(
                    "it is about version {} and window {}us",
                    alert.version,
                    alert.window.micros()
                )
            },
        )?;
        let place = Key::Alert(deployment.to_owned(), start, version.clone());
        if draft.get::<Alert>(&place)?.is_none() {
            draft.put(
                place,
                Alert {
                    at: now,
                    ..alert.clone()
                },
            );
        }
    }
    Ok(Answer::Done)
}

fn check_window(field: &str, micros: i64) -> Result<(), Rejection> {
    ensure((MINUTE..=WINDOW_MICROS_MAX).contains(&micros), field, || {
        format!(
            "{} is not a window from 1m to {}",
            window_text(micros),
            window_text(WINDOW_MICROS_MAX)
        )
    })
}

fn check_monitor(monitor: &Monitor) -> Result<(), Rejection> {
    check_name("name", &monitor.name)?;
    check_window("window_micros", monitor.window_micros)?;
    within(monitor.watch.len(), WATCHED_MAX, "watched features of a monitor")?;
    monitor
        .watch
        .iter()
        .try_for_each(|feature| check_text("watch", feature))?;
    for (field, threshold) in [
        ("psi_threshold", monitor.psi_threshold),
        ("js_threshold", monitor.js_threshold),
        ("ks_threshold", monitor.ks_threshold.unwrap_or(1.0)),
        ("new_category_share", monitor.new_category_share.unwrap_or(1.0)),
    ] {
        ensure(threshold.is_finite() && threshold > 0.0, field, || {
            format!("{threshold} is not above zero")
        })?;
    }
    let share = monitor.drift_share;
    ensure(share > 0.0 && share <= 1.0, "drift_share", || {
        format!("{share} is not above 0 and at most 1")
    })
}

fn check_scores(report: &DriftReport) -> Result<(), Rejection> {
    for score in &report.scores {
        let numbers = [score.psi, score.js, score.ks.unwrap_or(0.0), score.new_categories];
        if let Some(number) = numbers.iter().find(|number| !number.is_finite()) {
            let reason = format!("feature `{}` has the score {number}", score.feature);
            return Err(invalid("report.scores", reason));
        }
    }
    Ok(())
}
