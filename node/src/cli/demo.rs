//! `covey demo`: the flights demo on a cluster of its own.

use std::path::PathBuf;

use super::trouble::Trouble;
use crate::demo::{self, DemoOptions};

/// Options of `covey demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  covey demo\n  covey demo --keep --dir flights-demo")]
pub(super) struct Demo {
    /// Leave the cluster running at the end, to look around
    #[arg(long)]
    keep: bool,
    /// Where the nodes keep their data and the report is written; an earlier demo there is removed
    #[arg(long, default_value = "covey-demo")]
    dir: PathBuf,
    /// The definitions, with the data beneath them in `data`
    #[arg(long, default_value = "examples/flights", value_name = "DIR")]
    definitions: PathBuf,
}

impl Demo {
    pub(super) async fn run(self) -> Result<(), Trouble> {
        let options = DemoOptions {
            keep: self.keep,
            dir: self.dir,
            definitions: self.definitions,
        };
        demo::run(options).await.map_err(|error| {
            Trouble::refused(
                format!("{error:#}"),
                "run it in the folder that holds examples/flights, or name that with --definitions",
            )
        })
    }
}
