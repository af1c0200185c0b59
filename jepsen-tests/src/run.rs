//! One run: a cluster, its clients, its faults, and the verdict.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::divergence;
use crate::evidence::{self, Demand, Verdict, write_json};
use crate::fault::{FaultKind, Injected, Lane, plan};
use crate::fleet::{DiskKind, Fleet, FleetConfig, Process};
use crate::history::{self, Event, Recorder};
use crate::judge::{Findings, judge};
use crate::nemesis;
use crate::waiting::pause;
use crate::workload::{self, Workload, WorkloadKind};

/// How long a client thinks between two operations, in milliseconds.
const THINK_MS: std::ops::Range<u64> = 5..60;
/// Answered operations of each workload for each second that a run must have had.
const OK_PER_SECOND: f64 = 0.5;

const HISTORY: &str = "history.jsonl";
const FAULTS: &str = "faults.json";
const VERDICT: &str = "verdict.json";
const TIMELINE: &str = "timeline.html";

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// The cluster.
    pub fleet: FleetConfig,
    /// What clients do.
    pub workloads: Vec<WorkloadKind>,
    /// What is broken.
    pub faults: Vec<FaultKind>,
    /// Determines the faults and the clients' choices.
    pub seed: u64,
    /// How long clients and faults are at work.
    pub length: Duration,
    /// Clients of each workload.
    pub clients: usize,
    /// Where the evidence goes.
    pub output: PathBuf,
}

/// Leaves out the faults that this machine, network or disk cannot give; says of each why.
pub async fn possible(faults: &[FaultKind], config: &FleetConfig) -> (Vec<FaultKind>, Vec<String>) {
    let cuts = crate::fleet::can_cut(config.network).await;
    let delays = faults.contains(&FaultKind::Latency) && crate::fleet::can_delay(config.network).await;
    let mut left_out = Vec::new();
    let kept = faults.iter().copied().filter(|kind| {
        let why = match kind {
            FaultKind::DiskFull if config.disk == DiskKind::Directory => {
                Some("it needs --disk tmpfs or volatile")
            }
            FaultKind::PowerLoss | FaultKind::SlowDisk if config.disk != DiskKind::Volatile => {
                Some("it needs --disk volatile")
            }
            FaultKind::Clock if !Process::clocks_can_move() => Some("libfaketime is not installed"),
            FaultKind::Latency if cuts && !delays => Some("the kernel has no queues of packets (NFQUEUE)"),
            _ if kind.lane() == Lane::Network && !cuts => Some("it needs network namespaces"),
            _ => None,
        };
        left_out.extend(why.map(|why| format!("`{}` is left out: {why}", kind.name())));
        why.is_none()
    });
    (kept.collect(), left_out)
}

/// Runs it; the verdict and all evidence are in the output directory.
pub async fn run(config: &RunConfig) -> Result<Verdict> {
    let output = &config.output;
    let is_empty = !output.exists() || std::fs::read_dir(output)?.next().is_none();
    ensure!(is_empty, "{} is not empty", output.display());
    std::fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
    let fleet = Arc::new(Fleet::start(config.fleet.clone()).await?);
    workload::prepare(&fleet, &config.workloads, config.length).await?;
    let recorder = Arc::new(Recorder::create(&output.join(HISTORY))?);
    let mut trouble = Vec::new();
    let work = Work::prepare(config, &fleet, &recorder).await?;
    // A look at an old state must not be older than what the workloads begin with.
    divergence::settled(&fleet).await?;
    let began_us = recorder.now_us();
    let steps = plan(config.seed, &config.faults, config.length);
    let (work, injected) = under_faults(config, work, (&fleet, &recorder), &steps).await?;
    let seconds = Duration::from_micros(recorder.now_us() - began_us).as_secs_f64();
    let healed = match nemesis::restore(&fleet).await {
        Ok(healed) => u64::try_from(healed.as_millis()).ok(),
        Err(error) => {
            trouble.push(format!("the cluster did not heal: {error:#}"));
            None
        }
    };
    trouble.extend(work.finish().await.into_iter().map(|error| format!("{error:#}")));
    let history = recorder.history()?;
    let different = divergence::find(&fleet, &history).await.unwrap_or_else(|error| {
        trouble.push(format!("the replicas could not be compared: {error:#}"));
        Vec::new()
    });
    trouble.extend(different.iter().take(20).cloned());
    fleet.stop().await;
    let verdict = Verdict {
        passed: false,
        vacuous: Vec::new(),
        trouble,
        seed: config.seed,
        seconds,
        network: fleet.network().name().to_owned(),
        healed_in_ms: healed,
        findings: Vec::new(),
        divergent: different.len(),
        faults: evidence::count(&injected),
    };
    write_json(&output.join(FAULTS), &injected)?;
    conclude(
        output,
        (verdict, &config.faults),
        &injected,
        (history, &config.workloads),
    )
    .await
}

/// Clients work until every fault has been mended.
async fn under_faults(
    config: &RunConfig,
    work: Work,
    (fleet, recorder): (&Arc<Fleet>, &Arc<Recorder>),
    steps: &[crate::fault::Step],
) -> Result<(Work, Vec<Injected>)> {
    let stop = Arc::new(AtomicBool::new(false));
    let working = tokio::spawn(work.work_until(stop.clone()));
    let began = tokio::time::Instant::now();
    let injected = nemesis::carry_out(fleet, recorder, steps, config.length).await;
    pause(config.length.saturating_sub(began.elapsed())).await;
    stop.store(true, Ordering::Relaxed);
    Ok((working.await.context("the clients have panicked")??, injected))
}

/// Judges a history, decides, and writes the verdict and the timeline.
async fn conclude(
    output: &Path,
    (mut verdict, faults): (Verdict, &[FaultKind]),
    injected: &[Injected],
    (history, workloads): (Vec<Event>, &[WorkloadKind]),
) -> Result<Verdict> {
    let kinds = workloads.to_vec();
    let judging = tokio::task::spawn_blocking(move || {
        let findings: Vec<Findings> = kinds.iter().map(|kind| judge(*kind, &history)).collect();
        (findings, history)
    });
    let (findings, history) = judging.await.context("the judge has panicked")?;
    let demand = Demand {
        faults: faults.to_vec(),
        ok_per_second: OK_PER_SECOND,
    };
    verdict.vacuous = demand.unmet(&verdict.faults, &findings, verdict.seconds);
    verdict.findings = findings;
    let verdict = verdict.decided();
    write_json(&output.join(VERDICT), &verdict)?;
    let page = evidence::page(&verdict, injected, &history);
    std::fs::write(output.join(TIMELINE), page).context("cannot write the timeline")?;
    Ok(verdict)
}

/// Judges the history of an earlier run again, and writes its verdict and timeline anew.
pub async fn judge_again(output: &Path) -> Result<Verdict> {
    let read = |name: &str| {
        let path = output.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let verdict: Verdict = serde_json::from_str(&read(VERDICT)?).context("the verdict cannot be read")?;
    let injected: Vec<Injected> =
        serde_json::from_str(&read(FAULTS)?).context("the faults cannot be read")?;
    let history = history::read(&output.join(HISTORY))?;
    let workloads: Vec<WorkloadKind> = verdict
        .findings
        .iter()
        .filter_map(|found| WorkloadKind::named(&found.workload))
        .collect();
    let faults: Vec<FaultKind> = verdict.faults.keys().copied().collect();
    conclude(output, (verdict, &faults), &injected, (history, &workloads)).await
}

/// The clients, each with its workload.
struct Work(Vec<(Arc<dyn Workload>, Client)>);

impl Work {
    async fn prepare(config: &RunConfig, fleet: &Arc<Fleet>, recorder: &Arc<Recorder>) -> Result<Self> {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(config.seed);
        let mut clients = Vec::new();
        for kind in &config.workloads {
            let work = kind.make(config.clients);
            for number in 0..config.clients {
                let shared = (fleet.clone(), recorder.clone());
                let mut client = Client::new(kind.name(), number, random.r#gen(), shared);
                let prepared = work.prepare(&mut client).await;
                prepared.with_context(|| format!("the workload `{}` cannot begin", kind.name()))?;
                clients.push((work.clone(), client));
            }
        }
        Ok(Self(clients))
    }

    /// All clients work until they are told to stop.
    async fn work_until(self, stop: Arc<AtomicBool>) -> Result<Self> {
        let mut tasks = JoinSet::new();
        for (work, mut client) in self.0 {
            let stop = stop.clone();
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if !work.step(&mut client).await {
                        client.back_off().await;
                    }
                    let think = client.random.gen_range(THINK_MS);
                    pause(Duration::from_millis(think)).await;
                }
                (work, client)
            });
        }
        let mut clients = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            clients.push(ended.context("a client has panicked")?);
        }
        Ok(Self(clients))
    }

    /// All clients settle what is open and read everything; gives what could not be done.
    async fn finish(self) -> Vec<anyhow::Error> {
        let mut tasks = JoinSet::new();
        for (work, mut client) in self.0 {
            tasks.spawn(async move { work.finish(&mut client).await });
        }
        let mut trouble = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            let done = ended.context("a client has panicked").and_then(|done| done);
            trouble.extend(done.err());
        }
        trouble
    }
}
