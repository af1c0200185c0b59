//! The sum of all runs, kept in the repository.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Verdict, write_json};

/// What all runs together have shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Runs that passed.
    pub runs: u64,
    /// Hours in which clients and faults were at work.
    pub hours: f64,
    /// Operations of clients.
    pub operations: u64,
    /// Faults that took effect.
    pub faults_by_kind: BTreeMap<String, u64>,
    /// Acknowledged writes that were not there.
    pub lost: u64,
    /// Writes that were there twice.
    pub duplicated: u64,
    /// Answers that no order explains, or older than promised.
    pub stale: u64,
    /// Values that were not the same on all replicas.
    pub divergent: u64,
    /// Objects on which the checker could not decide.
    pub unknown: u64,
}

impl Results {
    /// Adds a run. One that has not passed adds nothing but what was wrong in it.
    pub fn add(&mut self, verdict: &Verdict) {
        for found in &verdict.findings {
            self.lost += found.lost as u64;
            self.duplicated += found.duplicated as u64;
            self.stale += found.stale as u64;
            self.unknown += found.undecided as u64;
        }
        self.divergent += verdict.divergent as u64;
        if !verdict.passed {
            return;
        }
        self.runs += 1;
        self.hours = ((self.hours + verdict.seconds / 3_600.0) * 10_000.0).round() / 10_000.0;
        self.operations += verdict
            .findings
            .iter()
            .map(|found| found.operations as u64)
            .sum::<u64>();
        for (kind, count) in &verdict.faults {
            *self.faults_by_kind.entry(kind.name().to_owned()).or_default() += count.took_effect;
        }
    }

    /// Adds a run to those in a file; the file need not be there yet.
    pub fn append(path: &Path, verdict: &Verdict) -> Result<()> {
        let mut results = match std::fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} does not hold the results of runs", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        results.add(verdict);
        write_json(path, &results)
    }
}
