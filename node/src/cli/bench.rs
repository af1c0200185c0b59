//! `covey bench`: measurements of this machine.

use std::path::PathBuf;

use super::trouble::Trouble;
use crate::bench::{self, BenchOptions};

/// Options of `covey bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  covey bench --all --output-dir results\n  covey bench predict\n  covey bench idle"
)]
pub(super) struct Bench {
    /// The measurement: predict, consensus, failover, idle, overload or memory
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// All measurements, one after the other
    #[arg(long, conflicts_with = "name")]
    all: bool,
    /// Where to write the results
    #[arg(long, default_value = "bench-results", value_name = "DIR")]
    output_dir: PathBuf,
}

impl Bench {
    pub(super) async fn run(self) -> Result<(), Trouble> {
        let options = BenchOptions {
            name: self.name,
            output_dir: self.output_dir,
        };
        bench::run(options)
            .await
            .map_err(|error| Trouble::refused(format!("{error:#}"), "see `covey bench --help`"))
    }
}
