//! `covey apply`: declares what YAML files define. Everything is read and checked before anything is changed.

mod carry_out;
mod compare;

use std::path::PathBuf;

use super::client::Access;
use super::definition::{self, Object};
use super::output::{Listing, Output, remark};
use super::trouble::Trouble;

pub(crate) use carry_out::carry_out;

/// Options of `covey apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    covey apply -f examples/flights --dry-run\n  \
    covey apply -f examples/flights/entities.yaml -f examples/flights/views.yaml\n  \
    covey apply -f definitions\n\n\
    Kinds, in the order in which they are applied: Namespace, Entity, FeatureView, FeatureService, Dataset, Training,\n\
    Pipeline, Deployment, Monitor. Applying the same definitions again changes nothing.\n\
    A Training needs the rows of its Dataset, a Deployment the version it serves: apply them once those are there.")]
pub(crate) struct Apply {
    /// A YAML file, or a folder of them
    #[arg(short, long, value_name = "FILE_OR_DIR", required = true)]
    file: Vec<PathBuf>,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    /// Applies this file or folder.
    pub(super) fn of(file: PathBuf) -> Self {
        Self {
            file: vec![file],
            dry_run: false,
        }
    }

    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let mut objects: Vec<Object> = Vec::new();
        for path in &self.file {
            objects.extend(definition::load(path)?);
        }
        objects.sort_by_key(Object::kind);
        definition::refuse_repeated(&objects)?;
        if self.dry_run {
            return dry_run(&objects, access).await;
        }
        let client = access.connect().await?;
        let changes = compare::changes(&client, &objects).await?;
        let mut done = Listing::new(&["kind", "name", "change", "version"]);
        let outcome = carry_out(&client, &objects, |position, version| {
            let object = &objects[position];
            done.row([
                object.kind().name().into(),
                object.name().into(),
                changes[position].text().into(),
                super::output::version(version),
            ]);
        })
        .await;
        if outcome.is_ok() || access.output == Output::Table {
            done.print(access.output);
        }
        outcome
    }
}

/// Says what would change; without a cluster, what is defined.
async fn dry_run(objects: &[Object], access: &Access) -> Result<(), Trouble> {
    let changes = match access.connect().await {
        Ok(client) => compare::changes(&client, objects).await?,
        Err(trouble) if trouble.is_unavailable() => {
            remark("no cluster was reached, so the definitions were only checked by themselves");
            vec![compare::Change::Unknown; objects.len()]
        }
        Err(trouble) => return Err(trouble),
    };
    let mut listing = Listing::new(&["kind", "name", "change"]);
    for (object, change) in objects.iter().zip(changes) {
        listing.row([
            object.kind().name().into(),
            object.name().into(),
            change.text().into(),
        ]);
    }
    listing.print(access.output);
    Ok(())
}
