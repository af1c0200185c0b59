//! The command line: one binary, one verb per file. Verbs parse, ask, and print; they decide nothing.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not available now. Results go to standard output, remarks
//! and progress to standard error; every error ends with what to do next.

pub(crate) mod apply;
pub(crate) mod cell;
pub(crate) mod client;
pub(crate) mod definition;
pub(crate) mod length;
pub(crate) mod output;
pub(crate) mod progress;
pub(crate) mod sheet;
pub(crate) mod trouble;
pub(crate) mod waiting;

mod artifact;
mod bench;
mod completion;
mod consistency;
mod dataset;
mod demo;
mod deploy;
mod drift;
mod feature;
mod group;
mod init;
mod job;
mod kv_node;
mod label;
mod model;
mod namespace;
mod node;
mod pipeline;
mod predict;
mod rebalance;
mod start;
mod status;
mod train;
mod verify;
mod version;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Access;
use output::remark;
use trouble::Trouble;

/// Worker threads are at least this many, so that one long poll does not stop the others.
const WORKERS_MIN: usize = 2;

/// Feature store, model registry, trainer, model server and drift monitor in one replicated binary.
#[derive(Debug, Parser)]
#[command(
    name = "covey",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        covey demo                                       see everything at work on this machine\n  \
        covey init --data-dir n1                         make a cluster\n  \
        covey start --data-dir n1                        run its first node\n  \
        covey apply -f entities.yaml -f views.yaml       declare what features are about, and the features\n  \
        covey status                                     see how it is\n\n\
        Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not available now"
)]
struct Cli {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a new cluster: write the identity of its first node
    Init(init::Init),
    /// Run a node until it is told to stop
    Start(start::Start),
    /// Show the cluster at a glance
    Status(status::Status),
    /// List, add, drain and remove nodes
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey node list\n  \
            covey node add --data-dir n4\n  \
            covey node drain n2"
    )]
    Node(node::Node),
    /// Show where the groups are and how far their logs are; move their replicas and leaders
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey group list --all-nodes\n  \
            covey group show g3\n  \
            covey group move g3 --from n1 --to n4"
    )]
    Group(group::Group),
    /// Plan anew where the groups should be
    Rebalance(rebalance::Rebalance),
    /// Compare the replicas of the groups and name the first difference
    Verify(verify::Verify),
    /// Declare what the groups of some entities are to survive, and where they are at home
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey namespace list\n  \
            covey namespace create payments --home eu --survive region --groups 8"
    )]
    Namespace(namespace::Namespace),
    /// Look at, write and read features
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey feature push weather --file today.csv\n  \
            covey feature get flight_delay --file flights.csv"
    )]
    Feature(feature::Feature),
    /// Build and look at point-in-time training sets
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey dataset list\n  \
            covey dataset show flight_delay@3\n  \
            covey dataset verify flight_delay@3"
    )]
    Dataset(dataset::Dataset),
    /// Submit a training job
    Train(train::Train),
    /// Follow training jobs
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey job list\n  \
            covey job watch 0198c1d2\n  \
            covey job cancel 0198c1d2"
    )]
    Job(job::Job),
    /// Look at models, their versions and aliases
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey model versions flight_delay\n  \
            covey model alias set flight_delay champion 2"
    )]
    Model(model::Model),
    /// Serve a model, and look at what is served
    Deploy(deploy::Deploy),
    /// Ask a deployment for predictions
    Predict(predict::Predict),
    /// Send labels that have become known
    #[command(
        subcommand,
        after_help = "Examples:\n  covey label push flight-delay --file outcomes.csv"
    )]
    Label(label::Label),
    /// Look at drift, alerts and live performance
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey drift list flight-delay\n  \
            covey drift alerts flight-delay\n  \
            covey drift performance flight-delay"
    )]
    Drift(drift::Drift),
    /// Look at and start retraining pipelines
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey pipeline runs\n  \
            covey pipeline start flight_delay_retrain --reason 'new carrier'"
    )]
    Pipeline(pipeline::Pipeline),
    /// Declare what YAML files define
    Apply(apply::Apply),
    /// Run the flights demo on a cluster of its own
    Demo(demo::Demo),
    /// Measure this machine
    Bench(bench::Bench),
    /// Run a node of the database that `bench consensus` measures
    #[command(hide = true)]
    KvNode(kv_node::KvNode),
    /// Print a shell's completion script
    Completion(completion::Completion),
    /// Print the version
    Version(version::Version),
}

/// Parses the command line, does what it says, and tells how it went.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            remark(&trouble.to_string());
            trouble.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Trouble> {
    let cores = std::thread::available_parallelism().map_or(WORKERS_MIN, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.max(WORKERS_MIN))
        .thread_name("covey")
        .enable_all()
        .build()
        .map_err(|error| {
            Trouble::refused(
                format!("cannot start threads: {error}"),
                "raise the limit on processes",
            )
        })?;
    runtime.block_on(dispatch(cli))
}

async fn dispatch(cli: Cli) -> Result<(), Trouble> {
    let Cli { access, verb } = cli;
    match verb {
        Verb::Init(verb) => verb.run(access.output),
        Verb::Start(verb) => verb.run().await,
        Verb::Status(verb) => verb.run(&access).await,
        Verb::Node(verb) => verb.run(&access).await,
        Verb::Group(verb) => verb.run(&access).await,
        Verb::Rebalance(verb) => verb.run(&access).await,
        Verb::Verify(verb) => verb.run(&access).await,
        Verb::Namespace(verb) => verb.run(&access).await,
        Verb::Feature(verb) => verb.run(&access).await,
        Verb::Dataset(verb) => verb.run(&access).await,
        Verb::Train(verb) => verb.run(&access).await,
        Verb::Job(verb) => verb.run(&access).await,
        Verb::Model(verb) => verb.run(&access).await,
        Verb::Deploy(verb) => verb.run(&access).await,
        Verb::Predict(verb) => verb.run(&access).await,
        Verb::Label(verb) => verb.run(&access).await,
        Verb::Drift(verb) => verb.run(&access).await,
        Verb::Pipeline(verb) => verb.run(&access).await,
        Verb::Apply(verb) => verb.run(&access).await,
        Verb::Demo(verb) => verb.run().await,
        Verb::Bench(verb) => verb.run().await,
        Verb::KvNode(verb) => verb.run().await,
        Verb::Completion(verb) => verb.run(),
        Verb::Version(verb) => verb.run(access.output),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
