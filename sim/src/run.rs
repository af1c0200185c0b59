//! Running a world.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::entropy;
use crate::moment::Moment;
use crate::schedule::Schedule;
use crate::trace::Trace;
use crate::world::{Failure, Summary, World};

/// Where directories are as fast as memory, on systems that have it.
const MEMORY: &str = "/dev/shm";

/// What is to be heard of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// Nothing.
    Silent,
    /// Every line of the trace, on standard error.
    Aloud,
}

/// What came of one world.
#[derive(Debug)]
pub struct Report {
    /// What was planned.
    pub schedule: Schedule,
    /// What came of it.
    pub outcome: Result<Summary, Failure>,
    /// How long it took outside.
    pub took: Duration,
}

/// Runs a world in a thread of its own. Only the first one of a process is the same in every run: the asynchronous
/// runtime counts how often it was made, and draws from that.
pub fn run(schedule: Schedule, voice: Voice) -> Report {
    let began = Instant::now();
    let planned = schedule.clone();
    let ran = entropy::seeded(schedule.seed, move || {
        let home = tempfile::Builder::new()
            .prefix("covey-sim-")
            .tempdir_in(directory());
        let home = home.map_err(|error| Failure::Stuck {
            at: Moment::START,
            cause: error.into(),
        })?;
        let trace = Trace::new(voice == Voice::Aloud);
        World::new(planned, home.path().to_owned(), trace).run()
    });
    let outcome = ran.unwrap_or_else(|_| {
        Err(Failure::Stuck {
            at: Moment::START,
            cause: anyhow::anyhow!("the world panicked"),
        })
    });
    Report {
        schedule,
        outcome,
        took: began.elapsed(),
    }
}

fn directory() -> PathBuf {
    let memory = Path::new(MEMORY);
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}
