//! Decides what becomes of logged predictions and of the labels that come late.
//!
//! Invariants: an id stands for one prediction, the first that came, and gets one label, as long as it is remembered; what
//! is remembered is bounded, and the oldest goes first.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::{book, check_window};
use crate::answer::Answer;
use crate::id::Timestamp;
use crate::key::Key;
use crate::monitor::{DriftBook, KeptPrediction, LoggedPrediction, Outcome};
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{TEXT_BYTES_MAX, ensure, within};
use crate::record::Record;

/// The most labels of one command.
pub const LABELS_MAX: usize = 10_000;
/// The most predictions that are kept of a deployment, with or without a label.
pub const PREDICTIONS_KEPT_MAX: u64 = 1_000_000;
/// The most outcomes that are kept of a deployment.
pub const OUTCOMES_KEPT_MAX: u64 = 2_000_000;

/// Keeps predictions whose ids are not taken yet. One that no label could be joined to is left out rather than let it hold
/// up the counters it came with.
pub(super) fn put(
    draft: &mut Draft<'_>,
    deployment: &str,
    book: &mut DriftBook,
    predictions: &[LoggedPrediction],
) -> Result<(), Stop> {
    let place = |id: &String| Key::Prediction(deployment.to_owned(), id.clone());
    let keys: Vec<Key> = predictions
        .iter()
        .map(|prediction| place(&prediction.id))
        .collect();
    let known = draft.get_many::<KeptPrediction>(&keys)?;
    let mut seen = BTreeSet::new();
    for ((key, prediction), known) in keys.into_iter().zip(predictions).zip(known) {
        let can_be_joined = prediction.score.is_finite() && prediction.id.len() <= TEXT_BYTES_MAX;
        if known.is_none() && can_be_joined && seen.insert(&prediction.id) {
            let (at, id) = (prediction.at, prediction.id.clone());
            draft.put(Key::PredictionAge(deployment.to_owned(), at, id), Record::Marker);
            draft.put(key, KeptPrediction::Waiting(prediction.clone()));
        }
    }
    // What is forgotten was there before, so it is none of these.
    let surplus = (book.predictions + seen.len() as u64).saturating_sub(PREDICTIONS_KEPT_MAX);
    let oldest = oldest(
        draft,
        deployment,
        surplus,
        &Key::PredictionAge(deployment.to_owned(), Timestamp::MIN, String::new()),
    )?;
    book.predictions += seen.len() as u64 - oldest.len() as u64;
    for key in oldest {
        if let Key::PredictionAge(_, _, id) = &key {
            draft.delete(place(id));
        }
        draft.delete(key);
    }
    Ok(())
}

/// Joins labels to logged predictions; a prediction that has its label waits no more.
pub(in crate::plan) fn record_labels(
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
    let kept: Vec<Key> = labels.iter().map(|(id, _)| place(id)).collect();
    let kept = draft.get_many::<KeptPrediction>(&kept)?;
    let mut labelled = BTreeSet::new();
    let mut outcomes = Vec::new();
    for ((id, label), kept) in labels.iter().zip(kept) {
        let Some(KeptPrediction::Waiting(prediction)) = kept else {
            continue;
        };
        if labelled.insert(id) {
            draft.put(place(id), KeptPrediction::Labelled);
            let start = prediction.at.floor_to(window_micros);
            let outcome = Outcome {
                version: prediction.version,
                score: prediction.score,
                label: *label,
            };
            outcomes.push((Key::Outcome(deployment.to_owned(), start, id.clone()), outcome));
        }
    }
    let joined = put_outcomes(draft, deployment, outcomes)?;
    let unmatched = u32::try_from(labels.len()).unwrap_or(u32::MAX) - joined;
    Ok(Answer::Labels { joined, unmatched })
}

/// Stores outcomes; gives how many. Where there is one already, its prediction has been forgotten and came again.
fn put_outcomes(draft: &mut Draft<'_>, deployment: &str, outcomes: Vec<(Key, Outcome)>) -> Result<u32, Stop> {
    let mut book = book(draft, deployment)?;
    let keys: Vec<Key> = outcomes.iter().map(|(key, _)| key.clone()).collect();
    let known = draft.get_many::<Outcome>(&keys)?;
    let fresh = outcomes.into_iter().zip(known);
    let fresh: Vec<_> = fresh
        .filter_map(|(outcome, known)| known.is_none().then_some(outcome))
        .collect();
    let joined = fresh.len() as u64;
    let surplus = (book.outcomes + joined).saturating_sub(OUTCOMES_KEPT_MAX);
    let from = Key::Outcome(deployment.to_owned(), Timestamp::MIN, String::new());
    let oldest = oldest(draft, deployment, surplus, &from)?;
    book.outcomes += joined - oldest.len() as u64;
    for key in oldest {
        draft.delete(key);
    }
    for (key, outcome) in fresh {
        draft.put(key, outcome);
    }
    if joined > 0 {
        draft.put(Key::DriftBook(deployment.to_owned()), book);
    }
    Ok(u32::try_from(joined).unwrap_or(u32::MAX))
}

/// The first `count` keys of the kind and deployment of `from`.
fn oldest(draft: &Draft<'_>, deployment: &str, count: u64, from: &Key) -> Result<Vec<Key>, Stop> {
    let mut oldest = Vec::new();
    if count == 0 {
        return Ok(oldest);
    }
    let kind = std::mem::discriminant(from);
    draft.scan(from, &mut |key, _| {
        let same = std::mem::discriminant(&key) == kind && key.name().is_some_and(|name| name == deployment);
        if !same || oldest.len() as u64 == count {
            return ControlFlow::Break(());
        }
        oldest.push(key);
        ControlFlow::Continue(())
    })?;
    Ok(oldest)
}
