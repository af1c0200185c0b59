//! `covey dataset`: point-in-time training sets.

use std::path::PathBuf;

use covey_proto::v1;
use covey_proto::v1::spine::{FileSpine, Kind, ViewSpine};
use covey_state::Timestamp;
use serde_json::{Map, Value as Json};

use super::client::{Access, Client};
use super::output::{Card, Listing, Output, moment, remark};
use super::trouble::Trouble;
use super::{artifact, cell, progress};

/// Verbs of `covey dataset`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Dataset {
    /// Build a new version
    #[command(after_help = "Examples:\n  \
        covey dataset build flight_delay --service flight_delay --label late \\\n      \
        --spine-view flight_outcomes --timestamp scheduled_departure --from 2013-01-01 --until 2013-04-01\n  \
        covey dataset build flight_delay --service flight_delay --label late \\\n      \
        --spine-file examples.parquet --timestamp at\n\n\
        Each row of the spine gets its features as they were known at its timestamp.")]
    Build(Build),
    /// List versions
    #[command(after_help = "Examples:\n  covey dataset list\n  covey dataset list flight_delay")]
    List {
        /// Only of this dataset
        name: Option<String>,
    },
    /// Show a version: what it was built from, as of which log positions
    #[command(
        after_help = "Examples:\n  covey dataset show flight_delay\n  covey dataset show flight_delay@3"
    )]
    Show {
        /// NAME or NAME@VERSION; without a version the newest
        dataset: Named,
    },
    /// Fetch a version as a Parquet file
    #[command(after_help = "Examples:\n  covey dataset download flight_delay@3 --to flight_delay.parquet")]
    Download {
        /// NAME or NAME@VERSION; without a version the newest
        dataset: Named,
        /// The file to write [default: NAME-VERSION.parquet]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Build a version again from its manifest and compare the bytes
    #[command(after_help = "Examples:\n  covey dataset verify flight_delay@3")]
    Verify {
        /// NAME or NAME@VERSION; without a version the newest
        dataset: Named,
    },
}

/// A thing with versions: `NAME` or `NAME@VERSION`; 0 means the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) version: u64,
}

impl std::str::FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            None => (text, 0),
            Some((name, digits)) => {
                let number = digits.parse().ok().filter(|number| *number > 0);
                (
                    name,
                    number.ok_or_else(|| format!("`{digits}` of `{text}` is not a version"))?,
                )
            }
        };
        if name.is_empty() {
            Err(format!("`{text}` has no name"))
        } else {
            Ok(Self {
                name: name.to_owned(),
                version,
            })
        }
    }
}

/// Options of `covey dataset build`.
#[derive(Debug, clap::Args)]
pub(super) struct Build {
    /// The dataset
    name: String,
    /// The feature service whose features are joined
    #[arg(long)]
    service: String,
    /// The view whose rows are the examples; needs --from and --until
    #[arg(long, value_name = "VIEW", required_unless_present = "spine_file", requires_all = ["from", "until"])]
    spine_view: Option<String>,
    /// A Parquet file whose rows are the examples; needs --timestamp
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "spine_view",
        requires = "timestamp"
    )]
    spine_file: Option<PathBuf>,
    /// The column whose moment features are read as of [default, for a view: the event time]
    #[arg(long, value_name = "COLUMN")]
    timestamp: Option<String>,
    /// Examples before this are left out
    #[arg(long, value_name = "TIME", value_parser = cell::moment_option, requires = "spine_view")]
    from: Option<Timestamp>,
    /// Examples at or after this are left out
    #[arg(long, value_name = "TIME", value_parser = cell::moment_option, requires = "spine_view")]
    until: Option<Timestamp>,
    /// The label's column
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
}

impl Dataset {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        match self {
            Self::Build(options) => {
                let spec = options.spec(&client).await?;
                card(&build(&client, spec).await?).print(access.output);
            }
            Self::List { name } => {
                let name = name.unwrap_or_default();
                listing(&versions(&client, &name).await?).print(access.output);
            }
            Self::Show { dataset } => card(&find(&client, &dataset).await?).print(access.output),
            Self::Download { dataset, to } => {
                let manifest = find(&client, &dataset).await?;
                let to =
                    to.unwrap_or_else(|| format!("{}-{}.parquet", dataset.name, manifest.version).into());
                let file = manifest.artifact.unwrap_or_default();
                artifact::download(&client, &file, &to).await?;
                remark(&format!("{} bytes in {}", file.bytes, to.display()));
            }
            Self::Verify { dataset } => return verify(&client, dataset, access.output).await,
        }
        Ok(())
    }
}

impl Build {
    async fn spec(self, client: &Client) -> Result<v1::DatasetSpec, Trouble> {
        let timestamp = self.timestamp.unwrap_or_default();
        let kind = match (self.spine_view, self.spine_file) {
            (Some(view), _) => Kind::View(ViewSpine {
                view,
                timestamp,
                from_micros: self.from.map_or(i64::MIN, Timestamp::micros),
                until_micros: self.until.map_or(i64::MAX, Timestamp::micros),
            }),
            (None, Some(file)) => Kind::File(FileSpine {
                artifact: Some(artifact::upload(client, &file).await?),
                timestamp,
            }),
            (None, None) => {
                return Err(Trouble::usage(
                    "no spine is given",
                    "add --spine-view or --spine-file",
                ));
            }
        };
        let spine = Some(v1::Spine { kind: Some(kind) });
        Ok(v1::DatasetSpec {
            name: self.name,
            service: self.service,
            spine,
            label: self.label.unwrap_or_default(),
        })
    }
}

/// Builds a version and shows how far it is.
pub(super) async fn build(client: &Client, spec: v1::DatasetSpec) -> Result<v1::DatasetManifest, Trouble> {
    let bar = progress::bar(0, &format!("building dataset {}", spec.name));
    let request = client.long_request(v1::BuildDatasetRequest { spec: Some(spec) });
    let mut messages = client.features().build_dataset(request).await?.into_inner();
    let mut manifest = None;
    while let Some(message) = messages.message().await? {
        bar.set_length(message.rows_total);
        bar.set_position(message.rows_done);
        manifest = message.manifest.or(manifest);
    }
    bar.finish_and_clear();
    manifest.ok_or_else(|| Trouble::unavailable("the build ended without a manifest", "build it again"))
}

/// The versions of a dataset, or of all.
pub(super) async fn versions(client: &Client, name: &str) -> Result<Vec<v1::DatasetManifest>, Trouble> {
    let request = client.request(v1::ListDatasetsRequest {
        name: name.to_owned(),
    });
    Ok(client
        .features()
        .list_datasets(request)
        .await?
        .into_inner()
        .datasets)
}

async fn find(client: &Client, wanted: &Named) -> Result<v1::DatasetManifest, Trouble> {
    let versions = versions(client, &wanted.name).await?.into_iter();
    let of_it = versions
        .filter(|manifest| {
            manifest
                .spec
                .as_ref()
                .is_some_and(|spec| spec.name == wanted.name)
        })
        .filter(|manifest| wanted.version == 0 || manifest.version == wanted.version);
    of_it.max_by_key(|manifest| manifest.version).ok_or_else(|| {
        let what = match wanted.version {
            0 => format!("dataset `{}` does not exist", wanted.name),
            version => format!("dataset `{}` has no version {version}", wanted.name),
        };
        Trouble::refused(what, "see `covey dataset list`")
    })
}

async fn verify(client: &Client, dataset: Named, output: Output) -> Result<(), Trouble> {
    let waiting = progress::spinner("building it again");
    let request = v1::VerifyDatasetRequest {
        name: dataset.name,
        version: dataset.version,
    };
    let reply = client
        .features()
        .verify_dataset(client.long_request(request))
        .await?
        .into_inner();
    waiting.finish_and_clear();
    Card::default()
        .with("identical", reply.identical)
        .with("recorded sha256", reply.recorded_sha256)
        .with("rebuilt sha256", reply.rebuilt_sha256)
        .print(output);
    if reply.identical {
        return Ok(());
    }
    Err(Trouble::refused(
        "the bytes differ",
        "history that it read may have expired; compare both files by `download`",
    ))
}

fn listing(manifests: &[v1::DatasetManifest]) -> Listing {
    let mut listing = Listing::new(&[
        "dataset", "version", "rows", "columns", "service", "label", "built", "sha256",
    ]);
    for manifest in manifests {
        let spec = manifest.spec.clone().unwrap_or_default();
        listing.row([
            spec.name.into(),
            manifest.version.into(),
            manifest.rows.into(),
            manifest.columns.len().into(),
            spec.service.into(),
            spec.label.into(),
            moment(manifest.created_at_micros),
            manifest.content_sha256.get(..12).unwrap_or_default().into(),
        ]);
    }
    listing
}

fn card(manifest: &v1::DatasetManifest) -> Card {
    let spec = manifest.spec.clone().unwrap_or_default();
    let spine = match spec.spine.and_then(|spine| spine.kind) {
        Some(Kind::View(view)) => {
            let (from, until) = (moment(view.from_micros), moment(view.until_micros));
            let text = |at: &Json| at.as_str().unwrap_or("-").to_owned();
            format!("view {}, {} to {}", view.view, text(&from), text(&until))
        }
        Some(Kind::File(file)) => format!(
            "file {}",
            file.artifact.map(|artifact| artifact.name).unwrap_or_default()
        ),
        None => String::new(),
    };
    let positions: Map<String, Json> = manifest
        .log_indexes
        .iter()
        .map(|position| (format!("g{}", position.group), position.index.into()))
        .collect();
    let versions: Map<String, Json> = manifest
        .view_versions
        .iter()
        .map(|(view, version)| (view.clone(), (*version).into()))
        .collect();
    Card::default()
        .with("dataset", spec.name)
        .with("version", manifest.version)
        .with("service", spec.service)
        .with("spine", spine)
        .with("label", spec.label)
        .with("rows", manifest.rows)
        .with("partitions", manifest.partitions.len())
        .with("columns", manifest.columns.clone())
        .with("log positions", positions)
        .with("schema versions", versions)
        .with("bytes", manifest.artifact.as_ref().map_or(0, |file| file.bytes))
        .with("sha256", manifest.content_sha256.clone())
        .with("built", moment(manifest.created_at_micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_carry_a_version() {
        assert_eq!(
            "d@3".parse(),
            Ok(Named {
                name: "d".to_owned(),
                version: 3
            })
        );
        assert_eq!(
            "d".parse(),
            Ok(Named {
                name: "d".to_owned(),
                version: 0
            })
        );
        for wrong in ["d@", "d@x", "d@0", "@3", ""] {
            assert!(wrong.parse::<Named>().is_err(), "{wrong}");
        }
    }
}
