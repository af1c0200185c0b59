//! `covey deploy`: serve a model, and look at what is served.

use std::path::PathBuf;

use covey_proto::v1;
use covey_proto::v1::deployment_spec::Target;
use covey_proto::v1::get_version_request::Which;

use super::apply::Apply;
use super::client::{Access, Client};
use super::length::Length;
use super::model::version_of;
use super::output::{Card, Listing, Output, remark, say};
use super::trouble::Trouble;
use super::waiting::{Look, wait_for};

/// Options of `covey deploy`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:\n  \
        covey deploy flight-delay --model flight_delay --alias champion --replicas 3\n  \
        covey deploy pinned --model flight_delay --version 2\n  \
        covey deploy list"
)]
pub(super) struct Deploy {
    #[command(subcommand)]
    verb: Option<DeployVerb>,
    /// The deployment, the name that predictions are asked of
    #[arg(required = true)]
    name: Option<String>,
    /// The model
    #[arg(long, required = true)]
    model: Option<String>,
    /// Serve whatever this alias points to; either this or --version is needed
    #[arg(long, required_unless_present = "version")]
    alias: Option<String>,
    /// Serve this version for ever
    #[arg(long, value_name = "VERSION", conflicts_with = "alias")]
    version: Option<u64>,
    /// Replicas, spread over the nodes
    #[arg(long, default_value_t = 1)]
    replicas: u32,
    /// Requests that may wait at one replica
    #[arg(long, default_value_t = 1024, value_name = "REQUESTS")]
    queue_limit: u32,
    /// Keep predictions until their labels come
    #[arg(long)]
    log_predictions: bool,
    /// How long to wait until all replicas are ready; 0s does not wait
    #[arg(long, default_value = "60s", value_name = "LENGTH")]
    wait: Length,
}

#[derive(Debug, clap::Subcommand)]
enum DeployVerb {
    /// Declare everything that a YAML file or a folder of them defines; the same as `covey apply -f`
    #[command(after_help = "Examples:\n  covey deploy apply -f examples/flights/serving.yaml")]
    Apply {
        /// A YAML file, or a folder of them
        #[arg(short, long, value_name = "FILE_OR_DIR")]
        file: PathBuf,
    },
    /// List the deployments
    #[command(after_help = "Examples:\n  covey deploy list")]
    List,
    /// Show a deployment and its replicas
    #[command(after_help = "Examples:\n  covey deploy show flight-delay")]
    Show {
        /// The deployment
        name: String,
    },
    /// Stop serving
    #[command(after_help = "Examples:\n  covey deploy remove flight-delay")]
    Remove {
        /// The deployment
        name: String,
    },
}

impl Deploy {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        match self.verb {
            Some(DeployVerb::Apply { file }) => return Apply::of(file).run(access).await,
            Some(DeployVerb::List) => {
                let client = access.connect().await?;
                listing(&deployments(&client, "").await?).print(access.output);
            }
            Some(DeployVerb::Show { name }) => {
                let client = access.connect().await?;
                show(&find(&client, &name).await?, access.output);
            }
            Some(DeployVerb::Remove { name }) => {
                let client = access.connect().await?;
                let request = client.request(v1::RemoveDeploymentRequest { name: name.clone() });
                client.serving().remove_deployment(request).await?;
                remark(&format!("deployment `{name}` is removed"));
            }
            None => return self.declare(access).await,
        }
        Ok(())
    }

    async fn declare(self, access: &Access) -> Result<(), Trouble> {
        let target = self
            .alias
            .map(Target::Alias)
            .or(self.version.map(Target::Version));
        let spec = v1::DeploymentSpec {
            name: self.name.unwrap_or_default(),
            model: self.model.unwrap_or_default(),
            target,
            replicas: self.replicas,
            queue_limit: self.queue_limit,
            log_predictions: self.log_predictions,
        };
        let client = access.connect().await?;
        let request = client.request(v1::ApplyDeploymentRequest {
            spec: Some(spec.clone()),
        });
        let declared = client.serving().apply_deployment(request).await?.into_inner();
        if self.wait.micros() == 0 {
            show(&declared, access.output);
            return Ok(());
        }
        let ready = wait_ready(&client, (&spec, declared.revision), self.wait);
        show(&ready.await?, access.output);
        Ok(())
    }
}

/// The deployment once as many replicas as wanted serve the version that it names now.
async fn wait_ready(
    client: &Client,
    (spec, revision): (&v1::DeploymentSpec, u64),
    wait: Length,
) -> Result<v1::Deployment, Trouble> {
    wait_for(
        &format!("deployment {}", spec.name),
        wait.duration(),
        async || {
            let target = match target_version(client, spec).await {
                Err(trouble) if !trouble.is_unavailable() => {
                    return Ok(Look::NotYet(trouble.what().to_owned()));
                }
                target => target?,
            };
            let now = find(client, &spec.name).await?;
            let serves = |replica: &&v1::Replica| {
                let served = (replica.model.as_str(), replica.version);
                let knows = replica.state == "ready" && replica.revision >= revision;
                knows && served == (spec.model.as_str(), target)
            };
            let ready = now.replicas.iter().filter(serves).count();
            let wanted = usize::try_from(spec.replicas).unwrap_or(usize::MAX);
            if ready >= wanted {
                return Ok(Look::Reached(now));
            }
            let fault = now.replicas.iter().find(|replica| !replica.error.is_empty());
            let why = fault
                .map(|replica| format!(", {}: {}", replica.node, replica.error))
                .unwrap_or_default();
            Ok(Look::NotYet(format!(
                "{ready} of {wanted} replicas serve version {target}{why}"
            )))
        },
    )
    .await
}

/// The version that a deployment is to serve now.
async fn target_version(client: &Client, spec: &v1::DeploymentSpec) -> Result<u64, Trouble> {
    match &spec.target {
        Some(Target::Version(version)) => Ok(*version),
        Some(Target::Alias(alias)) => {
            let found = version_of(client, &spec.model, Which::Alias(alias.clone())).await?;
            Ok(found.number)
        }
        None => Ok(0),
    }
}

/// The deployments, or those of that name.
pub(super) async fn deployments(client: &Client, name: &str) -> Result<Vec<v1::Deployment>, Trouble> {
    let request = client.request(v1::ListDeploymentsRequest {
        name: name.to_owned(),
    });
    Ok(client
        .serving()
        .list_deployments(request)
        .await?
        .into_inner()
        .deployments)
}

/// A deployment.
pub(super) async fn find(client: &Client, name: &str) -> Result<v1::Deployment, Trouble> {
    let found = deployments(client, name).await?.into_iter();
    let mut of_it = found.filter(|each| each.spec.as_ref().is_some_and(|spec| spec.name == name));
    of_it.next().ok_or_else(|| {
        Trouble::refused(
            format!("deployment `{name}` does not exist"),
            "see `covey deploy list`",
        )
    })
}

fn target_text(spec: &v1::DeploymentSpec) -> String {
    match &spec.target {
        Some(Target::Alias(alias)) => format!("alias {alias}"),
        Some(Target::Version(version)) => format!("version {version}"),
        None => String::new(),
    }
}

fn listing(deployments: &[v1::Deployment]) -> Listing {
    let mut listing = Listing::new(&[
        "deployment",
        "model",
        "serves",
        "ready",
        "replicas",
        "versions",
        "predictions",
        "revision",
    ]);
    for deployment in deployments {
        let spec = deployment.spec.clone().unwrap_or_default();
        let ready: Vec<&v1::Replica> = deployment
            .replicas
            .iter()
            .filter(|replica| replica.state == "ready")
            .collect();
        let mut versions: Vec<u64> = ready.iter().map(|replica| replica.version).collect();
        versions.sort_unstable();
        versions.dedup();
        listing.row([
            spec.name.clone().into(),
            spec.model.clone().into(),
            target_text(&spec).into(),
            ready.len().into(),
            spec.replicas.into(),
            versions.into(),
            deployment
                .replicas
                .iter()
                .map(|replica| replica.predictions)
                .sum::<u64>()
                .into(),
            deployment.revision.into(),
        ]);
    }
    listing
}

fn show(deployment: &v1::Deployment, output: Output) {
    let spec = deployment.spec.clone().unwrap_or_default();
    let mut replicas = Listing::new(&["node", "state", "version", "predictions", "restarts", "error"]);
    for replica in &deployment.replicas {
        replicas.row([
            replica.node.clone().into(),
            replica.state.clone().into(),
            super::output::version(replica.version),
            replica.predictions.into(),
            replica.restarts.into(),
            replica.error.clone().into(),
        ]);
    }
    let card = Card::default()
        .with("deployment", spec.name.clone())
        .with("model", spec.model.clone())
        .with("serves", target_text(&spec))
        .with("replicas wanted", spec.replicas)
        .with("queue limit", spec.queue_limit)
        .with("log predictions", spec.log_predictions)
        .with("revision", deployment.revision);
    match output {
        Output::Table => {
            card.print(output);
            say("");
            replicas.print(output);
        }
        Output::Json => card.with("replicas", replicas.json()).print(output),
    }
}
