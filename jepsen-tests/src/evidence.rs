//! What a run leaves behind: the verdict with its reasons, the faults, the timeline, and a line in the results of all runs.

mod results;
mod timeline;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use results::Results;
pub(crate) use timeline::page;

use crate::fault::{FaultKind, Injected};
use crate::judge::Findings;

/// Everything that is said of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether all promises were kept, by a run that could have broken them.
    pub passed: bool,
    /// Why the run proves nothing, if so.
    pub vacuous: Vec<String>,
    /// What went wrong besides the workloads, for instance that the cluster did not heal.
    pub trouble: Vec<String>,
    /// What determined the faults and the clients' choices.
    pub seed: u64,
    /// How long clients and faults were at work, in seconds.
    pub seconds: f64,
    /// `loopback` or `namespaces`.
    pub network: String,
    /// From the end of the faults until every group was settled, in milliseconds.
    pub healed_in_ms: Option<u64>,
    /// By workload.
    pub findings: Vec<Findings>,
    /// Items whose values are not the same on all nodes.
    pub divergent: usize,
    /// By kind.
    pub faults: BTreeMap<FaultKind, FaultCount>,
}

/// How often a kind of fault was tried, and how often it took effect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCount {
    /// How often it was tried.
    pub injected: u64,
    /// How often it took effect.
    pub took_effect: u64,
}

/// What a run must have had to prove anything.
#[derive(Debug, Clone)]
pub struct Demand {
    /// Kinds of faults, each of which must have taken effect.
    pub faults: Vec<FaultKind>,
    /// Answered operations of each workload for each second.
    pub ok_per_second: f64,
}

/// How often each kind was tried and took effect.
pub fn count(injected: &[Injected]) -> BTreeMap<FaultKind, FaultCount> {
    let mut counts: BTreeMap<FaultKind, FaultCount> = BTreeMap::new();
    for fault in injected {
        let count = counts.entry(fault.step.kind).or_default();
        count.injected += 1;
        count.took_effect += u64::from(fault.took_effect);
    }
    counts
}

impl Demand {
    /// Why a run proves nothing: a fault that never took effect, clients that hardly got an answer.
    pub fn unmet(
        &self,
        counts: &BTreeMap<FaultKind, FaultCount>,
        findings: &[Findings],
        seconds: f64,
    ) -> Vec<String> {
        let mut unmet = Vec::new();
        for kind in &self.faults {
            if counts.get(kind).is_none_or(|count| count.took_effect == 0) {
                unmet.push(format!("no fault of the kind `{}` took effect", kind.name()));
            }
        }
        for found in findings {
            #[allow(
                clippy::cast_precision_loss,
                reason = "a number of operations is far below 2^53"
            )]
            let ok = found.ok as f64;
            if ok < self.ok_per_second * seconds {
                unmet.push(format!(
                    "`{}` had {} answered operations in {seconds:.0} s, fewer than {} a second",
                    found.workload, found.ok, self.ok_per_second
                ));
            }
        }
        unmet
    }
}

impl Verdict {
    /// Decides whether the run has passed, from everything else in it.
    #[must_use]
    pub fn decided(mut self) -> Self {
        self.passed = self.vacuous.is_empty()
            && self.trouble.is_empty()
            && self.divergent == 0
            && self.findings.iter().all(Findings::passes);
        self
    }

    /// The verdict in a few lines.
    pub fn summary(&self) -> String {
        let mut lines = Vec::new();
        for found in &self.findings {
            lines.push(format!(
                "  {:9} {:6} ok {:5} failed {:5} unknown   lost {} duplicated {} stale {} undecided {}",
                found.workload,
                found.ok,
                found.failed,
                found.unknown,
                found.lost,
                found.duplicated,
                found.stale,
                found.undecided
            ));
            lines.extend(found.anomalies.iter().map(|words| format!("    {words}")));
        }
        let kinds = self.faults.iter();
        let faults =
            kinds.map(|(kind, count)| format!("{} {}/{}", kind.name(), count.took_effect, count.injected));
        lines.push(format!("  faults    {}", faults.collect::<Vec<_>>().join(", ")));
        lines.push(format!("  divergent {}", self.divergent));
        if let Some(healed) = self.healed_in_ms {
            lines.push(format!("  healed    in {healed} ms"));
        }
        lines.extend(
            self.vacuous
                .iter()
                .map(|words| format!("  proves nothing: {words}")),
        );
        lines.extend(self.trouble.iter().map(|words| format!("  trouble: {words}")));
        let passed = if self.passed { "passed" } else { "FAILED" };
        lines.push(format!("{passed}, seed {}, {:.0} s", self.seed, self.seconds));
        lines.join("\n")
    }
}

/// Writes something as JSON that people can read.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_effect_or_without_answers_proves_nothing() {
        let demand = Demand {
            faults: vec![FaultKind::Kill, FaultKind::Loss],
            ok_per_second: 1.0,
        };
        let took = |took_effect| FaultCount {
            injected: 2,
            took_effect,
        };
        let findings = |ok| Findings {
            workload: "set".to_owned(),
            ok,
            ..Findings::default()
        };
        let good = BTreeMap::from([(FaultKind::Kill, took(2)), (FaultKind::Loss, took(1))]);
        assert_eq!(demand.unmet(&good, &[findings(100)], 60.0), Vec::<String>::new());
        let weak = BTreeMap::from([(FaultKind::Kill, took(2)), (FaultKind::Loss, took(0))]);
        assert_eq!(demand.unmet(&weak, &[findings(100)], 60.0).len(), 1);
        assert_eq!(demand.unmet(&BTreeMap::new(), &[findings(3)], 60.0).len(), 3);
    }
}
