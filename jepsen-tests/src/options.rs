//! The command line.

mod bugs;

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use covey_jepsen::evidence::{Results, Verdict};
use covey_jepsen::fault::{FaultKind, plan};
use covey_jepsen::fleet::{DiskKind, FleetConfig, NetworkKind};
use covey_jepsen::run::{self, RunConfig};
use covey_jepsen::workload::WorkloadKind;

/// Breaks a cluster of real Covey processes, and checks everything that clients were told meanwhile
#[derive(Debug, Parser)]
#[command(name = "covey-jepsen", version)]
pub(crate) struct Options {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start a cluster, break it for a while, heal it, and judge what happened
    Run(Run),
    /// Run again and again with other seeds
    Soak(Soak),
    /// Put back bugs into a binary that was built for it, and tell how soon each is found
    Bugs(bugs::Bugs),
    /// Judge the history of an earlier run again
    Check {
        /// The directory with its evidence
        directory: PathBuf,
    },
    /// Print what a run of a seed breaks, and when, where all of its kinds of faults are possible
    Plan(Schedule),
}

/// What is broken, when, and for how long.
#[derive(Debug, Clone, Args)]
struct Schedule {
    /// Kinds of faults, separated by commas; a run leaves out of `all` what is not possible here
    #[arg(long, value_delimiter = ',', default_value = "all")]
    faults: Vec<String>,
    /// How long clients and faults are at work
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Determines the faults and the clients' choices [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Clone, Args)]
struct Run {
    #[command(flatten)]
    schedule: Schedule,
    /// Leave out kinds of faults that are not possible here, and say so
    #[arg(long)]
    where_possible: bool,
    /// What clients do, separated by commas, or `all`
    #[arg(long, value_delimiter = ',', default_value = "all")]
    workloads: Vec<String>,
    /// The binary under test [default: `covey` beside this one]
    #[arg(long, env = "COVEY_BINARY")]
    covey: Option<PathBuf>,
    /// What nodes are connected by
    #[arg(long, value_enum, default_value_t = NetworkKind::Auto)]
    network: NetworkKind,
    /// What nodes store on
    #[arg(long, value_enum, default_value_t = DiskKind::Directory)]
    disk: DiskKind,
    /// Nodes of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=7))]
    nodes: u8,
    /// Data groups, a power of two
    #[arg(long, default_value_t = 4)]
    groups: u64,
    /// Entries between two snapshots of a group
    #[arg(long, default_value_t = 300)]
    snapshot_every: u64,
    /// Have nodes answer linearizable reads from their leases
    #[arg(long)]
    lease_reads: bool,
    /// Clients of each workload
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    clients: u8,
    /// Where the evidence goes; must be empty or not be there
    #[arg(long)]
    output: PathBuf,
    /// Add the run to the results in this file
    #[arg(long)]
    results: Option<PathBuf>,
    /// Keep the nodes' data after a run that has passed
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Clone, Args)]
struct Soak {
    #[command(flatten)]
    run: Run,
    /// How long to go on
    #[arg(long, default_value_t = 1.0)]
    hours: f64,
}

impl Options {
    /// Does what was asked; false if something was found.
    pub(crate) async fn carry_out(self) -> Result<bool> {
        match self.verb {
            Verb::Run(run) => run.carry_out().await,
            Verb::Soak(soak) => soak.carry_out().await,
            Verb::Bugs(bugs) => bugs.carry_out().await,
            Verb::Check { directory } => {
                let verdict = run::judge_again(&directory).await?;
                println!("{}", verdict.summary());
                Ok(verdict.passed)
            }
            Verb::Plan(schedule) => {
                let kinds = schedule.kinds()?;
                for step in plan(schedule.seed(), &kinds, schedule.length()) {
                    let (kind, from) = (step.kind.name(), step.at_ms);
                    println!(
                        "{:3}  {kind:10} {from:7} ms, for {} ms",
                        step.number, step.lasts_ms
                    );
                }
                Ok(true)
            }
        }
    }
}

impl Schedule {
    fn kinds(&self) -> Result<Vec<FaultKind>> {
        if self.all_faults() {
            return Ok(FaultKind::ALL.to_vec());
        }
        let named = self.faults.iter().filter(|name| *name != "none");
        named
            .map(|name| FaultKind::from_str(name, true).map_err(|why| anyhow::anyhow!("--faults: {why}")))
            .collect()
    }

    fn all_faults(&self) -> bool {
        self.faults.iter().any(|name| name == "all")
    }

    fn seed(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Short enough to be typed.
        self.seed
            .unwrap_or_else(|| u64::from(since.subsec_nanos()) ^ (since.as_secs() % 1_000_000))
    }

    fn length(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

impl Run {
    async fn carry_out(&self) -> Result<bool> {
        let config = self.config().await?;
        let verdict = self.run(&config).await?;
        Ok(verdict.passed)
    }

    async fn run(&self, config: &RunConfig) -> Result<Verdict> {
        println!("seed {}, evidence in {}", config.seed, config.output.display());
        let verdict = run::run(config).await?;
        println!("{}", verdict.summary());
        if let Some(results) = &self.results {
            Results::append(results, &verdict)?;
        }
        if verdict.passed && !self.keep {
            for node in 1..=covey_jepsen::fleet::NODES_MAX {
                let data = config.fleet.directory.join(format!("node-{node}"));
                // What cannot be removed is in nobody's way.
                drop(std::fs::remove_dir_all(data));
            }
        }
        Ok(verdict)
    }

    async fn config(&self) -> Result<RunConfig> {
        let covey = self.binary()?;
        let fleet = FleetConfig {
            covey,
            directory: std::path::absolute(&self.output)?.join("nodes"),
            nodes: usize::from(self.nodes),
            groups: self.groups,
            snapshot_every: self.snapshot_every,
            lease_reads: self.lease_reads,
            network: self.network,
            disk: self.disk,
            clocks: false,
            bug: None,
        };
        let wanted = self.schedule.kinds()?;
        let (faults, left_out) = run::possible(&wanted, &fleet).await;
        let may_leave_out = self.where_possible || self.schedule.all_faults();
        ensure!(may_leave_out || left_out.is_empty(), "{}", left_out.join("; "));
        for words in left_out {
            println!("{words}");
        }
        Ok(RunConfig {
            fleet: FleetConfig {
                clocks: faults.contains(&FaultKind::Clock),
                ..fleet
            },
            workloads: self.workloads()?,
            faults,
            seed: self.schedule.seed(),
            length: self.schedule.length(),
            clients: usize::from(self.clients),
            output: self.output.clone(),
        })
    }

    fn workloads(&self) -> Result<Vec<WorkloadKind>> {
        if self.workloads.iter().any(|name| name == "all") {
            return Ok(WorkloadKind::ALL.to_vec());
        }
        let named = self.workloads.iter();
        named
            .map(|name| WorkloadKind::named(name).with_context(|| format!("--workloads: `{name}` is none")))
            .collect()
    }

    fn binary(&self) -> Result<PathBuf> {
        let covey = match &self.covey {
            Some(covey) => covey.clone(),
            None => std::env::current_exe()?.with_file_name("covey"),
        };
        ensure!(
            covey.is_file(),
            "{} is not there: build it with `cargo build --workspace`, or name another with --covey",
            covey.display()
        );
        Ok(std::path::absolute(covey)?)
    }
}

impl Soak {
    async fn carry_out(&self) -> Result<bool> {
        let end = tokio::time::Instant::now() + Duration::from_secs_f64(self.hours * 3_600.0);
        let first = self.run.schedule.seed();
        let (mut passed, mut number) = (true, 0);
        while tokio::time::Instant::now() < end {
            let mut run = self.run.clone();
            let seed = first.wrapping_add(number);
            run.schedule.seed = Some(seed);
            run.output = self.run.output.join(format!("run-{seed}"));
            let config = run.config().await?;
            passed &= run.run(&config).await?.passed;
            number += 1;
        }
        Ok(passed)
    }
}
