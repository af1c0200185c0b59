//! `covey train`: submits a training job.

use covey_proto::v1;

use super::cell;
use super::client::Access;
use super::dataset::Named;
use super::job;
use super::output::remark;
use super::trouble::Trouble;

/// Options of `covey train`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    covey train --dataset flight_delay --algorithm logistic_regression --model flight_delay --alias champion --wait\n  \
    covey train --dataset flight_delay@2 --algorithm random_forest --model flight_delay --set trees=100 --set depth_max=10\n\n\
    Algorithms, with their hyper-parameters and what these are by default:\n  \
    logistic_regression   c=1 iterations_max=100\n  \
    linear_regression     l2=0\n  \
    decision_tree         depth_max=6 leaf_rows_min=20\n  \
    random_forest         trees=50 depth_max=8 row_share=0.7 column_share=0.5\n  \
    naive_bayes           variance_smoothing=1e-9\n  \
    k_means               clusters=8 iterations_max=100\n\
    The same dataset version, settings and seed give the same model on any number of nodes.")]
pub(super) struct Train {
    /// The training set, NAME or NAME@VERSION; without a version the newest
    #[arg(long)]
    dataset: Named,
    /// The algorithm
    #[arg(long)]
    algorithm: String,
    /// The model that the result becomes a version of; registered if it is new
    #[arg(long)]
    model: String,
    /// A hyper-parameter; may be given several times
    #[arg(long = "set", value_name = "NAME=NUMBER", value_parser = cell::number_pair)]
    parameters: Vec<(String, f64)>,
    /// Features to leave out
    #[arg(long, value_name = "FEATURE")]
    exclude: Vec<String>,
    /// Seeds everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// An alias for the result
    #[arg(long)]
    alias: Option<String>,
    /// The job's id; submitting the same id again changes nothing [default: one is made]
    #[arg(long)]
    id: Option<String>,
    /// Wait until the job has ended
    #[arg(long)]
    wait: bool,
}

impl Train {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        let spec = v1::JobSpec {
            dataset: self.dataset.name,
            dataset_version: self.dataset.version,
            algorithm: self.algorithm,
            parameters: self.parameters.into_iter().collect(),
            seed: self.seed,
            exclude: self.exclude,
            model: self.model,
            alias: self.alias.unwrap_or_default(),
        };
        let request = v1::SubmitJobRequest {
            id: self.id.unwrap_or_default(),
            spec: Some(spec),
        };
        let submitted = client
            .training()
            .submit_job(client.request(request))
            .await?
            .into_inner();
        if self.wait {
            return job::watch(&client, &submitted.id, access.output).await;
        }
        job::card(&submitted, access.output).print(access.output);
        remark(&format!("next: covey job watch {}", submitted.id));
        Ok(())
    }
}
