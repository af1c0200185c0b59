//! The acts of the demo, in order: a cluster forms, learns from winter, serves from spring to Christmas while it loses,
//! regains, gains and gives up nodes, and retrains itself when the world has changed; then everything is checked.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use covey_proto::v1;
use futures::future::try_join;
use tokio::task::JoinHandle;

use super::cluster::{self, DemoCluster};
use super::flights::{DAY, HOUR, Year};
use super::progress::Act;
use super::replay::{self, Replay};
use super::report::{Events, Report};
use super::tally::{FIRST_MONTH, Tally};
use super::timeline::{Stretch, Timeline, mid_month, month_start};
use super::{recount, rows, trained, training};

/// The stretch of time that is replayed at once before anything is served.
const HISTORY_STRETCH: i64 = 2 * DAY;
/// The stretch of time that is replayed at once while the models serve.
const LIVE_STRETCH: i64 = 8 * HOUR;
/// How often drift is checked: the monitor's window.
const DRIFT_EVERY: i64 = 7 * DAY;
/// When something happens to the cluster.
const KILL_MONTH: u32 = 5;
const RESTART_MONTH: u32 = 6;
const JOIN_MONTH: u32 = 7;
const REMOVE_MONTH: u32 = 8;

/// The demo on its way.
pub(crate) struct Story {
    root: PathBuf,
    definitions: PathBuf,
    year: Year,
    cluster: DemoCluster,
    tally: Tally,
    events: Events,
    killed: Option<usize>,
    joining: Option<JoinHandle<Result<std::time::Duration>>>,
}

impl Story {
    /// Loads the data and forms the cluster.
    pub(crate) async fn begin(root: &Path, definitions: &Path) -> Result<Self> {
        let act = Act::begin("Reading the year 2013", 0);
        let data = definitions.join("data");
        let year = tokio::task::spawn_blocking(move || Year::load(&data)).await??;
        act.end(&format!(
            "{} flights, {} hours of weather",
            year.flights.len(),
            year.weather.len()
        ));
        let act = Act::begin("Forming a cluster", 0);
        let cluster = DemoCluster::form(root).await?;
        act.end("3 nodes, 3 voters in every group");
        Ok(Self {
            root: root.to_owned(),
            definitions: definitions.to_owned(),
            year,
            cluster,
            tally: Tally::default(),
            events: Events::default(),
            killed: None,
            joining: None,
        })
    }

    /// Everything from the definitions to the report.
    pub(crate) async fn tell(&mut self) -> Result<Report> {
        self.define(&["entities.yaml", "views.yaml", "services.yaml"])
            .await?;
        let year = std::mem::replace(
            &mut self.year,
            Year {
                flights: Vec::new(),
                weather: Vec::new(),
                planes: Vec::new(),
            },
        );
        let mut timeline = Timeline::new(&year);
        let mut replay = Replay::new(self.cluster.fleet.clone());
        self.planes(&year).await?;
        self.history(&mut timeline, &mut replay).await?;
        self.learn().await?;
        self.define(&["serving.yaml"]).await?;
        training::deployments_ready(&self.cluster.fleet).await?;
        self.live(&mut timeline, &mut replay).await?;
        self.check(&year).await
    }

    async fn define(&self, files: &[&str]) -> Result<()> {
        let act = Act::begin("Applying definitions", 0);
        let endpoint = self.cluster.endpoints().first().cloned().unwrap_or_default();
        for file in files {
            training::apply(&endpoint, &self.definitions.join(file)).await?;
        }
        act.end(&files.join(", "));
        Ok(())
    }

    async fn planes(&mut self, year: &Year) -> Result<()> {
        let request = v1::PushRequest {
            view: "planes".to_owned(),
            rows: Some(rows::planes(&year.planes, month_start(1) - DAY)),
            producer: "demo-planes".to_owned(),
            sequence: 1,
            request_id: Vec::new().into(),
        };
        let reply = replay::push(&self.cluster.fleet, &request).await?;
        self.tally.pushed(vec![(year.planes.len(), reply)]);
        Ok(())
    }

    /// January to March: rows only.
    async fn history(&mut self, timeline: &mut Timeline<'_>, replay: &mut Replay) -> Result<()> {
        let (mut at, end) = (month_start(1), month_start(FIRST_MONTH));
        let act = Act::begin("January to March: history", steps(end - at, HISTORY_STRETCH));
        while at < end {
            at = (at + HISTORY_STRETCH).min(end);
            let batches = replay.batches(&timeline.next(at));
            let (pushed, _) = replay.push(&batches).await?;
            replay.acknowledge(&pushed);
            self.tally.pushed(pushed);
            act.step();
        }
        act.end(&format!("{} rows", self.tally.accepted));
        Ok(())
    }

    /// Two training sets and two models, trained by all nodes together.
    async fn learn(&mut self) -> Result<()> {
        for model in ["flight_delay", "flight_delay_plain"] {
            let act = Act::begin(&format!("Training {model}"), 0);
            let first = training::first_model(&self.cluster.fleet, model, month_start(FIRST_MONTH)).await?;
            let auc = first.job.metrics.get("auc_binned").copied().unwrap_or(f64::NAN);
            act.end(&format!(
                "{} rows, {} steps, AUC {auc:.3}",
                first.rows, first.job.step
            ));
            self.events.model_sha256.insert(model.to_owned(), first.sha256);
        }
        Ok(())
    }

    /// April to December: every flight is predicted while the cluster changes. While the flights of one stretch are
    /// asked about, the next one becomes known: each question is asked as of its own moment, so it cannot see that.
    async fn live(&mut self, timeline: &mut Timeline<'_>, replay: &mut Replay) -> Result<()> {
        let mut at = month_start(FIRST_MONTH);
        let end = month_start(13);
        let (mut month, mut drift_at) = (FIRST_MONTH, at + DRIFT_EVERY);
        let act = Act::begin("April to December: live", steps(end - at, LIVE_STRETCH));
        let mut known = Stretch::empty();
        while at < end || !timeline.is_over() || !known.scheduled.is_empty() {
            let from = at;
            at += LIVE_STRETCH;
            let killed_at = self.misfortune(from, at, &act).await?;
            let stretch = timeline.next(at);
            let batches = replay.batches(&stretch);
            let ((pushed, acknowledged_at), answered) =
                try_join(replay.push(&batches), replay.ask_and_label(&known)).await?;
            replay.acknowledge(&pushed);
            self.tally.pushed(pushed);
            answered
                .into_iter()
                .for_each(|(flights, asked)| self.tally.predicted(&flights, asked));
            if let Some(killed_at) = killed_at {
                self.events.failover_ms = acknowledged_at.duration_since(killed_at).as_secs_f64() * 1e3;
                act.say(&format!(
                    "all groups write again after {:.0} ms",
                    self.events.failover_ms
                ));
            }
            if from >= drift_at {
                drift_at += DRIFT_EVERY;
                self.drift(&act).await?;
            }
            self.joined(&act).await?;
            if month <= 12 && from >= month_start(month + 1) {
                act.say(&self.tally.month_line(month)?);
                month += 1;
            }
            known = stretch;
            act.step();
        }
        act.end(&format!("{} predictions", self.tally.predictions));
        Ok(())
    }

    /// What happens to the cluster between two moments. Gives the moment of a kill.
    async fn misfortune(&mut self, from: i64, until: i64, act: &Act) -> Result<Option<Instant>> {
        let happens = |month| (from..until).contains(&mid_month(month));
        if happens(KILL_MONTH) {
            let (number, group) = self.cluster.kill_busiest_leader().await?;
            let killed_at = Instant::now();
            act.say(&format!(
                "15 May: node {number}, leader of busy group {group}, killed with SIGKILL"
            ));
            self.killed = Some(number);
            self.events.killed = true;
            return Ok(Some(killed_at));
        }
        if happens(RESTART_MONTH)
            && let Some(number) = self.killed.take()
        {
            self.cluster.restart(number)?;
            act.say(&format!("15 June: node {number} started again"));
        }
        if happens(JOIN_MONTH) {
            self.cluster.join(&self.root).await?;
            let fleet = self.cluster.fleet.clone();
            self.joining = Some(tokio::spawn(async move { cluster::settled(&fleet, 4).await }));
            act.say("15 July: a fourth node joins");
        }
        if happens(REMOVE_MONTH) {
            self.wait_for_join(act).await?;
            self.cluster.remove_first().await?;
            act.say("15 August: the first node has given up its replicas and is removed");
        }
        Ok(None)
    }

    async fn joined(&mut self, act: &Act) -> Result<()> {
        if self.joining.as_ref().is_some_and(JoinHandle::is_finished) {
            self.wait_for_join(act).await?;
        }
        Ok(())
    }

    async fn wait_for_join(&mut self, act: &Act) -> Result<()> {
        if let Some(joining) = self.joining.take() {
            self.events.join_catchup_ms = joining.await??.as_secs_f64() * 1e3;
            act.say(&format!(
                "the fourth node was up to date after {:.0} ms",
                self.events.join_catchup_ms
            ));
        }
        Ok(())
    }

    async fn drift(&mut self, act: &Act) -> Result<()> {
        let runs = training::check_drift(&self.cluster.fleet).await?;
        for run in runs.iter().skip(self.events.runs.len()) {
            act.say(&format!(
                "drift: run {} {} (candidate {:.4}, champion {:.4})",
                run.number, run.stage, run.candidate_metric, run.champion_metric
            ));
        }
        self.events.runs = runs;
        Ok(())
    }

    /// Recounts, compares, and sums up.
    async fn check(&mut self, year: &Year) -> Result<Report> {
        let act = Act::begin("Recounting every row", 0);
        let counted = recount::recount(&self.cluster.fleet, year).await?;
        act.end(&format!(
            "{} lost, {} duplicated of {}",
            counted.lost, counted.duplicated, counted.compared
        ));
        let act = Act::begin("Comparing served with trained", 0);
        let compared = trained::compare(&self.cluster.fleet, &self.tally.samples).await?;
        act.end(&format!(
            "{} of {} values differ",
            compared.different, compared.values
        ));
        let (reports, alerts) = training::drift(&self.cluster.fleet).await?;
        let status = DemoCluster::status(&self.cluster.fleet).await?;
        let active = status
            .nodes
            .iter()
            .filter(|node| node.state() == v1::NodeState::Active)
            .count();
        self.events.retries = self.cluster.fleet.retries();
        Report::new(
            &self.tally,
            &self.events,
            (counted, compared),
            (reports, alerts),
            active,
        )
    }

    /// Stops every node.
    pub(crate) async fn stop(self) -> Result<()> {
        self.cluster.stop().await
    }

    /// Leaves the cluster running and says how to use it.
    pub(crate) fn leave_running(self) {
        let endpoint = self.cluster.endpoints().first().cloned().unwrap_or_default();
        let ids: Vec<String> = self.cluster.process_ids().iter().map(u32::to_string).collect();
        println!("\nThe cluster is still running. Try:");
        println!("  export COVEY_ENDPOINT={endpoint}");
        println!("  covey status");
        println!("  covey model versions flight_delay");
        println!("  covey drift list flight-delay");
        println!("Stop it with: kill {}", ids.join(" "));
        self.cluster.leave_running();
    }
}

fn steps(span: i64, stretch: i64) -> u64 {
    u64::try_from(span.div_euclid(stretch) + 1).unwrap_or(1)
}
