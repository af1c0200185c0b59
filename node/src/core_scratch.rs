//! Scratch: removed before the end.
#![allow(dead_code, unused_imports)]
mod api;
mod artifacts;
mod catalog;
mod config;
mod context;
mod error;
mod features;
mod identity;
mod ledger;
mod machine;
mod membership;
mod metrics;
mod node_peer;
mod peers;
mod registry;
mod run;
mod training;

#[derive(clap::Parser)]
enum Cli {
    Init {
        #[command(flatten)]
        options: config::Options,
        #[arg(long, default_value_t = 8)]
        groups: u64,
    },
    Start {
        #[command(flatten)]
        options: config::Options,
        #[arg(long)]
        join: Option<String>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match <Cli as clap::Parser>::parse() {
        Cli::Init { options, groups } => {
            let config = config::Config::resolve(options)?;
            let new = run::NewCluster { name: "scratch".to_owned(), groups, replication_factor: 3 };
            println!("{:?}", run::init(config, new).await?);
            Ok(())
        }
        Cli::Start { options, join } => run::start(config::Config::resolve(options)?, join).await,
    }
}
