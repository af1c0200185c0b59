//! What one node has served of one deployment and not yet sent through the log.
//!
//! Invariants: a served row is counted once, in the window of its event time; what is taken out is not there any more;
//! memory is bounded, and what did not fit is counted as lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use covey_ml::frame::Frame;
use covey_ml::{ProfileCounts, ReferenceProfile};
use covey_state::Timestamp;
use covey_state::monitor::{LoggedPrediction, WindowCounts};
use covey_state::plan::TEXT_BYTES_MAX;
use covey_state::registry::VersionId;

use super::counts;

/// Windows of one flush; more wait for the next one.
pub(super) const WINDOWS_PER_FLUSH_MAX: usize = 100;
/// Logged predictions of one flush; more wait for the next one.
pub(super) const PREDICTIONS_PER_FLUSH_MAX: usize = 2_000;
/// Windows that are held while nothing can be flushed; rows of further ones are lost.
const WINDOWS_HELD_MAX: usize = 1_000;
/// Logged predictions that are held while nothing can be flushed; further ones are lost.
const PREDICTIONS_HELD_MAX: usize = 50_000;

/// Rows that were served together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served<'a> {
    /// The version that served them.
    pub(crate) version: &'a VersionId,
    /// Its profile; without one the rows cannot be counted.
    pub(crate) profile: Option<&'a ReferenceProfile>,
    /// What it read.
    pub(crate) inputs: &'a Frame,
    /// What it answered.
    pub(crate) predictions: &'a [f64],
    /// The event time of each row, or of all of them.
    pub(crate) at: &'a [Timestamp],
    /// The caller's id of each row, or none at all; an empty id is not logged.
    pub(crate) ids: &'a [String],
    /// Length of a window, in microseconds.
    pub(crate) window_micros: i64,
}

/// What is sent at once.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Delta {
    pub(super) rows: u64,
    pub(super) windows: Vec<(VersionId, Timestamp, WindowCounts)>,
    pub(super) predictions: Vec<LoggedPrediction>,
}

/// Counters and logged predictions of one deployment.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    held: Mutex<Held>,
    is_full: AtomicBool,
}

#[derive(Debug, Default)]
struct Held {
    windows: BTreeMap<(VersionId, Timestamp), ProfileCounts>,
    predictions: Vec<LoggedPrediction>,
    lost: u64,
}

impl Tally {
    /// Counts served rows. True when there is now so much that it should be flushed at once.
    pub(crate) fn count(&self, served: &Served<'_>) -> bool {
        let mut held = self.held();
        if let Some(profile) = served.profile {
            held.count(served, profile);
        }
        held.log(served);
        let full = held.predictions.len() >= PREDICTIONS_PER_FLUSH_MAX
            || held.windows.len() >= WINDOWS_PER_FLUSH_MAX;
        full && !self.is_full.swap(true, Ordering::Relaxed)
    }

    /// Takes out what one flush may hold; `None` when there is nothing.
    pub(super) fn take(&self) -> Option<Delta> {
        let mut held = self.held();
        self.is_full.store(false, Ordering::Relaxed);
        let mut delta = Delta::default();
        while delta.windows.len() < WINDOWS_PER_FLUSH_MAX {
            let Some(((version, start), counts)) = held.windows.pop_first() else {
                break;
            };
            delta.rows += counts.rows;
            delta.windows.push((version, start, counts::to_log(&counts)));
        }
        let logged = held.predictions.len().min(PREDICTIONS_PER_FLUSH_MAX);
        delta.predictions.extend(held.predictions.drain(..logged));
        (delta != Delta::default()).then_some(delta)
    }

    /// Whether there is nothing to be flushed.
    pub(crate) fn is_empty(&self) -> bool {
        let held = self.held();
        held.windows.is_empty() && held.predictions.is_empty()
    }

    /// Rows and predictions that were lost since this was last asked, because they did not fit.
    pub(super) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.held().lost)
    }

    /// Whatever a panic left behind is whole: counters move all at once or not at all.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn count(&mut self, served: &Served<'_>, profile: &ReferenceProfile) {
        let start = |row: usize| at(served, row).floor_to(served.window_micros);
        let rows = served.inputs.rows();
        let mut starts: Vec<Timestamp> = (0..if served.at.len() == 1 { rows.min(1) } else { rows })
            .map(start)
            .collect();
        let each = starts.clone();
        starts.sort_unstable();
        starts.dedup();
        for window in &starts {
            if starts.len() == 1 {
                self.add(
                    (served.version.clone(), *window),
                    profile,
                    (served.inputs, served.predictions),
                );
                continue;
            }
            let kept: Vec<bool> = each.iter().map(|start| start == window).collect();
            let predictions = served.predictions.iter().zip(&kept).filter(|(_, kept)| **kept);
            let predictions: Vec<f64> = predictions.map(|(prediction, _)| *prediction).collect();
            match served.inputs.keep(&kept) {
                Ok(inputs) => self.add(
                    (served.version.clone(), *window),
                    profile,
                    (inputs.as_ref(), &predictions),
                ),
                Err(error) => tracing::error!(%error, "served rows not counted"),
            }
        }
    }

    fn add(
        &mut self,
        window: (VersionId, Timestamp),
        profile: &ReferenceProfile,
        (inputs, predictions): (&Frame, &[f64]),
    ) {
        if self.windows.len() >= WINDOWS_HELD_MAX && !self.windows.contains_key(&window) {
            self.lost += inputs.rows() as u64;
            return;
        }
        let counts = self
            .windows
            .entry(window)
            .or_insert_with(|| ProfileCounts::zero(profile));
        if let Err(error) = counts.observe(profile, inputs, predictions) {
            tracing::error!(%error, "served rows do not fit the profile of their version");
            self.lost += inputs.rows() as u64;
        }
    }

    fn log(&mut self, served: &Served<'_>) {
        for (row, (id, score)) in served.ids.iter().zip(served.predictions).enumerate() {
            if id.is_empty() {
                continue;
            }
            // A longer id is known to no label.
            if self.predictions.len() >= PREDICTIONS_HELD_MAX || id.len() > TEXT_BYTES_MAX {
                self.lost += 1;
                continue;
            }
            let (id, version, score) = (id.clone(), served.version.clone(), *score);
            self.predictions.push(LoggedPrediction {
                id,
                version,
                score,
                at: at(served, row),
            });
        }
    }
}

fn at(served: &Served<'_>, row: usize) -> Timestamp {
    match served.at {
        [one] => *one,
        each => each[row],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::counts::tests::{profile, rows};

    const HOUR: i64 = 3_600_000_000;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_micros(hour * HOUR + 5)
    }

    fn counted(tally: &Tally, times: &[Timestamp], ids: &[String]) {
        counted_by("m", tally, times, ids);
    }

    fn counted_by(model: &str, tally: &Tally, times: &[Timestamp], ids: &[String]) {
        let (profile, inputs) = (profile(), rows(4, "EWR"));
        let version = VersionId {
            model: model.to_owned(),
            number: 2,
        };
        let served = Served {
            version: &version,
            profile: Some(&profile),
            inputs: &inputs,
            predictions: &[0.1, 0.2, 0.3, 0.4],
            at: times,
            ids,
            window_micros: HOUR,
        };
        assert!(!tally.count(&served));
    }

    #[test]
    fn each_row_is_counted_in_the_window_of_its_time_and_once() {
        let tally = Tally::default();
        counted(&tally, &[at(1), at(2), at(1), at(3)], &[]);
        counted(&tally, &[at(2)], &[]);
        let delta = tally.take().unwrap();
        let found: Vec<(i64, u64)> = delta
            .windows
            .iter()
            .map(|(_, start, counts)| (start.micros() / HOUR, counts.rows))
            .collect();
        assert_eq!(found, [(1, 2), (2, 5), (3, 1)]);
        assert_eq!(delta.rows, 8);
        assert!(tally.is_empty() && tally.take().is_none());
    }

    #[test]
    fn an_id_that_no_label_can_name_does_not_swell_the_entry_of_a_flush() {
        let tally = Tally::default();
        let ids = ["a", "", &"x".repeat(TEXT_BYTES_MAX + 1), "b"].map(str::to_owned);
        counted(&tally, &[at(1)], &ids);
        let logged = tally.take().unwrap().predictions;
        let logged: Vec<&str> = logged.iter().map(|logged| logged.id.as_str()).collect();
        assert_eq!(logged, ["a", "b"]);
    }

    #[test]
    fn versions_of_two_models_with_the_same_number_are_counted_apart() {
        let tally = Tally::default();
        counted_by("before", &tally, &[at(1)], &[]);
        counted_by("after", &tally, &[at(1)], &[]);
        let windows = tally.take().unwrap().windows;
        let found: Vec<(&str, u64)> = windows
            .iter()
            .map(|(version, _, counts)| (version.model.as_str(), counts.rows))
            .collect();
        assert_eq!(found, [("after", 4), ("before", 4)]);
    }

    #[test]
    fn predictions_are_logged_under_their_ids() {
        let tally = Tally::default();
        let ids = ["a", "", "c", "d"].map(str::to_owned);
        counted(&tally, &[at(1)], &ids);
        let logged = tally.take().unwrap().predictions;
        let logged: Vec<(&str, f64)> = logged
            .iter()
            .map(|logged| (logged.id.as_str(), logged.score))
            .collect();
        assert_eq!(logged, [("a", 0.1), ("c", 0.3), ("d", 0.4)]);
    }
}
