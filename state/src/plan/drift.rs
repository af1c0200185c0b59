//! Decides drift monitoring: what is watched, counters that come in, verdicts, and labels that come late.
//!
//! Invariants: a flush counts once however often it is sent; one alert per window and version; a prediction gets one
//! label.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::answer::Answer;
use crate::deployment::DeploymentRecord;
use crate::id::Timestamp;
use crate::key::Key;
use crate::monitor::{
    Alert, DriftReport, DriftWindow, FlushSource, LoggedPrediction, Monitor, Outcome, WindowCounts,
};
use crate::pipeline::Pipeline;
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{TEXT_BYTES_MAX, check_name, check_text, ensure, invalid, within};
use crate::registry::VersionId;
use crate::rejection::Rejection;
use crate::window::{MINUTE, WINDOW_MICROS_MAX, window_text};

/// The most windows of one flush.
pub const WINDOWS_MAX: usize = 1_000;
/// The most logged predictions of one flush.
pub const PREDICTIONS_MAX: usize = 10_000;
/// The most labels of one command.
pub const LABELS_MAX: usize = 10_000;
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

/// Adds a delta of counters, once per source and sequence number.
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
    let place = Key::DriftFlush(deployment.to_owned(), source);
    if let Some(last) = draft.get::<u64>(&place)?.filter(|last| sequence <= *last) {
        return Ok(Answer::Number(last));
    }
    let mut windows: BTreeMap<(Timestamp, &VersionId), DriftWindow> = BTreeMap::new();
    for (version, start, delta) in deltas {
        let window = match windows.entry((*start, version)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let key = Key::DriftWindow(deployment.to_owned(), *start, version.clone());
                place.insert(draft.get::<DriftWindow>(&key)?.unwrap_or_default())
            }
        };
        window.counts.merge(delta);
    }
    for ((start, version), window) in windows {
        draft.put(
            Key::DriftWindow(deployment.to_owned(), start, version.clone()),
            window,
        );
    }
    put_predictions(draft, deployment, predictions)?;
    draft.put(place, sequence);
    Ok(Answer::Number(sequence))
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
    draft.put(place, window);
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

/// Joins labels to logged predictions; a prediction that has its label waits no more.
pub(super) fn record_labels(
    draft: &mut Draft<'_>,
    deployment: &str,
    window_micros: i64,
    labels: &[(String, f64)],
) -> Decided {
    check_window("window_micros", window_micros)?;
    within(labels.len(), LABELS_MAX, "labels of one command")?;
    for (id, label) in labels {
        ensure(label.is_finite(), "labels", || {
            format!("the label of `{id}` is {label}")
        })?;
    }
    let place = |id: &String| Key::Prediction(deployment.to_owned(), id.clone());
    let waiting: Vec<Key> = labels.iter().map(|(id, _)| place(id)).collect();
    let waiting = draft.get_many::<LoggedPrediction>(&waiting)?;
    let mut labelled = BTreeSet::new();
    let mut unmatched = 0;
    for ((id, label), prediction) in labels.iter().zip(waiting) {
        let Some(prediction) = prediction.filter(|_| labelled.insert(id)) else {
            unmatched += 1;
            continue;
        };
        let start = prediction.at.floor_to(window_micros);
        let outcome = Outcome {
            version: prediction.version.clone(),
            score: prediction.score,
            label: *label,
        };
        draft.delete(place(id));
        draft.put(Key::Outcome(deployment.to_owned(), start, id.clone()), outcome);
    }
    let joined = u32::try_from(labelled.len()).unwrap_or(u32::MAX);
    Ok(Answer::Labels { joined, unmatched })
}

/// Keeps predictions that are not there yet; the first of an id stays. One that no label could be joined to is left out
/// rather than let it hold up the counters it came with.
fn put_predictions(
    draft: &mut Draft<'_>,
    deployment: &str,
    predictions: &[LoggedPrediction],
) -> Result<(), Stop> {
    let place = |id: &String| Key::Prediction(deployment.to_owned(), id.clone());
    let keys: Vec<Key> = predictions
        .iter()
        .map(|prediction| place(&prediction.id))
        .collect();
    let known = draft.get_many::<LoggedPrediction>(&keys)?;
    let mut seen = BTreeSet::new();
    for ((key, prediction), known) in keys.into_iter().zip(predictions).zip(known) {
        let can_be_joined = prediction.score.is_finite() && prediction.id.len() <= TEXT_BYTES_MAX;
        if known.is_none() && can_be_joined && seen.insert(&prediction.id) {
            draft.put(key, prediction.clone());
        }
    }
    Ok(())
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
