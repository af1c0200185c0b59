//! What applying definitions would change, by comparing them with what the cluster holds.

use std::collections::BTreeMap;

use covey_proto::v1;

use crate::cli::client::Client;
use crate::cli::definition::{Kind, Object};
use crate::cli::trouble::Trouble;
use crate::cli::{dataset, deploy, feature, namespace};

/// What applying an object comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is not there yet.
    Create,
    /// It is there and different.
    Update,
    /// It is there as defined.
    Keep,
    /// The cluster was not asked.
    Unknown,
}

impl Change {
    /// In one word.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Keep => "unchanged",
            Self::Unknown => "not compared",
        }
    }

    fn of(wanted: &Object, there: Option<&Object>) -> Self {
        match (wanted.kind(), there) {
            (_, None) => Self::Create,
            // A submitted job stays as it is.
            (Kind::Training, Some(_)) => Self::Keep,
            (_, Some(there)) if there == wanted => Self::Keep,
            (_, Some(Object::Namespace(there))) if is_same(wanted, there) => Self::Keep,
            (_, Some(_)) => Self::Update,
        }
    }
}

/// Whether a namespace is there as it is defined; a definition need not say how many groups it has.
fn is_same(wanted: &Object, there: &v1::PutNamespaceRequest) -> bool {
    let Object::Namespace(wanted) = wanted else {
        return false;
    };
    let groups = if wanted.groups == 0 {
        there.groups
    } else {
        wanted.groups
    };
    v1::PutNamespaceRequest {
        groups,
        ..wanted.clone()
    } == *there
}

/// One change per object, in their order.
pub(super) async fn changes(client: &Client, objects: &[Object]) -> Result<Vec<Change>, Trouble> {
    let there = everything(client, objects).await?;
    let key = |object: &Object| (object.kind(), object.name().to_owned());
    // A dataset is there once for each version; one that was built as it is wanted is enough.
    let is_there = |object: &Object| there.iter().find(|known| *known == object);
    let named: BTreeMap<_, _> = there.iter().map(|known| (key(known), known)).collect();
    let known = |object: &Object| is_there(object).or_else(|| named.get(&key(object)).copied());
    Ok(objects
        .iter()
        .map(|object| Change::of(object, known(object)))
        .collect())
}

/// What the cluster holds of the kinds that are asked about.
async fn everything(client: &Client, objects: &[Object]) -> Result<Vec<Object>, Trouble> {
    let asked = |kind: Kind| objects.iter().any(|object| object.kind() == kind);
    let mut there = Vec::new();
    if asked(Kind::Namespace) {
        let known = namespace::list(client).await?.into_iter();
        there.extend(known.map(|known| {
            let survive = known.survive;
            let (name, home, groups) = (known.name, known.home, known.groups);
            Object::Namespace(v1::PutNamespaceRequest {
                name,
                home,
                survive,
                groups,
            })
        }));
    }
    if asked(Kind::Entity) || asked(Kind::FeatureView) || asked(Kind::FeatureService) {
        let catalog = feature::catalog(client).await?;
        there.extend(catalog.entities.into_iter().map(Object::Entity));
        let views = catalog.views.into_iter().filter_map(|view| view.definition);
        there.extend(views.map(Object::FeatureView));
        there.extend(catalog.services.into_iter().map(Object::FeatureService));
    }
    if asked(Kind::Dataset) {
        let manifests = dataset::versions(client, "").await?;
        there.extend(
            manifests
                .into_iter()
                .filter_map(|manifest| manifest.spec)
                .map(Object::Dataset),
        );
    }
    if asked(Kind::Training) {
        let jobs = client
            .training()
            .list_jobs(client.request(v1::ListJobsRequest {}))
            .await?
            .into_inner()
            .jobs;
        there.extend(
            jobs.into_iter()
                .map(|job| Object::Training(job.id, job.spec.unwrap_or_default())),
        );
    }
    if asked(Kind::Pipeline) {
        let request = client.request(v1::ListPipelinesRequest {});
        let reply = client.monitoring().list_pipelines(request).await?.into_inner();
        there.extend(reply.pipelines.into_iter().map(Object::Pipeline));
    }
    if asked(Kind::Deployment) {
        let deployments = deploy::deployments(client, "").await?;
        there.extend(
            deployments
                .into_iter()
                .filter_map(|each| each.spec)
                .map(Object::Deployment),
        );
    }
    if asked(Kind::Monitor) {
        let request = client.request(v1::ListMonitorsRequest {});
        let reply = client.monitoring().list_monitors(request).await?.into_inner();
        there.extend(reply.monitors.into_iter().map(Object::Monitor));
    }
    Ok(there)
}
