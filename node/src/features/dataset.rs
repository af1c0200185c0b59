//! Training sets: the features of every example as they were at its time, built as of fixed log indexes.
//!
//! Invariant: the bytes of a training set depend on its specification, the log indexes and the schema versions in its
//! manifest, and on nothing else: not on the node, the number of threads, or what was written since.

mod encode;
mod examples;
mod file_spine;
mod layout;
mod view_spine;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use covey_cluster::Consistency;
use covey_state::answer::Answer;
use covey_state::dataset::{DatasetManifest, DatasetSpec, Spine};
use covey_state::{Command, Digest, GroupId, Key, Record, Rejection, Timestamp};
use futures::future::try_join_all;
use tokio::time::Instant;

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::features::group::{self, Bounds, Query, Reply};
use crate::features::lookup::{self, Moments, Vectors};
use crate::features::rows::TableRows;
use crate::features::schema;
use crate::features::service_plan::{self, Schemas, ServicePlan};
use layout::Layout;

pub(crate) use layout::partition_sizes;

/// How long one step of a build may take, whatever the caller's deadline.
const STEP_DEADLINE: Duration = Duration::from_secs(120);

/// The log index of each data group, fixed.
type LogIndexes = BTreeMap<GroupId, u64>;

/// What a build is made from besides its specification.
struct Fixed {
    plan: Arc<ServicePlan>,
    /// The schemas of all views that are read, the spine's among them.
    schemas: Schemas,
    log_indexes: LogIndexes,
}

/// The bytes of a training set and what the manifest says about them.
struct Built {
    bytes: Bytes,
    rows: u64,
    columns: Vec<String>,
    partitions: Vec<u64>,
}

/// Builds a new version of a training set. `progress` is told the rows done and the rows in all.
pub(crate) async fn build(
    ctx: &Context,
    caller: &Caller,
    spec: DatasetSpec,
    progress: impl Fn(u64, u64) + Send + Sync,
) -> Result<DatasetManifest, Failure> {
    let caller = &unhurried(caller);
    let fixed = fix(ctx, caller, &spec).await?;
    let built = assemble(ctx, caller, &spec, &fixed, &progress).await?;
    let content = Digest::of(&built.bytes);
    let name = spec.name.clone();
    let artifact = ctx
        .artifacts
        .store(&format!("{name}.parquet"), built.bytes)
        .await?;
    let manifest = DatasetManifest {
        spec,
        version: 0,
        log_indexes: fixed.log_indexes,
        view_versions: fixed
            .schemas
            .iter()
            .map(|(name, view)| (name.clone(), view.schema_version))
            .collect(),
        artifact,
        rows: built.rows,
        columns: built.columns,
        partitions: built.partitions,
        content,
        created_at: Timestamp::default(),
    };
    let caller = &unhurried(caller);
    let group = ctx.ledger.group_of_name(&name);
    let answered = ctx
        .ledger
        .ask_unique(caller, group, Command::PutDataset(manifest))
        .await?;
    match answered.answer {
        Answer::Number(version) => self::manifest(ctx, caller, &name, Some(version)).await,
        other => Err(Failure::internal(
            "registering a dataset",
            format!("{other:?} is no version"),
        )),
    }
}

/// Builds a version again from its manifest; the digest of the bytes.
pub(crate) async fn rebuild(ctx: &Context, caller: &Caller, of: &DatasetManifest) -> Result<Digest, Failure> {
    let caller = &unhurried(caller);
    let mut schemas = Schemas::new();
    for (name, version) in &of.view_versions {
        let known = ctx.catalog.current().views.get(name).cloned();
        let known = known.ok_or_else(|| Failure::not_found("view", name))?;
        schemas.insert(
            name.clone(),
            schema::version(ctx, caller, &known, *version).await?,
        );
    }
    let service = service_plan::declared(ctx, &of.spec.service)?;
    let plan = Arc::new(ServicePlan::resolve(&service, &schemas).map_err(|_| changed(of))?);
    let fixed = Fixed {
        plan,
        schemas,
        log_indexes: of.log_indexes.clone(),
    };
    let built = assemble(ctx, caller, &of.spec, &fixed, &|_, _| {}).await?;
    if built.columns != of.columns {
        return Err(changed(of));
    }
    Ok(Digest::of(&built.bytes))
}

/// A version of a training set, the newest without a number.
pub(crate) async fn manifest(
    ctx: &Context,
    caller: &Caller,
    name: &str,
    version: Option<u64>,
) -> Result<DatasetManifest, Failure> {
    let Some(version) = version else {
        let newest = list(ctx, caller, name).await?.pop();
        return newest.ok_or_else(|| Failure::not_found("dataset", name));
    };
    let (group, key) = (
        ctx.ledger.group_of_name(name),
        Key::Dataset(name.to_owned(), version),
    );
    match ctx
        .ledger
        .get(caller, group, key, Consistency::Linearizable)
        .await?
    {
        Some(Record::Dataset(manifest)) => Ok(manifest),
        _ => Err(Failure::not_found("dataset", format!("{name} version {version}"))),
    }
}

/// All versions of a training set, oldest first; of all training sets if the name is empty.
pub(crate) async fn list(
    ctx: &Context,
    caller: &Caller,
    name: &str,
) -> Result<Vec<DatasetManifest>, Failure> {
    let from = Key::Dataset(name.to_owned(), 0);
    let found = ctx.ledger.list(caller, from).await?;
    let manifest = |record| match record {
        Record::Dataset(manifest) => Some(manifest),
        _ => None,
    };
    Ok(found
        .into_iter()
        .filter_map(|(_, record)| manifest(record))
        .collect())
}

fn changed(of: &DatasetManifest) -> Failure {
    Failure::Rejected(Rejection::WrongState {
        kind: "feature service".to_owned(),
        name: of.spec.service.clone(),
        state: format!(
            "another one than when dataset `{}` version {} was built",
            of.spec.name, of.version
        ),
        hint: "declare it as it was to verify this version".to_owned(),
    })
}

/// The caller with enough time for one more step.
fn unhurried(caller: &Caller) -> Caller {
    Caller::new(
        caller.request_id,
        caller.by.clone(),
        caller.deadline.max(Instant::now() + STEP_DEADLINE),
    )
}

/// Fixes schemas first and log indexes then, so that the indexes cover every row of these schemas.
async fn fix(ctx: &Context, caller: &Caller, spec: &DatasetSpec) -> Result<Fixed, Failure> {
    let plan = service_plan::current(ctx, caller, &spec.service).await?;
    let views = plan
        .views
        .iter()
        .map(|plan| (plan.view.definition.name.clone(), Arc::clone(&plan.view)));
    let mut schemas: Schemas = views.collect();
    if let Spine::View { view, .. } = &spec.spine
        && !schemas.contains_key(view)
    {
        schemas.insert(view.clone(), schema::usable(ctx, caller, view).await?);
    }
    let groups: BTreeSet<GroupId> = schemas.values().flat_map(|view| view.span.iter()).collect();
    let points = try_join_all(groups.into_iter().map(async |group| {
        let bounds = Bounds::fresh(Consistency::Linearizable);
        let (_, point) = group::ask(ctx, caller, group, bounds, Query::Point).await?;
        Ok::<_, Failure>((group, point.index))
    }));
    Ok(Fixed {
        plan,
        schemas,
        log_indexes: points.await?.into_iter().collect(),
    })
}

/// Everything between the fixed point and the bytes.
async fn assemble(
    ctx: &Context,
    caller: &Caller,
    spec: &DatasetSpec,
    fixed: &Fixed,
    progress: &(impl Fn(u64, u64) + Sync),
) -> Result<Built, Failure> {
    let examples = match &spec.spine {
        Spine::View { .. } => view_spine::read(ctx, caller, spec, fixed).await?,
        Spine::File { .. } => file_spine::read(ctx, spec, &fixed.plan).await?,
    };
    let total = examples.len();
    if total == 0 {
        return Err(Failure::invalid(
            "spine",
            "it yields no example: check the view, the times and the label",
        ));
    }
    let layout = Layout::new(&fixed.plan, &examples)?;
    let partitions = partition_sizes(total as u64);
    let (examples, moments) = (examples.table, Moments::Each(examples.at));
    let mut batches = Vec::with_capacity(partitions.len());
    let mut start = 0;
    for size in &partitions {
        let end = start + usize::try_from(*size).unwrap_or(usize::MAX);
        let step = &unhurried(caller);
        let vectors = join(ctx, step, fixed, (&examples, &moments), start..end).await?;
        batches.push(layout.batch(&examples, &moments, start..end, vectors)?);
        progress(end as u64, total as u64);
        start = end;
    }
    let bytes = ctx.compute.run(move || encode::parquet(&batches)).await?;
    Ok(Built {
        bytes,
        rows: total as u64,
        columns: layout.names(),
        partitions,
    })
}

/// The vectors of some examples: the same steps as of an online read, with the log cut off at the fixed indexes.
async fn join(
    ctx: &Context,
    caller: &Caller,
    fixed: &Fixed,
    (examples, moments): (&TableRows, &Moments),
    range: Range<usize>,
) -> Result<Vectors, Failure> {
    let mut vectors = Vectors::new(&fixed.plan, examples, range.clone())?;
    let reads = lookup::cut(&fixed.plan, examples, range, moments)?;
    let answers = try_join_all(reads.into_iter().map(async |reads| {
        let through = fixed.log_indexes.get(&reads.group).copied().unwrap_or(0);
        let bounds = Bounds::through(through);
        let (reply, _) = group::ask(ctx, caller, reads.group, bounds, Query::Vectors(reads.reads)).await?;
        Ok::<_, Failure>((reads.places, reply))
    }))
    .await?;
    for (places, reply) in answers {
        let Reply::Vectors(values) = reply else {
            return Err(Failure::internal(
                "building a dataset",
                "a group answered another question",
            ));
        };
        vectors.place(places, values);
    }
    Ok(vectors)
}
