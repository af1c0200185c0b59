//! `covey bench`: measurements on this machine, against real processes, as tables and as JSON files.

mod idle;
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
const NAMES: [&str; 2] = ["predict", "idle"];

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
            "predict" => predict::measure(Path::new("examples/flights")).await?,
            "idle" => idle::measure().await?,
            unknown => bail!(
                "there is no benchmark `{unknown}`; there are: {}",
                NAMES.join(", ")
            ),
        };
        show(name, &figures);
        let file = options.output_dir.join(format!("{name}.json"));
        let json: serde_json::Map<String, serde_json::Value> = figures
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        std::fs::write(&file, serde_json::to_vec_pretty(&json)?)?;
        println!("written to {}\n", file.display());
    }
    Ok(())
}

fn show(name: &str, figures: &[(&'static str, f64)]) {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED);
    table.set_header([name, "value"]);
    for (key, value) in figures {
        table.add_row([(*key).to_owned(), format!("{value:.3}")]);
    }
    println!("{table}");
}
