//! `covey-sim`: runs simulated worlds and tells which of them broke a promise.
//!
//! Each world of many runs in a process of its own, so that it is the same world wherever and whenever it runs.

use std::io;
use std::process::{Command, ExitCode, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use covey_sim::run::{Report, Voice, run};
use covey_sim::{Schedule, shrink};

/// A world takes seconds. One that has not ended by then waits for something that the simulation does not move on.
const WORLD_ENDS_WITHIN: u32 = 300;

/// Its unit.
const WATCH: Duration = Duration::from_secs(1);

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
    /// Run one world.
    Run {
        /// The seed that it follows from.
        #[arg(long)]
        seed: u64,
        /// Only these of its faults, by their places in its schedule, with commas between them.
        #[arg(long, value_delimiter = ',')]
        faults: Option<Vec<usize>>,
        /// Print everything that happens.
        #[arg(long)]
        trace: bool,
        /// Print what the hosts log, too.
        #[arg(long)]
        logs: bool,
    },
    /// Run many worlds, on all cores, and stop at the first that fails.
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
        /// Begin no more worlds after so many seconds.
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Put each planted bug back and tell which seed finds it.
    #[cfg(feature = "planted-bugs")]
    Bugs {
        /// How many seeds each may take.
        #[arg(long, default_value_t = 1_000)]
        seeds: u64,
    },
    /// Leave out of a failing world the faults that it does not need.
    Shrink {
        /// The seed that it follows from.
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
    let good = match cli.command {
        Verb::Run {
            seed,
            faults,
            trace,
            logs,
        } => {
            if logs {
                let logs = tracing_subscriber::fmt().with_writer(io::stderr);
                logs.without_time().init();
            }
            one(seed, faults, if trace { Voice::Aloud } else { Voice::Silent })
        }
        Verb::Many {
            first,
            seeds,
            keep_going,
            seconds,
        } => {
            let limit = seconds.map_or(Duration::MAX, Duration::from_secs);
            many(first, seeds, keep_going, limit)
        }
        #[cfg(feature = "planted-bugs")]
        Verb::Bugs { seeds } => bugs(seeds),
        Verb::Shrink { seed } => shrunk(seed),
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs one world here.
fn one(seed: u64, faults: Option<Vec<usize>>, voice: Voice) -> bool {
    let mut schedule = Schedule::of_seed(seed);
    if let Some(places) = faults {
        schedule.keep(&places);
    }
    let ended = watch(seed);
    let report = run(schedule, voice);
    drop(ended);
    tell(&report);
    report.outcome.is_ok()
}

/// Ends the process as a failed world unless what it gives is dropped in time. Time in which the process was stopped
/// does not count.
fn watch(seed: u64) -> mpsc::Sender<()> {
    let (ended, end) = mpsc::channel();
    std::thread::spawn(move || {
        let late = |_| end.recv_timeout(WATCH) == Err(mpsc::RecvTimeoutError::Timeout);
        if (0..WORLD_ENDS_WITHIN).all(late) {
            println!("seed {seed} failed: no end after {WORLD_ENDS_WITHIN} s");
            #[allow(
                clippy::disallowed_methods,
                reason = "the thread of the world waits for ever, and nothing of it is worth keeping"
            )]
            std::process::exit(1);
        }
    });
    ended
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

/// Runs one world in a process of its own.
fn apart(seed: u64, faults: Option<&[usize]>) -> io::Result<Output> {
    let mut command = Command::new(std::env::current_exe()?);
    // The bug that was planted here is planted there.
    let planted = std::env::args().skip_while(|argument| argument != "--bug");
    command
        .args(planted.take(2))
        .args(["run", "--seed", &seed.to_string()]);
    if let Some(faults) = faults {
        let places: Vec<String> = faults.iter().map(usize::to_string).collect();
        command.args(["--faults", &places.join(",")]);
    }
    command.output()
}

/// What many worlds came to.
#[derive(Default)]
struct Sum {
    ran: u64,
    failed: u64,
    seconds: f64,
}

/// Runs seeds on all cores; false if one failed.
fn many(first: u64, seeds: u64, keep_going: bool, limit: Duration) -> bool {
    let next = AtomicU64::new(first);
    let (end, began) = (first + seeds, Instant::now());
    let sum = Mutex::new(Sum::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let stop = sum.lock().unwrap_or_else(PoisonError::into_inner).failed > 0 && !keep_going;
                    if seed >= end || stop || began.elapsed() > limit {
                        return;
                    }
                    let ended = apart(seed, None);
                    sum.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .add(seed, ended);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (hours, took) = (sum.seconds / 3_600.0, began.elapsed().as_secs_f64());
    println!(
        "{} seeds, {} failed; {hours:.2} simulated hours in {took:.1} s: {:.4} hours per second",
        sum.ran,
        sum.failed,
        hours / took
    );
    sum.failed == 0
}

impl Sum {
    /// Takes in what a world came to.
    fn add(&mut self, seed: u64, ended: io::Result<Output>) {
        self.ran += 1;
        match ended {
            Ok(output) => {
                let words = String::from_utf8_lossy(&output.stdout);
                if output.status.success() {
                    self.seconds += lasted(&words).unwrap_or(0.0);
                    return;
                }
                self.failed += 1;
                println!("seed {seed} after {} seeds: {}", self.ran, words.trim());
            }
            Err(error) => {
                self.failed += 1;
                println!("seed {seed} could not be run: {error}");
            }
        }
    }
}

/// The seconds that a world lasted, in the words of its process.
fn lasted(words: &str) -> Option<f64> {
    let (_, rest) = words.split_once("held for")?;
    rest.split_once('s')?.0.trim().parse().ok()
}

/// Whether every planted bug is found.
#[cfg(feature = "planted-bugs")]
fn bugs(seeds: u64) -> bool {
    let found = covey_storage::planted::Bug::ALL.into_iter().map(|bug| {
        println!("{bug}:");
        let program = std::env::current_exe().unwrap_or_else(|_| "covey-sim".into());
        let seeds = seeds.to_string();
        let many = Command::new(program)
            .args(["--bug", &bug.to_string(), "many", "--seeds", &seeds])
            .status();
        many.is_ok_and(|status| status.code() == Some(1))
    });
    found.fold(true, |all, found| all && found)
}

fn shrunk(seed: u64) -> bool {
    let promise = |output: &Output| {
        let words = String::from_utf8_lossy(&output.stdout).into_owned();
        let promise = words.split(": ").nth(2).map(str::to_owned);
        promise.filter(|_| !output.status.success())
    };
    let Some(broken) = apart(seed, None).ok().as_ref().and_then(promise) else {
        println!("seed {seed} holds");
        return true;
    };
    let schedule = Schedule::of_seed(seed);
    let places = shrink::shrink(schedule.faults.len(), |places| {
        let output = apart(seed, Some(places)).ok();
        let same = output.as_ref().and_then(promise).as_deref() == Some(broken.as_str());
        if same {
            eprintln!("{} faults are enough", places.len());
        }
        same
    });
    println!("{broken}: it takes these of {} faults", schedule.faults.len());
    for place in &places {
        let (at, fault) = &schedule.faults[*place];
        println!("{place:4} {at} {fault}");
    }
    let places: Vec<String> = places.iter().map(usize::to_string).collect();
    println!(
        "covey-sim run --seed {seed} --trace --faults {}",
        places.join(",")
    );
    false
}
