//! `covey version`: the version of this binary.

use super::output::{Card, Output, say};
use super::trouble::Trouble;

/// Options of `covey version`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  covey version\n  covey version --output json")]
pub(super) struct Version {}

impl Version {
    #[allow(clippy::unnecessary_wraps)] // Every verb answers alike.
    pub(super) fn run(self, output: Output) -> Result<(), Trouble> {
        let version = env!("CARGO_PKG_VERSION");
        match output {
            Output::Table => say(&format!("covey {version}")),
            Output::Json => Card::default().with("version", version).print(output),
        }
        Ok(())
    }
}
