//! Covey's Raft host beside etcd: puts and linearizable gets of 256-byte values by closed-loop clients that are spread over
//! three processes on loopback, fsync on, the same client and the same protocol for both, in one run.
//!
//! The systems take turns, and each figure is the mean of its turns, so that a machine that slows down slows both.

mod load;
mod servers;
pub(super) mod slow_disk;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::Table;
use indicatif::ProgressBar;

use load::{Clients, Operation, Rate, Span};
use servers::{NODES, Servers, System};

/// Turns of each system.
const TURNS: usize = 2;
/// Numbers of clients.
const CLIENTS: [usize; 3] = [1, 64, 256];
/// The groups of Covey whose figures stand in the ratios: what `covey init` makes.
const GROUPS: u64 = 8;
/// What is measured.
const SYSTEMS: [System; 4] = [
    System::Etcd,
    System::Covey { groups: 1 },
    System::Covey { groups: GROUPS },
    System::Covey { groups: 64 },
];
/// How long each cell takes.
const SPAN: Span = Span {
    warm_up: Duration::from_secs(1),
    measured: Duration::from_secs(5),
};

/// One cell of the table: a system, what it does, and for how many clients.
type Cell = (System, &'static str, usize);

/// One of the figures of a cell.
type Figure = fn(&Sums) -> f64;

/// What was measured in one cell, summed over the turns.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    turns: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_us: f64,
    writes_per_fsync: f64,
}

/// Measures and gives the figures by name.
pub(super) async fn measure() -> Result<Vec<(String, f64)>> {
    let mut cells: BTreeMap<Cell, Sums> = BTreeMap::new();
    let bar = ProgressBar::new((TURNS * SYSTEMS.len()) as u64);
    for _ in 0..TURNS {
        for system in SYSTEMS {
            let turn = turn(system, &mut cells).await;
            turn.with_context(|| format!("measuring {}", system.name()))?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    println!("{}", table(&cells));
    Ok(figures(&cells))
}

/// One turn of a system through all cells.
async fn turn(system: System, cells: &mut BTreeMap<Cell, Sums>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut servers = Servers::start(system, folder.path())?;
    let clients = Clients::of(&servers.clients)?;
    clients.fill().await?;
    for count in CLIENTS {
        for (name, operation) in [("put", Operation::Put), ("get", Operation::Get)] {
            let before = Spent::until_now(system, &servers).await?;
            let rate = clients.run(count, operation, SPAN).await?;
            let after = Spent::until_now(system, &servers).await?;
            let sums = cells.entry((system, name, count)).or_default();
            sums.add(&rate, &before, &after);
        }
    }
    servers.stop().await
}

/// What the servers have spent since they were started.
struct Spent {
    cpu_seconds: f64,
    fsyncs: f64,
}

impl Spent {
    async fn until_now(system: System, servers: &Servers) -> Result<Self> {
        let fsyncs = match system {
            System::Etcd => f64::NAN,
            System::Covey { .. } => servers.counter("covey_raftdb_syncs_total").await?,
        };
        Ok(Self {
            cpu_seconds: servers.cpu_seconds()?,
            fsyncs,
        })
    }
}

impl Sums {
    fn add(&mut self, rate: &Rate, before: &Spent, after: &Spent) {
        self.turns += 1.0;
        self.per_second += rate.per_second;
        self.p50_ms += rate.percentile(0.50);
        self.p99_ms += rate.percentile(0.99);
        // What was spent while warming up counts too, and so do the answers then.
        let all = rate.per_second * (SPAN.warm_up + SPAN.measured).as_secs_f64();
        self.cpu_us += (after.cpu_seconds - before.cpu_seconds) * 1e6 / all;
        // Every node syncs every write.
        self.writes_per_fsync += all * NODES as f64 / (after.fsyncs - before.fsyncs);
    }
}

fn figures(cells: &BTreeMap<Cell, Sums>) -> Vec<(String, f64)> {
    let mean = |system, name, count, of: Figure| {
        let cell = cells.get(&(system, name, count));
        cell.map_or(f64::NAN, |sums| of(sums) / sums.turns)
    };
    let ours = System::Covey { groups: GROUPS };
    let compared: [(&str, Figure); 2] = [
        ("ratio", |sums| sums.per_second),
        ("p99_ratio", |sums| sums.p99_ms),
    ];
    let mut figures = Vec::new();
    for (what, of) in compared {
        for name in ["put", "get"] {
            for count in CLIENTS {
                let ratio = mean(ours, name, count, of) / mean(System::Etcd, name, count, of);
                figures.push((format!("{name}_{what}_c{count}"), ratio));
            }
        }
    }
    let busiest = CLIENTS[CLIENTS.len() - 1];
    for count in CLIENTS {
        let per_fsync = mean(ours, "put", count, |sums| sums.writes_per_fsync);
        figures.push((format!("writes_per_fsync_c{count}"), per_fsync));
    }
    figures.push((
        "cpu_us_per_put".to_owned(),
        mean(ours, "put", busiest, |sums| sums.cpu_us),
    ));
    figures.push((
        "etcd_cpu_us_per_put".to_owned(),
        mean(System::Etcd, "put", busiest, |sums| sums.cpu_us),
    ));
    for ((system, name, count), sums) in cells {
        let system = system.name().replace(", ", "_").replace(' ', "_");
        figures.push((
            format!("{system}_{name}_per_second_c{count}"),
            sums.per_second / sums.turns,
        ));
        figures.push((
            format!("{system}_{name}_p99_ms_c{count}"),
            sums.p99_ms / sums.turns,
        ));
    }
    figures
}

fn table(cells: &BTreeMap<Cell, Sums>) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "system",
        "clients",
        "does",
        "per second",
        "p50 ms",
        "p99 ms",
        "server CPU µs",
        "writes per fsync",
    ]);
    for ((system, name, count), sums) in cells {
        table.add_row([
            system.name(),
            count.to_string(),
            (*name).to_owned(),
            format!("{:.0}", sums.per_second / sums.turns),
            format!("{:.2}", sums.p50_ms / sums.turns),
            format!("{:.2}", sums.p99_ms / sums.turns),
            format!("{:.0}", sums.cpu_us / sums.turns),
            format!("{:.1}", sums.writes_per_fsync / sums.turns),
        ]);
    }
    table
}
