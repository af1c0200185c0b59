//! `covey kv-node`: what the consensus benchmark starts three of. Not for people, so it is hidden.

use super::trouble::Trouble;
use crate::bench::kv_node::{self, KvNodeOptions};

/// Options of `covey kv-node`.
#[derive(Debug, clap::Args)]
pub(super) struct KvNode {
    #[command(flatten)]
    options: KvNodeOptions,
}

impl KvNode {
    pub(super) async fn run(self) -> Result<(), Trouble> {
        kv_node::run(self.options)
            .await
            .map_err(|error| Trouble::refused(format!("{error:#}"), "see `covey bench --help`"))
    }
}
