//! `covey bench`: measurements on this machine, against real processes, as tables and as JSON files.

pub(crate) mod kv_node;

mod consensus;
mod failover;
mod idle;
mod memory;
mod outcomes;
mod overload;
mod predict;
mod process;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use comfy_table::Table;

/// What is measured.
#[derive(Debug, Clone)]
pub struct BenchOptions {
    /// The measurement; all of them when there is none.
    pub name: Option<String>,
    /// Where `<name>.json` is written.
    pub output_dir: PathBuf,
}

/// The measurements there are.
const NAMES: [&str; 6] = ["predict", "consensus", "failover", "idle", "overload", "memory"];

/// What was measured, by name.
type Figures = Vec<(&'static str, f64)>;

/// Runs one measurement, or all.
pub async fn run(options: BenchOptions) -> Result<()> {
    let chosen: Vec<&str> = match &options.name {
        None => NAMES.to_vec(),
        Some(name) => vec![name.as_str()],
    };
    std::fs::create_dir_all(&options.output_dir)
        .with_context(|| format!("cannot make {}", options.output_dir.display()))?;
    for name in chosen {
        let figures = match name {
            "predict" => named(predict::measure(Path::new("examples/flights")).await?),
            "consensus" => consensus::measure().await?,
            "failover" => named(failover::measure().await?),
            "idle" => named(idle::measure().await?),
            "overload" => named(overload::measure().await?),
            "memory" => named(memory::measure().await?),
            unknown => bail!(
                "there is no benchmark `{unknown}`; there are: {}",
                NAMES.join(", ")
            ),
        };
        show(name, &figures);
        let file = options.output_dir.join(format!("{name}.json"));
        let json: serde_json::Map<String, serde_json::Value> = figures
            .into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect();
        std::fs::write(&file, serde_json::to_vec_pretty(&json)?)?;
        println!("written to {}\n", file.display());
    }
    Ok(())
}

fn show(name: &str, figures: &[(String, f64)]) {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header([name, "value"]);
    for (key, value) in figures {
        table.add_row([key.clone(), format!("{value:.3}")]);
    }
    println!("{table}");
}

/// Some take minutes for each part, so what is known is said.
fn told(figures: Figures) -> Figures {
    for (name, value) in &figures {
        println!("{name} {value:.1}");
    }
    figures
}

fn named(figures: Figures) -> Vec<(String, f64)> {
    let owned = |(name, value): (&str, f64)| (name.to_owned(), value);
    figures.into_iter().map(owned).collect()
}

/// The value that this share of the sorted ones does not exceed.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss
)]
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}
