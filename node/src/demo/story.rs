//! The acts of the demo, in order: a cluster forms, learns from winter, serves from spring to Christmas while it loses,
//! regains, gains and gives up nodes, and retrains itself when the world has changed; then everything is checked.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use covey_proto::v1;
use futures::future::try_join;

use super::cluster::DemoCluster;
use super::failover::Failover;
use super::fate::{Event, Fate, What, millis};
use super::fleet::Fleet;
use super::flights::{DAY, HOUR, Year};
use super::progress::Act;
use super::replay::{self, Pushed, Replay};
use super::report::{Findings, Report};
use super::tally::{FIRST_MONTH, Tally};
use super::timeline::{Timeline, month_start};
use super::{recount, rows, trained, training};

/// The stretch of time that is replayed at once before anything is served.
const HISTORY_STRETCH: i64 = 2 * DAY;
/// The longest stretch of time that is replayed at once while the models serve; the first landing of a flight that is due
/// in it ends it earlier.
const LIVE_STRETCH: i64 = 8 * HOUR;
/// How often drift is checked and labels are told: the monitor's window.
const DRIFT_EVERY: i64 = 7 * DAY;

/// What one may ask a cluster that was left running.
const TRY: [&str; 6] = [
    "status",
    "model versions flight_delay",
    "model alias history flight_delay champion",
    "feature get recount_origin --entity origin=JFK --as-of 2013-07-01T12:00:00Z",
    "drift performance flight-delay",
    "pipeline runs",
];

/// The demo on its way.
pub(crate) struct Story {
    root: PathBuf,
    definitions: PathBuf,
    fleet: Fleet,
    /// `None` while it is in the hands of fate.
    cluster: Option<DemoCluster>,
    tally: Tally,
    found: Findings,
    /// Since the kill.
    failover: Option<Failover>,
}

impl Story {
    /// Forms the cluster.
    pub(crate) async fn begin(root: &Path, definitions: &Path) -> Result<Self> {
        let act = Act::begin("Forming a cluster", 0);
        let cluster = DemoCluster::form(root).await?;
        act.end("3 nodes, 3 voters in every group");
        Ok(Self {
            root: root.to_owned(),
            definitions: definitions.to_owned(),
            fleet: cluster.fleet.clone(),
            cluster: Some(cluster),
            tally: Tally::default(),
            found: Findings::default(),
            failover: None,
        })
    }

    /// Everything from the definitions to the report.
    pub(crate) async fn tell(&mut self, year: &Year) -> Result<Report> {
        self.define(&["entities.yaml", "views.yaml", "services.yaml"])
            .await?;
        let mut timeline = Timeline::new(year);
        let mut replay = Replay::new(self.fleet.clone());
        self.planes(year).await?;
        self.history(&mut timeline, &mut replay).await?;
        self.learn().await?;
        self.define(&["serving.yaml"]).await?;
        training::deployments_ready(&self.fleet).await?;
        self.live(&mut timeline, &mut replay).await?;
        self.check(year).await
    }

    async fn define(&self, files: &[&str]) -> Result<()> {
        let act = Act::begin("Applying definitions", 0);
        for file in files {
            self.apply(file).await?;
        }
        act.end(&files.join(", "));
        Ok(())
    }

    async fn apply(&self, file: &str) -> Result<()> {
        let cluster = self.cluster.as_ref().context("the cluster is in other hands")?;
        let endpoint = cluster.endpoints().first().cloned().unwrap_or_default();
        training::apply(&endpoint, &self.definitions.join(file)).await
    }

    async fn planes(&mut self, year: &Year) -> Result<()> {
        let request = v1::PushRequest {
            view: "planes".to_owned(),
            rows: Some(rows::planes(&year.planes, month_start(1) - DAY)),
            producer: "demo-planes".to_owned(),
            sequence: 1,
            request_id: Vec::new().into(),
        };
        let sent = Instant::now();
        let reply = replay::push(&self.fleet, &request).await?;
        self.tally.pushed(vec![Pushed {
            offered: year.planes.len(),
            reply,
            sent,
            acknowledged: Instant::now(),
        }]);
        Ok(())
    }

    /// January to March: rows only.
    async fn history<'y>(&mut self, timeline: &mut Timeline<'y>, replay: &mut Replay<'y>) -> Result<()> {
        let (mut at, end) = (month_start(1), month_start(FIRST_MONTH));
        let act = Act::begin("January to March: history", steps(end - at, HISTORY_STRETCH));
        while at < end {
            at = (at + HISTORY_STRETCH).min(end);
            let mut batches = replay.features(&timeline.next(at));
            batches.extend(replay.all_outcomes());
            let pushed = replay.push(&batches).await?;
            replay.acknowledge(&pushed);
            self.tally.pushed(pushed);
            act.step();
        }
        act.end(&format!("{} rows", self.tally.accepted));
        Ok(())
    }

    /// Two training sets and two models, trained by all nodes together.
    async fn learn(&mut self) -> Result<()> {
        let act = Act::begin("Training two models", 0);
        self.apply("training.yaml").await?;
        act.end("training.yaml");
        for (model, id) in [
            ("flight_delay", "flight-delay-first"),
            ("flight_delay_plain", "flight-delay-plain-first"),
        ] {
            let lesson = training::lesson(&self.fleet, id).await?;
            let auc = lesson.job.metrics.get("auc_binned").copied().unwrap_or(f64::NAN);
            println!(
                "  {model}: {} rows, {} steps, AUC {auc:.3}",
                lesson.rows, lesson.job.step
            );
            self.found.model_sha256.insert(model.to_owned(), lesson.sha256);
        }
        Ok(())
    }

    /// April to December: every flight is predicted while the cluster changes.
    async fn live<'y>(&mut self, timeline: &mut Timeline<'y>, replay: &mut Replay<'y>) -> Result<()> {
        let (mut at, end) = (month_start(FIRST_MONTH), month_start(13));
        let act = Act::begin("April to December: live", steps(end - at, DAY));
        let cluster = self.cluster.take().context("the cluster is in other hands")?;
        let mut fate = Fate::begin(cluster, self.root.clone(), at, act.voice());
        let (mut month, mut drift_at, mut day) = (FIRST_MONTH, at + DRIFT_EVERY, at);
        while at < end || !timeline.is_over() {
            fate.reached(at).await?;
            if let Some(killed_at) = fate.killed() {
                self.failover = Some(Failover::new(replay.groups(), killed_at));
            }
            at = timeline.until_landing(at + LIVE_STRETCH);
            self.stretch(timeline, replay, at, &act).await?;
            if at >= drift_at {
                drift_at += DRIFT_EVERY;
                self.drift(replay, &act).await?;
            }
            if month <= 12 && at >= month_start(month + 1) {
                act.say(&self.tally.month_line(month)?);
                month += 1;
            }
            while day + DAY <= at {
                day += DAY;
                act.step();
            }
        }
        self.drift(replay, &act).await?;
        let (cluster, fates) = fate.end().await?;
        self.cluster = Some(cluster);
        self.found.join_catchup_ms = fates.join_catchup.map_or(0.0, millis);
        self.found.events = fates.events;
        act.end(&format!("{} predictions", self.tally.predictions));
        Ok(())
    }

    /// One stretch: what became known, then the questions. Outcomes are no features, so they go beside the questions:
    /// they are of flights that landed in this stretch, and no flight is asked about in the stretch that it lands in.
    async fn stretch<'y>(
        &mut self,
        timeline: &mut Timeline<'y>,
        replay: &mut Replay<'y>,
        until: i64,
        act: &Act,
    ) -> Result<()> {
        let stretch = timeline.next(until);
        let features = replay.features(&stretch);
        let started = Instant::now();
        let pushed = replay.push(&features).await?;
        self.found.spent("pushing", started);
        replay.acknowledge(&pushed);
        self.recovered(&pushed, act);
        let started = Instant::now();
        let outcomes = replay.outcomes();
        let (outcomes, answered) = try_join(replay.push(&outcomes), replay.predict(&stretch)).await?;
        self.found.spent("predicting", started);
        replay.acknowledge(&outcomes);
        replay.remember_labels(&stretch, month_start(FIRST_MONTH));
        self.tally.pushed(pushed);
        self.tally.pushed(outcomes);
        for (flights, asked) in answered {
            self.tally.predicted(&flights, asked);
        }
        Ok(())
    }

    /// Whether every group has taken a write again after the kill.
    fn recovered(&mut self, pushed: &[Pushed], act: &Act) {
        let Some(failover) = &mut self.failover else {
            return;
        };
        let took = pushed.iter().find_map(|pushed| {
            failover.acknowledged((pushed.sent, pushed.acknowledged), &pushed.reply.positions)
        });
        if let Some(took) = took {
            self.found.failover_ms = millis(took);
            act.say(&format!(
                "all groups write again after {:.0} ms",
                self.found.failover_ms
            ));
        }
    }

    /// Has everything flushed and scored, waits for a retraining that this has started, and tells the labels.
    async fn drift<'y>(&mut self, replay: &mut Replay<'y>, act: &Act) -> Result<()> {
        let started = Instant::now();
        // Outcomes are the examples that a retraining learns from.
        let outcomes = replay.all_outcomes();
        let pushed = replay.push(&outcomes).await?;
        replay.acknowledge(&pushed);
        self.tally.pushed(pushed);
        self.found.spent("pushing", started);
        let started = Instant::now();
        let runs = training::check_drift(&self.fleet).await?;
        for run in runs.iter().skip(self.found.runs.len()) {
            act.say(&format!(
                "drift: run {} {} (candidate {:.4}, champion {:.4})",
                run.number, run.stage, run.candidate_metric, run.champion_metric
            ));
        }
        self.found.runs = runs;
        self.found.spent("drift and retraining", started);
        let started = Instant::now();
        let (joined, unmatched) = replay.label().await?;
        self.tally.labels_joined += joined;
        self.tally.labels_unmatched += unmatched;
        self.found.spent("labels", started);
        Ok(())
    }

    /// Recounts, compares, and sums up.
    async fn check(&mut self, year: &Year) -> Result<Report> {
        let act = Act::begin("Recounting every row", 0);
        let counted = recount::recount(&self.fleet, year).await?;
        act.end(&format!(
            "{} lost, {} duplicated, {} wrong of {} values",
            counted.lost, counted.duplicated, counted.wrong, counted.compared
        ));
        let act = Act::begin("Comparing served with trained", 0);
        let compared = trained::compare(&self.fleet, &self.tally.samples).await?;
        act.end(&format!(
            "{} of {} values differ",
            compared.different, compared.values
        ));
        let found = &mut self.found;
        (found.reports, found.alerts) = training::drift(&self.fleet).await?;
        found.performance = training::performance(&self.fleet).await?;
        let status = DemoCluster::status(&self.fleet).await?;
        let is_active = |node: &&v1::Node| node.state() == v1::NodeState::Active;
        found.nodes_at_end = status.nodes.iter().filter(is_active).count();
        found.retries = self.fleet.retries();
        let retrained = |run: &v1::PipelineRun| Event {
            at_micros: run.as_of_micros,
            what: What::Retrained,
            text: format!("version {} becomes champion", run.candidate),
        };
        let promoted = found.runs.iter().filter(|run| run.stage == "promoted");
        let promoted: Vec<Event> = promoted.map(retrained).collect();
        found.events.extend(promoted);
        found.events.sort_by_key(|event| event.at_micros);
        Report::new(&self.tally, &self.found, (counted, compared))
    }

    /// Stops every node.
    pub(crate) async fn stop(self) -> Result<()> {
        match self.cluster {
            Some(cluster) => cluster.stop().await,
            // Fate has taken it down.
            None => Ok(()),
        }
    }

    /// Leaves the cluster running and says how to use it.
    pub(crate) fn leave_running(self) {
        let Some(cluster) = self.cluster else { return };
        let endpoint = cluster.endpoints().first().cloned().unwrap_or_default();
        let ids: Vec<String> = cluster.process_ids().iter().map(u32::to_string).collect();
        let covey = std::env::args().next().unwrap_or_else(|| "covey".to_owned());
        println!("\nThe cluster is still running. Try:");
        println!("  export COVEY_ENDPOINT={endpoint}");
        for line in TRY {
            println!("  {covey} {line}");
        }
        println!("Stop it with:\n  kill {}", ids.join(" "));
        cluster.leave_running();
    }
}

/// Reads the year's data from beneath the definitions.
pub(crate) async fn read(definitions: &Path) -> Result<Year> {
    let act = Act::begin("Reading the year 2013", 0);
    let data = definitions.join("data");
    let year = tokio::task::spawn_blocking(move || Year::load(&data)).await??;
    act.end(&format!(
        "{} flights, {} hours of weather",
        year.flights.len(),
        year.weather.len()
    ));
    Ok(year)
}

fn steps(span: i64, stretch: i64) -> u64 {
    u64::try_from(span.div_euclid(stretch) + 1).unwrap_or(1)
}
