//! What befalls the cluster while the year goes on: a task of its own, so that rows and questions are under way when a
//! node is killed, comes back, joins or leaves.
//!
//! Invariant: one thing at a time, in the order of the year; what has begun is finished before the next begins.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cluster::{self, DemoCluster};
use super::progress::Voice;
use super::timeline::mid_month;

const KILL_MONTH: u32 = 5;
const RESTART_MONTH: u32 = 6;
const JOIN_MONTH: u32 = 7;
const REMOVE_MONTH: u32 = 8;
/// Nodes once the fourth has joined.
const NODES_AT_MOST: usize = 4;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// The leader of the busiest group was killed.
    Killed,
    /// It was started again.
    Restarted,
    /// A fourth node was started.
    Joined,
    /// The fourth node was up to date.
    CaughtUp,
    /// The first node began to give up its replicas.
    Leaving,
    /// The first node was removed.
    Removed,
    /// A new version became champion.
    Retrained,
}

/// Something that happened to the cluster, at a moment of the replayed year.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Event {
    /// Microseconds since the epoch, of the flights' time.
    pub(super) at_micros: i64,
    pub(super) what: What,
    pub(super) text: String,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(super) struct Fates {
    pub(super) events: Vec<Event>,
    pub(super) join_catchup: Option<Duration>,
}

/// The task, and the clock that it goes by.
pub(super) struct Fate {
    clock: watch::Sender<i64>,
    killed: watch::Receiver<Option<Instant>>,
    task: Option<JoinHandle<Result<(DemoCluster, Fates)>>>,
    done: Option<(DemoCluster, Fates)>,
}

impl Fate {
    /// Takes charge of the cluster. The clock stands at `now`.
    pub(super) fn begin(cluster: DemoCluster, root: PathBuf, now: i64, voice: Voice) -> Self {
        let (clock, time) = watch::channel(now);
        let (kill, killed) = watch::channel(None);
        let course = Course {
            cluster,
            time,
            kill,
            voice,
            fates: Fates::default(),
        };
        Self {
            clock,
            killed,
            task: Some(tokio::spawn(course.run(root))),
            done: None,
        }
    }

    /// Moves the clock. Fails when something has gone wrong meanwhile.
    pub(super) async fn reached(&mut self, at: i64) -> Result<()> {
        // Nobody listens when everything has happened.
        let _ = self.clock.send(at);
        match &self.task {
            Some(task) if task.is_finished() => self.finish().await,
            Some(_) | None => Ok(()),
        }
    }

    /// The moment of the kill, once.
    pub(super) fn killed(&mut self) -> Option<Instant> {
        match self.killed.has_changed() {
            Ok(true) => *self.killed.borrow_and_update(),
            Ok(false) | Err(_) => None,
        }
    }

    /// Waits for what has begun, and gives the cluster back.
    pub(super) async fn end(mut self) -> Result<(DemoCluster, Fates)> {
        self.finish().await?;
        self.done.take().ok_or_else(|| anyhow!("the cluster is gone"))
    }

    async fn finish(&mut self) -> Result<()> {
        if let Some(task) = self.task.take() {
            self.done = Some(task.await?.context("something went wrong with a node")?);
        }
        Ok(())
    }
}

impl Drop for Fate {
    /// A demo that fails half-way takes the cluster down with it.
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The course of events.
struct Course {
    cluster: DemoCluster,
    time: watch::Receiver<i64>,
    kill: watch::Sender<Option<Instant>>,
    voice: Voice,
    fates: Fates,
}

impl Course {
    async fn run(mut self, root: PathBuf) -> Result<(DemoCluster, Fates)> {
        self.middle_of(KILL_MONTH).await?;
        let (number, group, killed_at) = self.cluster.kill_busiest_leader().await?;
        let text = format!("node {number}, leader of busy group {group}, killed with SIGKILL");
        self.happened(What::Killed, text);
        self.kill.send_replace(Some(killed_at));

        self.middle_of(RESTART_MONTH).await?;
        self.cluster.restart(number).await?;
        self.happened(What::Restarted, format!("node {number} started again"));

        self.middle_of(JOIN_MONTH).await?;
        self.happened(What::Joined, "a fourth node joins".to_owned());
        let started = Instant::now();
        self.cluster.join(&root).await?;
        cluster::settled(&self.cluster.fleet, NODES_AT_MOST).await?;
        let took = started.elapsed();
        self.fates.join_catchup = Some(took);
        let text = format!("the fourth node was up to date after {:.0} ms", millis(took));
        self.happened(What::CaughtUp, text);

        self.middle_of(REMOVE_MONTH).await?;
        self.happened(What::Leaving, "the first node gives up its replicas".to_owned());
        self.cluster.remove_first().await?;
        self.happened(What::Removed, "the first node is removed".to_owned());
        Ok((self.cluster, self.fates))
    }

    async fn middle_of(&mut self, month: u32) -> Result<()> {
        let reached = self.time.wait_for(|at| *at >= mid_month(month)).await;
        reached.map(|_| ()).context("the year ended early")
    }

    fn happened(&mut self, what: What, text: String) {
        let at_micros = *self.time.borrow();
        self.voice
            .say(&format!("{}: {text}", super::timeline::day(at_micros)));
        self.fates.events.push(Event {
            at_micros,
            what,
            text,
        });
    }
}

/// Milliseconds.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
