//! `covey demo`: a year of real flights through a cluster of real processes, from the first row to the last report.
//!
//! The demo is a client like any other. What it reports it has counted itself; the cluster's own counters are not used.

mod chart;
mod cluster;
mod failover;
mod fate;
mod fleet;
mod flights;
mod frame;
mod heat;
mod page;
mod prepared;
mod processes;
mod progress;
mod recount;
mod replay;
mod report;
mod rows;
mod story;
mod summary;
mod table;
mod tally;
mod timeline;
mod trained;
mod training;
mod verdict;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};

pub(crate) use cluster::{DemoCluster, settled};
pub(crate) use fleet::Fleet;
pub(crate) use prepared::{Prepared, Vectors};
use story::Story;
pub(crate) use table::TableBuilder;

/// What the demo is run with.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Leave the cluster running at the end.
    pub keep: bool,
    /// Where nodes keep their data and the report is written.
    pub dir: PathBuf,
    /// The definitions, with the data beneath them in `data`.
    pub definitions: PathBuf,
}

/// Runs the demo to its end.
pub async fn run(options: DemoOptions) -> Result<()> {
    let started = Instant::now();
    let root = prepare(&options.dir)?;
    let year = story::read(&options.definitions).await?;
    let mut story = Story::begin(&root, &options.definitions).await?;
    let told = story.tell(&year).await;
    match told {
        Ok(report) => {
            report.write(&root)?;
            report.print(started.elapsed());
            let (json, html) = (root.join("report.json"), root.join("report.html"));
            println!("\nReport: {} and {}", json.display(), html.display());
            if options.keep {
                story.leave_running();
            } else {
                story.stop().await?;
            }
            verdict::of(&report)
        }
        Err(error) => {
            if let Err(second) = story.stop().await {
                eprintln!("the nodes did not stop well: {second:#}");
            }
            let logs = root.display();
            Err(error.context(format!("the demo did not get to its end (logs are in {logs})")))
        }
    }
}

/// An empty folder. One that holds something else than an earlier demo is left alone.
fn prepare(dir: &Path) -> Result<PathBuf> {
    const MARK: &str = ".covey-demo";
    if dir.exists() {
        let empty = std::fs::read_dir(dir)?.next().is_none();
        if !empty && !dir.join(MARK).exists() {
            bail!(
                "{} is not empty and no earlier demo made it; choose another folder with --dir",
                dir.display()
            );
        }
        std::fs::remove_dir_all(dir)?;
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    std::fs::write(dir.join(MARK), "made by covey demo; removed by the next one\n")?;
    Ok(dir.canonicalize()?)
}
