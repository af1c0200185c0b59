//! `covey start`: runs a node until it is told to stop.

use super::trouble::Trouble;
use crate::config::{Config, Options};
use crate::run::{self, Beginning, NewCluster};

/// Options of `covey start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    covey start --data-dir n1\n  \
    covey start --data-dir n2 --api-listen 127.0.0.1:7410 --peer-listen 127.0.0.1:7411 --join 127.0.0.1:7400\n  \
    covey start --data-dir n1 --init fraud            the first node, for containers and units that cannot run two commands\n\n\
    Stop it with Ctrl-C or SIGTERM: leadership moves away first, nothing acknowledged is lost.")]
pub(super) struct Start {
    #[command(flatten)]
    options: Options,
    /// API addresses of nodes of the cluster to join, separated by commas; without effect once the node belongs to one
    #[arg(long, env = "COVEY_JOIN", value_name = "HOST:PORT,...")]
    join: Option<String>,
    /// Name of the cluster to make if the data directory is empty; without effect once the node belongs to one
    #[arg(long, env = "COVEY_INIT", value_name = "NAME", conflicts_with = "join")]
    init: Option<String>,
}

impl Start {
    pub(super) async fn run(self) -> Result<(), Trouble> {
        let config = Config::resolve(self.options)?;
        let beginning = match (self.join, self.init) {
            (Some(addresses), _) => Beginning::Join(addresses),
            (None, Some(name)) => Beginning::Found(NewCluster::named(name)),
            (None, None) => Beginning::Refuse,
        };
        run::start(config, beginning).await.map_err(|error| {
            Trouble::refused(
                format!("{error:#}"),
                "mend what the error names, and start the node again",
            )
        })
    }
}
