//! What clients asked, what they were told, and when: one line of JSON for each operation.
//!
//! A history alone decides the verdict, so it can be judged again long after the run (`covey-jepsen check`). Times are
//! microseconds of one monotonic clock, counted from the beginning of the run; a call's time is taken before the request
//! leaves, an end's after the answer is here.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One operation of a client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The client, by workload and number.
    pub client: String,
    /// The number of the node that was asked last.
    pub node: usize,
    /// What the operation belongs to.
    pub workload: String,
    /// The object.
    pub key: String,
    /// What was asked.
    pub call: Call,
    /// When.
    pub called_us: u64,
    /// When the outcome was known, or when the client gave up.
    pub ended_us: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What an object is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Call {
    /// What it holds, as fresh as said.
    Read {
        /// How fresh.
        fresh: Fresh,
    },
    /// To hold this.
    Write {
        /// The value.
        value: u64,
    },
    /// To hold `new` if it holds `expected`.
    CompareAndSet {
        /// 0: nothing.
        expected: u64,
        /// The value.
        new: u64,
    },
    /// To have this at its end.
    Append {
        /// The item.
        item: u64,
    },
    /// To count one more thing.
    Add {
        /// Its size.
        size: i64,
    },
    /// To move money between two accounts of a bank.
    Transfer {
        /// The number of the transfer, counted from 1 in each bank.
        step: u64,
        /// From the account at this position.
        from: usize,
        /// To the account at this one.
        to: usize,
        /// How much.
        amount: i64,
    },
}

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fresh {
    /// Sees everything that was acknowledged before.
    Linearizable,
    /// Sees the client's own writes.
    OwnWrites,
    /// Is at most this many milliseconds old.
    Bounded(u64),
    /// Is as old as it says.
    Local,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Outcome {
    /// It was answered.
    Ok {
        /// The answer.
        answer: Answer,
    },
    /// It certainly did not take effect.
    Failed {
        /// Why.
        why: String,
    },
    /// It may have taken effect, or may yet.
    Unknown {
        /// Why nobody knows.
        why: String,
    },
}

/// What an object answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "was", rename_all = "kebab-case")]
pub enum Answer {
    /// It did as asked.
    Done,
    /// It did not hold what was expected.
    Mismatch,
    /// It holds this value; 0: none.
    Value {
        /// The value.
        value: u64,
        /// How old the answer may be, as it said itself.
        staleness_us: u64,
    },
    /// It holds these items.
    Items {
        /// Oldest first.
        items: Vec<u64>,
        /// For each the one before it, as it was stored with it.
        previous: Vec<u64>,
    },
    /// It has counted this.
    Total {
        /// How many.
        count: u64,
        /// What they add up to.
        sum: i64,
    },
    /// The elements that were looked for, and how often each was there.
    Elements {
        /// Element and number.
        counts: Vec<(String, u64)>,
    },
    /// The accounts of a bank in one snapshot.
    Accounts {
        /// By position.
        balances: Vec<i64>,
        /// The number of the transfer that wrote each.
        steps: Vec<u64>,
    },
    /// A prediction and the feature that it was made from.
    Prediction {
        /// The feature.
        feature: u64,
        /// The prediction.
        prediction: f64,
    },
}

/// How long writes took until they were acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgements {
    /// How many there were.
    pub count: usize,
    /// The shortest time.
    pub fastest: Option<Duration>,
    /// The time that half of them took at most.
    pub median: Option<Duration>,
}

/// Writes operations down as they end. Clients share it.
pub struct Recorder {
    began: Instant,
    written: Mutex<Written>,
}

struct Written {
    file: BufWriter<File>,
    events: Vec<Event>,
    /// The first fault of the file, reported at the end.
    fault: Option<std::io::Error>,
}

impl Recorder {
    /// A recorder that writes to `path`; the run begins now.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let written = Written {
            file: BufWriter::new(file),
            events: Vec::new(),
            fault: None,
        };
        Ok(Self {
            began: Instant::now(),
            written: Mutex::new(written),
        })
    }

    /// The present moment of the run.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Writes an operation down.
    pub fn record(&self, event: Event) {
        let mut written = self.lock();
        let line = serde_json::to_string(&event).expect("an event has text keys and finite numbers only");
        if let Err(fault) = writeln!(written.file, "{line}") {
            written.fault.get_or_insert(fault);
        }
        written.events.push(event);
    }

    /// How many operations were answered since the run began.
    pub fn answered(&self, workload: &str) -> usize {
        let written = self.lock();
        let answered = written
            .events
            .iter()
            .filter(|event| event.workload == workload && matches!(event.outcome, Outcome::Ok { .. }));
        answered.count()
    }

    /// The fastest and the middle acknowledgement of the writes that were made in a part of the run.
    pub fn acknowledgements(&self, part: Range<u64>) -> Acknowledgements {
        let written = self.lock();
        let ours = written.events.iter().filter(|event| {
            let is_write = !matches!(event.call, Call::Read { .. });
            let within = part.contains(&event.called_us) && part.contains(&event.ended_us);
            is_write && within && matches!(event.outcome, Outcome::Ok { .. })
        });
        let mut took: Vec<u64> = ours.map(|event| event.ended_us - event.called_us).collect();
        took.sort_unstable();
        Acknowledgements {
            count: took.len(),
            fastest: took.first().copied().map(Duration::from_micros),
            median: took.get(took.len() / 2).copied().map(Duration::from_micros),
        }
    }

    /// Everything so far, all of it on disk.
    pub fn history(&self) -> Result<Vec<Event>> {
        let mut written = self.lock();
        written.file.flush().context("cannot write the history")?;
        match written.fault.take() {
            Some(fault) => Err(fault).context("cannot write the history"),
            None => Ok(written.events.clone()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a history back.
pub fn read(path: &Path) -> Result<Vec<Event>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines = BufReader::new(file).lines();
    lines
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(&line?)
                .with_context(|| format!("{}:{}: no operation", path.display(), index + 1))
        })
        .collect()
}
