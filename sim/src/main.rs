//! `covey-sim`: runs simulated worlds and tells which of them broke a promise.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::{Parser, Subcommand};
use covey_sim::run::{Report, Voice, run};
use covey_sim::{Schedule, shrink};

/// Simulated worlds that try to make Covey break a promise.
#[derive(Parser)]
struct Cli {
    /// Puts a bug back first: the worlds should find it.
    #[cfg(feature = "planted-bugs")]
    #[arg(long, global = true)]
    bug: Option<covey_storage::planted::Bug>,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run one seed.
    Run {
        /// The seed.
        #[arg(long)]
        seed: u64,
        /// Print everything that happens.
        #[arg(long)]
        trace: bool,
        /// Print what the hosts log, too.
        #[arg(long)]
        logs: bool,
    },
    /// Run many seeds and stop at the first that fails.
    Many {
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// How many.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
        /// Go on after a failure.
        #[arg(long)]
        keep_going: bool,
    },
    /// Put each planted bug back, in a process of its own, and tell which seed finds it.
    #[cfg(feature = "planted-bugs")]
    Bugs {
        /// How many seeds each may take.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
    },
    /// Leave out of a failing seed what it does not need.
    Shrink {
        /// The seed.
        #[arg(long)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "planted-bugs")]
    if let Some(bug) = cli.bug {
        covey_storage::planted::plant(bug);
    }
    match cli.command {
        Verb::Run { seed, trace, logs } => {
            if logs {
                tracing_subscriber::fmt()
                    .with_writer(std::io::stderr)
                    .without_time()
                    .init();
            }
            let voice = if trace { Voice::Aloud } else { Voice::Silent };
            let report = run(Schedule::of_seed(seed), voice);
            tell(&report);
            code(report.outcome.is_ok())
        }
        Verb::Many {
            first,
            seeds,
            keep_going,
        } => code(many(first, seeds, keep_going)),
        #[cfg(feature = "planted-bugs")]
        Verb::Bugs { seeds } => code(bugs(seeds)),
        Verb::Shrink { seed } => shrunk(seed),
    }
}

fn code(good: bool) -> ExitCode {
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn tell(report: &Report) {
    let seed = report.schedule.seed;
    match &report.outcome {
        Ok(summary) => println!(
            "seed {seed} held for {} in {:.2?}: {} faults, {:?}, messages {:?}, trace {:016x}",
            summary.lasted, report.took, summary.faults, summary.tally, summary.messages, summary.hash
        ),
        Err(failure) => println!("seed {seed} failed: {failure}"),
    }
}

/// Runs seeds on all cores; false if one failed.
fn many(first: u64, seeds: u64, keep_going: bool) -> bool {
    let (next, failed) = (AtomicU64::new(first), AtomicU64::new(0));
    let (end, began) = (first + seeds, Instant::now());
    let micros = Mutex::new((0u64, 0u64));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || (!keep_going && failed.load(Ordering::Relaxed) > 0) {
                        return;
                    }
                    let report = run(Schedule::of_seed(seed), Voice::Silent);
                    let mut sums = micros.lock().unwrap_or_else(PoisonError::into_inner);
                    *sums = (sums.0 + report.lasted().micros(), sums.1 + 1);
                    if report.outcome.is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        tell(&report);
                    }
                }
            });
        }
    });
    let (lasted, ran) = *micros.lock().unwrap_or_else(PoisonError::into_inner);
    let (hours, took) = (lasted as f64 / 3.6e9, began.elapsed().as_secs_f64());
    let failed = failed.load(Ordering::Relaxed);
    println!(
        "{ran} seeds, {failed} failed; {hours:.2} simulated hours in {took:.1} s: {:.4} hours per second",
        hours / took
    );
    failed == 0
}

/// Whether every planted bug is found.
#[cfg(feature = "planted-bugs")]
fn bugs(seeds: u64) -> bool {
    let found = covey_storage::planted::Bug::ALL.into_iter().map(|bug| {
        println!("{bug}:");
        let program = std::env::current_exe().unwrap_or_else(|_| "covey-sim".into());
        let seeds = seeds.to_string();
        let many = std::process::Command::new(program)
            .args(["--bug", &bug.to_string(), "many", "--seeds", &seeds])
            .status();
        many.is_ok_and(|status| status.code() == Some(1))
    });
    found.fold(true, |all, found| all && found)
}

fn shrunk(seed: u64) -> ExitCode {
    let report = run(Schedule::of_seed(seed), Voice::Silent);
    tell(&report);
    let told = |schedule: &Schedule| eprintln!("{} faults are enough", schedule.faults.len());
    match shrink::shrink(report, told) {
        Some(report) => {
            println!("{:#?}", report.schedule);
            report
                .schedule
                .faults
                .iter()
                .for_each(|(at, fault)| println!("{at} {fault}"));
            let again = run(report.schedule, Voice::Aloud);
            tell(&again);
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}
