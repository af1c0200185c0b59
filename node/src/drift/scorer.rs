//! Scores windows on the leader of their deployment's group: an actor that looks at what has been flushed since.
//!
//! A window is scored when a later one has begun, when somebody asks, or when it has rows enough and no more have come
//! for a while. Rows that come later open it again.
//!
//! Invariants: an alert starts its pipeline before the verdict is written down, under a request id that follows from the
//! window, so neither a crash nor a second leader starts it twice or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use covey_cluster::Consistency;
use covey_ml::ReferenceProfile;
use covey_state::monitor::{Alert, DriftBook, DriftWindow, Monitor};
use covey_state::registry::VersionId;
use covey_state::{Command, Key, Record, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, cast};
use tokio::time::Instant;

use super::{counts, monitor_of, verdict};
use crate::api::Caller;
use crate::context::Context;
use crate::error::{Failure, chain};
use crate::ledger::same_named;
use crate::{pipelines, registry, serving};

/// How often it is looked whether anything has been flushed.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A window with rows enough is scored when no more rows have come for this long.
const QUIET: Duration = Duration::from_secs(5);
/// Open windows of one deployment that are read at once.
const PAGE: usize = 100;
/// Profiles that are kept in memory.
const PROFILES_MAX: usize = 32;

/// The actor.
pub(super) struct Scorer;

/// What can be asked of it.
pub(super) enum Message {
    /// Look what has been flushed.
    Look,
    /// Score what a deployment's windows hold now; answers how many verdicts there were.
    Score(String, RpcReplyPort<Result<usize, Failure>>),
}

/// What it knows.
pub(super) struct Scoring {
    context: Context,
    watched: BTreeMap<String, Watched>,
    profiles: BTreeMap<VersionId, Arc<ReferenceProfile>>,
}

/// A deployment whose group this node leads.
struct Watched {
    /// How many flushes its group had counted.
    flushes: u64,
    /// When that last changed.
    since: Instant,
    /// Whether there may be windows to score.
    open: bool,
}

/// A window with its version and start.
type Window = (VersionId, Timestamp, DriftWindow);

impl Actor for Scorer {
    type Msg = Message;
    type State = Scoring;
    type Arguments = Context;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        context: Context,
    ) -> Result<Scoring, ActorProcessingErr> {
        cast!(myself, Message::Look)?;
        Ok(Scoring {
            context,
            watched: BTreeMap::new(),
            profiles: BTreeMap::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        scoring: &mut Scoring,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Look => {
                scoring.look().await;
                // Only now: looks that take longer than their interval would pile up before whoever asks.
                myself.send_after(LOOK_EVERY, || Message::Look);
            }
            Message::Score(deployment, reply) => {
                let scored = scoring.score(&deployment, Due::All).await;
                // Whoever asked may have gone away.
                let _ = reply.send(scored);
            }
        }
        Ok(())
    }
}

/// Which windows are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Those that a later window has ended.
    Ended,
    /// Those, and those with rows enough for a verdict.
    Quiet,
    /// All.
    All,
}

impl Scoring {
    async fn look(&mut self) {
        let context = self.context.clone();
        let ledger = &context.ledger;
        for name in context.catalog.current().deployments.keys() {
            if !ledger.leads(ledger.group_of_name(name)) {
                self.watched.remove(name);
                continue;
            }
            if let Err(error) = self.look_at(name).await {
                tracing::warn!(
                    deployment = name,
                    error = chain(&error),
                    "drift not scored; it is tried again"
                );
            }
        }
    }

    async fn look_at(&mut self, name: &str) -> Result<(), Failure> {
        let flushes = self.book(name).await?.flushes;
        let now = Instant::now();
        let fresh = |flushes| Watched {
            flushes,
            since: now,
            open: true,
        };
        // 0 is what a deployment begins with: there is nothing to score.
        let watched = self.watched.entry(name.to_owned()).or_insert_with(|| fresh(0));
        let changed = watched.flushes != flushes;
        if changed {
            *watched = fresh(flushes);
        }
        let quiet = watched.since + QUIET <= now;
        if !watched.open || !(changed || quiet) {
            return Ok(());
        }
        if quiet {
            // Even if scoring fails now, the next attempt waits for a while.
            watched.since = now;
        }
        self.score(name, if quiet { Due::Quiet } else { Due::Ended })
            .await?;
        if let Some(watched) = self.watched.get_mut(name).filter(|_| quiet) {
            watched.open = false;
        }
        Ok(())
    }

    async fn book(&self, name: &str) -> Result<DriftBook, Failure> {
        let (caller, ledger) = (Caller::internal("drift"), &self.context.ledger);
        let (group, key) = (ledger.group_of_name(name), Key::DriftBook(name.to_owned()));
        // The leader's own state has every verdict that this actor has written.
        match ledger.get(&caller, group, key, Consistency::Local).await? {
            Some(Record::DriftBook(book)) => Ok(book),
            _ => Ok(DriftBook::default()),
        }
    }

    /// A page of the windows with rows that no verdict covers, after `last`, oldest first; and where the next one begins.
    async fn open(&self, name: &str, last: Option<Key>) -> Result<(Vec<Window>, Option<Key>), Failure> {
        let (caller, ledger) = (Caller::internal("drift"), &self.context.ledger);
        let (group, oldest) = (ledger.group_of_name(name), (Timestamp::MIN, VersionId::default()));
        let from = last
            .clone()
            .unwrap_or(Key::DriftOpen(name.to_owned(), oldest.0, oldest.1));
        let found = ledger
            .scan(&caller, group, from, same_named, PAGE, Consistency::Local)
            .await?;
        let next = found
            .last()
            .filter(|_| found.len() == PAGE)
            .map(|(key, _)| key.clone());
        let opened = found.into_iter().map(|(key, _)| key);
        let window = |key| match key {
            Key::DriftOpen(name, start, version) => Some(Key::DriftWindow(name, start, version)),
            _ => None,
        };
        let keys: Vec<Key> = opened
            .filter(|key| last.as_ref() != Some(key))
            .filter_map(window)
            .collect();
        let records = ledger
            .get_many(&caller, group, keys.clone(), Consistency::Local)
            .await?;
        let window = |(key, record)| match (key, record) {
            (Key::DriftWindow(_, start, version), Some(Record::DriftWindow(window))) => {
                Some((version, start, window))
            }
            _ => None,
        };
        Ok((keys.into_iter().zip(records).filter_map(window).collect(), next))
    }

    /// Scores the open windows that are due. One that cannot be scored does not hold up the others.
    async fn score(&mut self, name: &str, due: Due) -> Result<usize, Failure> {
        let catalog = self.context.catalog.current();
        if !catalog.deployments.contains_key(name) {
            return Ok(0);
        }
        let monitor = monitor_of(&catalog, name);
        let newest = self.book(name).await?.newest;
        let (mut scored, mut last) = (0, None);
        loop {
            let (windows, next) = self.open(name, last).await?;
            for window in due_windows(windows, (due, newest), monitor) {
                let (version, start) = (window.0.clone(), window.1);
                match self.judge(name, monitor, window).await {
                    Ok(judged) => scored += usize::from(judged),
                    Err(failure) if failure.may_pass() => return Err(failure),
                    Err(failure) => tracing::error!(
                        deployment = name,
                        %version,
                        window = start.micros(),
                        error = chain(&failure),
                        "drift window cannot be scored"
                    ),
                }
            }
            match next {
                Some(next) => last = Some(next),
                None => return Ok(scored),
            }
        }
    }

    /// Scores a window and writes the verdict down. False if its version has no profile to compare it with.
    async fn judge(
        &mut self,
        name: &str,
        monitor: Option<&Monitor>,
        (version, start, window): Window,
    ) -> Result<bool, Failure> {
        let Some(profile) = self.profile(&version).await? else {
            return Ok(false);
        };
        let counts = counts::from_log(&profile, &window.counts)?;
        let thresholds = verdict::thresholds(monitor);
        let scored = self
            .context
            .compute
            .run(move || covey_ml::score(&profile, &counts, &thresholds))
            .await;
        let scored = scored.map_err(|error| Failure::internal("scoring a drift window", error))?;
        let alert = monitor.and_then(|monitor| verdict::alert(monitor, (version.clone(), start), &scored));
        if let (Some(monitor), Some(alert)) = (monitor, &alert) {
            self.raise(name, monitor, alert).await?;
        }
        let command = Command::ReportDrift {
            deployment: name.to_owned(),
            version,
            window: start,
            report: verdict::report(&scored),
            alert,
        };
        let ledger = &self.context.ledger;
        ledger
            .ask_unique(&Caller::internal("drift"), ledger.group_of_name(name), command)
            .await
            .map(|_| true)
    }

    /// Starts the monitor's pipeline, as of the end of the window; one that is running or cooling down stays as it is.
    async fn raise(&self, name: &str, monitor: &Monitor, alert: &Alert) -> Result<(), Failure> {
        tracing::warn!(deployment = name, monitor = monitor.name, features = ?alert.features, "drift alert");
        let Some(pipeline) = &monitor.pipeline else {
            return Ok(());
        };
        let as_of = alert.window.plus_micros(monitor.window_micros);
        let identity = format!(
            "alert {}/{}/{}",
            monitor.name,
            alert.version,
            alert.window.micros()
        );
        let caller = pipelines::deterministic_caller(&identity, "drift");
        let trigger = format!("drift of deployment {name}, version {}", alert.version);
        match pipelines::start(&self.context, &caller, pipeline, as_of, trigger).await {
            Ok(run) => tracing::info!(pipeline, run = run.number, "pipeline started by drift"),
            Err(Failure::Rejected(rejection)) => {
                tracing::debug!(pipeline, %rejection, "pipeline not started")
            }
            Err(Failure::NotFound { .. }) => {
                tracing::warn!(pipeline, "the monitor's pipeline does not exist")
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    async fn profile(&mut self, version: &VersionId) -> Result<Option<Arc<ReferenceProfile>>, Failure> {
        if let Some(profile) = self.profiles.get(version) {
            return Ok(Some(Arc::clone(profile)));
        }
        let caller = Caller::internal("drift");
        let found = registry::version(&self.context, &caller, &version.model, version.number).await?;
        let Some(profile) = serving::load_profile(&self.context, &found).await? else {
            return Ok(None);
        };
        if self.profiles.len() >= PROFILES_MAX {
            self.profiles.clear();
        }
        let profile = Arc::new(profile);
        self.profiles.insert(version.clone(), Arc::clone(&profile));
        Ok(Some(profile))
    }
}

/// Those of some open windows that are due; `newest` is the start of the newest window, open or not.
fn due_windows(
    windows: Vec<Window>,
    (due, newest): (Due, Timestamp),
    monitor: Option<&Monitor>,
) -> Vec<Window> {
    let rows_min = verdict::thresholds(monitor).rows_min;
    let is_due = |start: Timestamp, window: &DriftWindow| match due {
        Due::All => true,
        Due::Quiet => start < newest || window.counts.rows >= rows_min,
        Due::Ended => start < newest,
    };
    windows
        .into_iter()
        .filter(|(_, start, window)| is_due(*start, window))
        .collect()
}

#[cfg(test)]
mod tests {
    use covey_state::monitor::WindowCounts;

    use super::*;

    fn window(start: i64, rows: u64) -> Window {
        let counts = WindowCounts {
            rows,
            ..WindowCounts::default()
        };
        (
            VersionId::default(),
            Timestamp::from_micros(start),
            DriftWindow {
                counts,
                scored_rows: 0,
            },
        )
    }

    #[test]
    fn a_window_is_due_when_it_has_ended_or_has_rows_enough_or_somebody_asks() {
        let windows = || vec![window(10, 9), window(20, 600), window(20, 5)];
        let newest = Timestamp::from_micros(20);
        let rows = |due| -> Vec<u64> {
            due_windows(windows(), (due, newest), None)
                .into_iter()
                .map(|(_, _, window)| window.counts.rows)
                .collect()
        };
        assert_eq!(rows(Due::Ended), [9]);
        assert_eq!(rows(Due::Quiet), [9, 600]);
        assert_eq!(rows(Due::All), [9, 600, 5]);
    }
}
