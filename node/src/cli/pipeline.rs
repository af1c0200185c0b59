//! `covey pipeline`: retraining, gated against the champion.

use covey_proto::v1;
use covey_state::Timestamp;
use covey_state::window::window_text;

use super::cell;
use super::client::{Access, Client};
use super::length::Length;
use super::output::{Card, Listing, Output, measure, moment, version};
use super::trouble::Trouble;
use super::waiting::{Look, wait_for};

/// Verbs of `covey pipeline`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Pipeline {
    /// List the pipelines
    #[command(after_help = "Examples:\n  covey pipeline list")]
    List,
    /// List the runs
    #[command(after_help = "Examples:\n  covey pipeline runs\n  covey pipeline runs flight_delay_retrain")]
    Runs {
        /// Only of this pipeline
        name: Option<String>,
    },
    /// Start a run; refused while one is open or within the cool-down
    #[command(after_help = "Examples:\n  \
        covey pipeline start flight_delay_retrain --reason 'new carrier'\n  \
        covey pipeline start flight_delay_retrain --as-of 2013-07-01 --wait 10m")]
    Start {
        /// The pipeline
        name: String,
        /// The event time at which the new training set ends [default: now]
        #[arg(long, value_name = "TIME", value_parser = cell::moment_option)]
        as_of: Option<Timestamp>,
        /// Why, for people
        #[arg(long, default_value = "started by hand")]
        reason: String,
        /// Wait this long for the end of the run
        #[arg(long, value_name = "LENGTH")]
        wait: Option<Length>,
    },
}

impl Pipeline {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        match self {
            Self::List => {
                let request = client.request(v1::ListPipelinesRequest {});
                let reply = client.monitoring().list_pipelines(request).await?.into_inner();
                pipelines(&reply.pipelines, access.output).print(access.output);
            }
            Self::Runs { name } => {
                let found = runs(&client, &name.unwrap_or_default()).await?;
                run_listing(&found, access.output).print(access.output);
            }
            Self::Start {
                name,
                as_of,
                reason,
                wait,
            } => {
                let as_of_micros = as_of.map_or(0, Timestamp::micros);
                let request = client.request(v1::StartPipelineRequest {
                    name,
                    as_of_micros,
                    reason,
                });
                let started = client.monitoring().start_pipeline(request).await?.into_inner();
                let run = match wait {
                    Some(wait) => wait_ended(&client, &started, wait).await?,
                    None => started,
                };
                card(&run, access.output).print(access.output);
                if run.stage == "failed" {
                    let what = format!("run {} of `{}` failed: {}", run.number, run.pipeline, run.reason);
                    return Err(Trouble::refused(
                        what,
                        "the champion stays; correct what it names and start again",
                    ));
                }
            }
        }
        Ok(())
    }
}

async fn runs(client: &Client, pipeline: &str) -> Result<Vec<v1::PipelineRun>, Trouble> {
    let request = client.request(v1::ListPipelineRunsRequest {
        pipeline: pipeline.to_owned(),
    });
    Ok(client
        .monitoring()
        .list_pipeline_runs(request)
        .await?
        .into_inner()
        .runs)
}

async fn wait_ended(
    client: &Client,
    run: &v1::PipelineRun,
    wait: Length,
) -> Result<v1::PipelineRun, Trouble> {
    wait_for(
        &format!("run {} of {}", run.number, run.pipeline),
        wait.duration(),
        async || {
            let now = runs(client, &run.pipeline)
                .await?
                .into_iter()
                .find(|each| each.number == run.number);
            Ok(match now {
                Some(now) if matches!(now.stage.as_str(), "promoted" | "kept" | "failed") => {
                    Look::Reached(now)
                }
                Some(now) => Look::NotYet(now.stage),
                None => Look::NotYet("not seen yet".to_owned()),
            })
        },
    )
    .await
}

fn pipelines(pipelines: &[v1::Pipeline], output: Output) -> Listing {
    let mut listing = Listing::new(&[
        "pipeline",
        "model",
        "alias",
        "dataset",
        "algorithm",
        "gate",
        "margin",
        "holdout",
        "cooldown",
    ]);
    for pipeline in pipelines {
        listing.row([
            pipeline.name.clone().into(),
            pipeline.model.clone().into(),
            pipeline.alias.clone().into(),
            pipeline.dataset.clone().into(),
            pipeline.algorithm.clone().into(),
            pipeline.gate_metric.clone().into(),
            measure(pipeline.gate_margin, output),
            window_text(pipeline.holdout_micros).into(),
            window_text(pipeline.cooldown_micros).into(),
        ]);
    }
    listing
}

fn run_listing(runs: &[v1::PipelineRun], output: Output) -> Listing {
    let mut listing = Listing::new(&[
        "pipeline",
        "run",
        "stage",
        "trigger",
        "as of",
        "dataset",
        "job",
        "candidate",
        "champion",
        "candidate metric",
        "champion metric",
        "started",
        "reason",
    ]);
    for run in runs {
        listing.row([
            run.pipeline.clone().into(),
            run.number.into(),
            run.stage.clone().into(),
            run.trigger.clone().into(),
            moment(run.as_of_micros),
            version(run.dataset_version),
            run.job.clone().into(),
            version(run.candidate),
            version(run.champion),
            measure(run.candidate_metric, output),
            measure(run.champion_metric, output),
            moment(run.started_at_micros),
            run.reason.clone().into(),
        ]);
    }
    listing
}

fn card(run: &v1::PipelineRun, output: Output) -> Card {
    Card::default()
        .with("pipeline", run.pipeline.clone())
        .with("run", run.number)
        .with("stage", run.stage.clone())
        .with("trigger", run.trigger.clone())
        .with("as of", moment(run.as_of_micros))
        .with("candidate", version(run.candidate))
        .with("champion", version(run.champion))
        .with("candidate metric", measure(run.candidate_metric, output))
        .with("champion metric", measure(run.champion_metric, output))
        .with("reason", run.reason.clone())
        .with("started", moment(run.started_at_micros))
        .with("updated", moment(run.updated_at_micros))
}
