//! From a history to what is wrong with it. Pure: the same history always gets the same verdict.
//!
//! Each workload is judged twice where that is possible: by the checker, and directly by what must hold of it whatever the
//! order was (nothing acknowledged is missing, nothing is there twice, no money is lost).

mod append;
mod bank;
mod follower;
mod linear;
mod set;
mod window;

use serde::{Deserialize, Serialize};

use crate::history::{Answer, Event, Outcome};
use crate::workload::WorkloadKind;

/// How many anomalies of a workload are described; all are counted.
const DESCRIBED_MAX: usize = 20;

/// What was found in the history of one workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The workload.
    pub workload: String,
    /// Operations of clients.
    pub operations: usize,
    /// Those that were answered.
    pub ok: usize,
    /// Those that certainly did not happen.
    pub failed: usize,
    /// Those of which nobody knows.
    pub unknown: usize,
    /// Acknowledged writes that are not there.
    pub lost: usize,
    /// Writes that are there twice, or though they were refused.
    pub duplicated: usize,
    /// Answers that no order of the operations explains, or that are older than was promised.
    pub stale: usize,
    /// Objects on which the checker could not decide.
    pub undecided: usize,
    /// Objects that the checker decided on.
    pub checked: usize,
    /// What is wrong, in words.
    pub anomalies: Vec<String>,
}

impl Findings {
    /// Whether nothing is wrong and nothing is undecided.
    pub fn passes(&self) -> bool {
        self.lost + self.duplicated + self.stale + self.undecided == 0
    }

    fn describe(&mut self, words: impl FnOnce() -> String) {
        if self.anomalies.len() < DESCRIBED_MAX {
            self.anomalies.push(words());
        }
    }

    fn lose(&mut self, writes: usize, words: impl FnOnce() -> String) {
        if writes > 0 {
            self.lost += writes;
            self.describe(words);
        }
    }

    fn duplicate(&mut self, writes: usize, words: impl FnOnce() -> String) {
        if writes > 0 {
            self.duplicated += writes;
            self.describe(words);
        }
    }

    fn contradict(&mut self, words: impl FnOnce() -> String) {
        self.stale += 1;
        self.describe(words);
    }
}

/// Judges the part of a history that belongs to a workload.
pub fn judge(kind: WorkloadKind, history: &[Event]) -> Findings {
    let events: Vec<&Event> = history
        .iter()
        .filter(|event| event.workload == kind.name())
        .collect();
    let count = |wanted: fn(&Outcome) -> bool| events.iter().filter(|event| wanted(&event.outcome)).count();
    let mut findings = Findings {
        workload: kind.name().to_owned(),
        operations: events.len(),
        ok: count(|outcome| matches!(outcome, Outcome::Ok { .. })),
        failed: count(|outcome| matches!(outcome, Outcome::Failed { .. })),
        unknown: count(|outcome| matches!(outcome, Outcome::Unknown { .. })),
        ..Findings::default()
    };
    match kind {
        WorkloadKind::Register | WorkloadKind::Rows => linear::registers(&events, &mut findings),
        WorkloadKind::Append => append::judge(&events, &mut findings),
        WorkloadKind::Set => set::judge(&events, &mut findings),
        WorkloadKind::Window => window::judge(&events, &mut findings),
        WorkloadKind::Bank => bank::judge(&events, &mut findings),
        WorkloadKind::Follower | WorkloadKind::Predict => follower::judge(&events, &mut findings),
    }
    findings
}

/// The answer of an operation that has one.
fn answer(event: &Event) -> Option<&Answer> {
    match &event.outcome {
        Outcome::Ok { answer } => Some(answer),
        Outcome::Failed { .. } | Outcome::Unknown { .. } => None,
    }
}

/// Whether an operation may have taken effect.
fn may_have_happened(event: &Event) -> bool {
    !matches!(event.outcome, Outcome::Failed { .. })
}
