//! `covey model`: models, their immutable versions, and the aliases that move between them.

use std::path::PathBuf;

use covey_proto::v1;
use covey_proto::v1::get_version_request::Which;
use covey_state::Timestamp;
use serde_json::{Map, Value as Json};

use super::client::{Access, Client};
use super::output::{Card, Listing, Output, measure, moment, remark, version};
use super::trouble::Trouble;
use super::{artifact, cell, dataset::Named};

/// Verbs of `covey model`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Model {
    /// List the models
    #[command(after_help = "Examples:\n  covey model list")]
    List,
    /// Show a version: inputs, metrics, lineage, files, and the deployments that serve it now
    #[command(
        after_help = "Examples:\n  covey model show flight_delay@2\n  covey model show flight_delay --alias champion"
    )]
    Show(VersionChoice),
    /// List the versions of a model
    #[command(after_help = "Examples:\n  covey model versions flight_delay")]
    Versions {
        /// The model
        model: String,
    },
    /// Move aliases and see how they moved
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey model alias set flight_delay champion 2\n  \
            covey model alias history flight_delay champion"
    )]
    Alias(Alias),
    /// Fetch the files of a version
    #[command(after_help = "Examples:\n  covey model download flight_delay@2 --to model-files")]
    Download {
        #[command(flatten)]
        which: VersionChoice,
        /// The folder to write into
        #[arg(long, default_value = ".", value_name = "DIR")]
        to: PathBuf,
    },
}

/// A version of a model, by number or by alias.
#[derive(Debug, clap::Args)]
pub(super) struct VersionChoice {
    /// MODEL or MODEL@VERSION; without version and alias the newest
    model: Named,
    /// The version that this alias points to
    #[arg(long)]
    alias: Option<String>,
}

/// Verbs of `covey model alias`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Alias {
    /// Point an alias to a version, or take it away
    #[command(after_help = "Examples:\n  \
        covey model alias set flight_delay champion 2 --reason 'better in June'\n  \
        covey model alias set flight_delay champion 3 --expected 2\n  \
        covey model alias set flight_delay canary --remove")]
    Set {
        /// The model
        model: String,
        /// The alias
        alias: String,
        /// The version to point to
        #[arg(required_unless_present = "remove", value_parser = clap::value_parser!(u64).range(1..))]
        version: Option<u64>,
        /// Take the alias away
        #[arg(long, conflicts_with = "version")]
        remove: bool,
        /// Refuse unless it points to this version now; 0: to nothing
        #[arg(long, value_name = "VERSION")]
        expected: Option<u64>,
        /// Why, for the history
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// List what an alias pointed to, when, and who moved it
    #[command(after_help = "Examples:\n  \
        covey model alias history flight_delay champion\n  \
        covey model alias history flight_delay champion --at 2013-06-01T12:00:00Z")]
    History {
        /// The model
        model: String,
        /// The alias
        alias: String,
        /// Only what it pointed to at this time
        #[arg(long, value_name = "TIME", value_parser = cell::moment_option)]
        at: Option<Timestamp>,
    },
}

impl Model {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        match self {
            Self::List => {
                let reply = client
                    .registry()
                    .list_models(client.request(v1::ListModelsRequest {}))
                    .await?
                    .into_inner();
                models(&reply.models).print(access.output);
            }
            Self::Show(which) => {
                let version = which.find(&client).await?;
                let deployments = deployments_of(&client, &version).await?;
                card(&version, access.output)
                    .with("deployments", deployments)
                    .print(access.output);
            }
            Self::Versions { model } => {
                versions(&all_versions(&client, &model).await?, access.output).print(access.output)
            }
            Self::Alias(alias) => alias.run(&client, access.output).await?,
            Self::Download { which, to } => {
                let found = which.find(&client).await?;
                std::fs::create_dir_all(&to).map_err(|error| Trouble::file(&to, &error))?;
                for file in found.spec.unwrap_or_default().artifacts {
                    let name = std::path::Path::new(&file.name)
                        .file_name()
                        .unwrap_or("artifact".as_ref());
                    let path = to.join(name);
                    artifact::download(&client, &file, &path).await?;
                    remark(&format!("{} bytes in {}", file.bytes, path.display()));
                }
            }
        }
        Ok(())
    }
}

impl Alias {
    async fn run(self, client: &Client, output: Output) -> Result<(), Trouble> {
        match self {
            Self::Set {
                model,
                alias,
                version,
                remove: _,
                expected,
                reason,
            } => {
                let said = version.map_or_else(|| "nothing".to_owned(), |number| format!("version {number}"));
                remark(&format!("pointing `{alias}` of model `{model}` to {said}"));
                let version = version.unwrap_or(0);
                let request = v1::SetAliasRequest {
                    model,
                    alias,
                    version,
                    expected,
                    reason,
                };
                client.registry().set_alias(client.request(request)).await?;
            }
            Self::History { model, alias, at } => {
                let at_micros = at.map(Timestamp::micros);
                let request = client.request(v1::AliasHistoryRequest {
                    model,
                    alias,
                    at_micros,
                });
                let reply = client.registry().alias_history(request).await?.into_inner();
                let mut listing = Listing::new(&["at", "version", "previous", "by", "reason"]);
                for moved in reply.moves {
                    listing.row([
                        moment(moved.at_micros),
                        version(moved.version),
                        version(moved.previous),
                        moved.by.into(),
                        moved.reason.into(),
                    ]);
                }
                listing.print(output);
            }
        }
        Ok(())
    }
}

impl VersionChoice {
    async fn find(self, client: &Client) -> Result<v1::ModelVersion, Trouble> {
        let model = self.model.name;
        let which = match (self.model.version, self.alias) {
            (0, None) => {
                let newest = all_versions(client, &model)
                    .await?
                    .into_iter()
                    .max_by_key(|version| version.number);
                return newest.ok_or_else(|| {
                    Trouble::refused(
                        format!("model `{model}` has no version"),
                        "make one with `covey train`",
                    )
                });
            }
            (0, Some(alias)) => Which::Alias(alias),
            (number, None) => Which::Number(number),
            (_, Some(_)) => {
                return Err(Trouble::usage(
                    "both a version and an alias are given",
                    "leave one out",
                ));
            }
        };
        version_of(client, &model, which).await
    }
}

/// A version of a model.
pub(super) async fn version_of(
    client: &Client,
    model: &str,
    which: Which,
) -> Result<v1::ModelVersion, Trouble> {
    let request = v1::GetVersionRequest {
        model: model.to_owned(),
        which: Some(which),
    };
    Ok(client
        .registry()
        .get_version(client.request(request))
        .await?
        .into_inner())
}

/// The deployments of which a replica serves the version now.
async fn deployments_of(client: &Client, version: &v1::ModelVersion) -> Result<Vec<Json>, Trouble> {
    let request = client.request(v1::ListDeploymentsRequest::default());
    let reply = client.serving().list_deployments(request).await?.into_inner();
    let serve = |deployment: v1::Deployment| {
        let spec = deployment.spec.filter(|spec| spec.model == version.model)?;
        let mut replicas = deployment.replicas.iter();
        let serves = replicas.any(|replica| replica.version == version.number);
        serves.then(|| Json::from(spec.name))
    };
    Ok(reply.deployments.into_iter().filter_map(serve).collect())
}

async fn all_versions(client: &Client, model: &str) -> Result<Vec<v1::ModelVersion>, Trouble> {
    let request = client.request(v1::ListVersionsRequest {
        model: model.to_owned(),
    });
    Ok(client
        .registry()
        .list_versions(request)
        .await?
        .into_inner()
        .versions)
}

fn models(models: &[v1::Model]) -> Listing {
    let mut listing = Listing::new(&["model", "newest", "aliases", "created", "description"]);
    for model in models {
        let aliases: Map<String, Json> = model
            .aliases
            .iter()
            .map(|(alias, number)| (alias.clone(), (*number).into()))
            .collect();
        listing.row([
            model.name.clone().into(),
            version(model.newest_version),
            aliases.into(),
            moment(model.created_at_micros),
            model.description.clone().into(),
        ]);
    }
    listing
}

fn metrics(spec: &v1::VersionSpec, output: Output) -> Map<String, Json> {
    spec.metrics
        .iter()
        .map(|(name, value)| (name.clone(), measure(*value, output)))
        .collect()
}

fn versions(versions: &[v1::ModelVersion], output: Output) -> Listing {
    let mut listing = Listing::new(&["version", "algorithm", "dataset", "metrics", "created", "by"]);
    for version in versions {
        let spec = version.spec.clone().unwrap_or_default();
        listing.row([
            version.number.into(),
            spec.algorithm.clone().into(),
            dataset_text(&spec).into(),
            metrics(&spec, output).into(),
            moment(version.created_at_micros),
            version.created_by.clone().into(),
        ]);
    }
    listing
}

fn dataset_text(spec: &v1::VersionSpec) -> String {
    match &spec.lineage {
        Some(lineage) if !lineage.dataset.is_empty() => {
            format!("{}@{}", lineage.dataset, lineage.dataset_version)
        }
        _ => String::new(),
    }
}

fn card(version: &v1::ModelVersion, output: Output) -> Card {
    let spec = version.spec.clone().unwrap_or_default();
    let lineage = spec.lineage.clone().unwrap_or_default();
    let inputs: Vec<Json> = spec
        .signature
        .iter()
        .map(|field| field.name.clone().into())
        .collect();
    let files: Map<String, Json> = spec
        .artifacts
        .iter()
        .map(|file| (file.name.clone(), file.sha256.clone().into()))
        .collect();
    let views: Map<String, Json> = lineage
        .view_versions
        .iter()
        .map(|(view, number)| (view.clone(), (*number).into()))
        .collect();
    Card::default()
        .with("model", version.model.clone())
        .with("version", version.number)
        .with("algorithm", spec.algorithm.clone())
        .with("service", spec.service.clone())
        .with("inputs", inputs)
        .with("metrics", metrics(&spec, output))
        .with("dataset", dataset_text(&spec))
        .with("schema versions", views)
        .with("job", lineage.job)
        .with("files", files)
        .with("created", moment(version.created_at_micros))
        .with("by", version.created_by.clone())
}
