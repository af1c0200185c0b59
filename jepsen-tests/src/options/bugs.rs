//! `covey-jepsen bugs`: runs with a bug put back until it is found, or until its time is over.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use covey_jepsen::bug::PlantedBug;
use covey_jepsen::evidence::Verdict;
use covey_jepsen::run::RunConfig;

use super::Run;

#[derive(Debug, Clone, Args)]
pub(crate) struct Bugs {
    #[command(flatten)]
    run: Run,
    /// Only these bugs, separated by commas, or `all`
    #[arg(long, value_delimiter = ',', default_value = "all")]
    bugs: Vec<String>,
    /// For how long clients and faults may look for each
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
}

/// How a bug fared.
struct Search {
    runs: u64,
    seconds: f64,
    /// What gave it away, and the seed.
    found: Option<(String, u64)>,
}

impl Bugs {
    /// Looks for each and prints a line for each; false if one was not found.
    pub(crate) async fn carry_out(&self) -> Result<bool> {
        check_built_for_bugs(&self.run.binary()?)?;
        let mut lines = Vec::new();
        let mut all_found = true;
        for bug in self.named()? {
            let search = self.search(bug).await?;
            all_found &= search.found.is_some();
            lines.push(search.line(bug));
        }
        println!("| bug | runs | found after | by | seed |\n|---|---|---|---|---|");
        println!("{}", lines.join("\n"));
        Ok(all_found)
    }

    fn named(&self) -> Result<Vec<PlantedBug>> {
        if self.bugs.iter().any(|name| name == "all") {
            return Ok(PlantedBug::ALL.to_vec());
        }
        let named = self.bugs.iter().map(|name| PlantedBug::from_str(name, true));
        named
            .map(|bug| bug.map_err(|why| anyhow::anyhow!("--bugs: {why}")))
            .collect()
    }

    async fn search(&self, bug: PlantedBug) -> Result<Search> {
        let limit = Duration::from_secs_f64(self.minutes * 60.0).as_secs_f64();
        let mut search = Search {
            runs: 0,
            seconds: 0.0,
            found: None,
        };
        while search.found.is_none() && search.seconds < limit {
            let seed = self.run.schedule.seed().wrapping_add(search.runs);
            let config = self.config(bug, seed).await?;
            let ended = self.run.run(&config).await;
            search.runs += 1;
            // A cluster that does not even start, or does not take its first writes, has given its bug away, too.
            match ended {
                Ok(verdict) => {
                    search.seconds += verdict.seconds;
                    search.found = gave_away(&verdict).map(|words| (words, seed));
                }
                Err(error) => search.found = Some((format!("{error:#}"), seed)),
            }
        }
        Ok(search)
    }

    async fn config(&self, bug: PlantedBug, seed: u64) -> Result<RunConfig> {
        let mut run = self.run.clone();
        run.schedule.seed = Some(seed);
        run.output = self.run.output.join(bug.name()).join(format!("run-{seed}"));
        if run.schedule.all_faults() {
            run.schedule.faults = bug.faults().iter().map(|kind| kind.name().to_owned()).collect();
            run.where_possible = true;
        }
        if run.workloads.iter().any(|name| name == "all") {
            run.workloads = bug
                .workloads()
                .iter()
                .map(|kind| kind.name().to_owned())
                .collect();
        }
        let mut config = run.config().await?;
        config.fleet.bug = Some(bug);
        Ok(config)
    }
}

/// A binary without bugs would pass for one in which they are not found. One with them refuses a name that is no bug's.
fn check_built_for_bugs(covey: &Path) -> Result<()> {
    let refuses = Command::new(covey)
        .arg("--version")
        .env(PlantedBug::VARIABLE, "none")
        .output()
        .with_context(|| format!("cannot run {}", covey.display()))?;
    ensure!(
        !refuses.status.success(),
        "{} was built without planted bugs; `make jepsen-bugs` builds one with them",
        covey.display()
    );
    Ok(())
}

/// What is wrong in a run; that it proves nothing is nothing.
fn gave_away(verdict: &Verdict) -> Option<String> {
    let mut words: Vec<String> = verdict
        .findings
        .iter()
        .filter(|found| !found.passes())
        .map(|found| {
            let (lost, twice, stale) = (found.lost, found.duplicated, found.stale);
            format!("`{}`: {lost} lost, {twice} twice, {stale} stale", found.workload)
        })
        .collect();
    if verdict.divergent > 0 {
        words.push(format!("{} values differ between replicas", verdict.divergent));
    }
    if words.is_empty() {
        words.extend(verdict.trouble.first().cloned());
    }
    (!words.is_empty()).then(|| words.join("; "))
}

impl Search {
    fn line(&self, bug: PlantedBug) -> String {
        let (name, runs, minutes) = (bug.name(), self.runs, self.seconds / 60.0);
        match &self.found {
            Some((words, seed)) => format!("| `{name}` | {runs} | {minutes:.1} min | {words} | {seed} |"),
            None => format!("| `{name}` | {runs} | not in {minutes:.1} min | | |"),
        }
    }
}
