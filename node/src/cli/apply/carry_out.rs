//! Applying definitions, each after those it may refer to.

use covey_proto::v1;

use crate::cli::client::Client;
use crate::cli::definition::Object;
use crate::cli::trouble::Trouble;
use crate::cli::waiting::{Look, wait_for};
use crate::cli::{dataset, feature, job, namespace};

/// Applies the objects, which are sorted by kind, and tells after each one its position and its version.
pub(crate) async fn carry_out(
    client: &Client,
    objects: &[Object],
    mut done: impl FnMut(usize, u64),
) -> Result<(), Trouble> {
    declare_namespaces(client, objects, &mut done).await?;
    declare_catalog(client, objects, &mut done).await?;
    for (position, object) in objects.iter().enumerate() {
        if let Some(version) = apply(client, object)
            .await
            .map_err(|trouble| trouble.during(&format!("{} `{}`", object.kind().name(), object.name())))?
        {
            done(position, version);
        }
    }
    Ok(())
}

/// Declares namespaces, which entities may name, and waits until their groups are made.
async fn declare_namespaces(
    client: &Client,
    objects: &[Object],
    done: &mut impl FnMut(usize, u64),
) -> Result<(), Trouble> {
    for (position, object) in objects.iter().enumerate() {
        if let Object::Namespace(wanted) = object {
            let doing = |trouble: Trouble| trouble.during(&format!("Namespace `{}`", wanted.name));
            let put = client
                .cluster()
                .put_namespace(client.request(wanted.clone()))
                .await;
            put.map_err(|status| doing(status.into()))?;
            namespace::wait_made(client, &wanted.name, client.timeout())
                .await
                .map_err(doing)?;
            done(position, 0);
        }
    }
    Ok(())
}

/// Declares entities, views and services together, and waits until the views may be used.
async fn declare_catalog(
    client: &Client,
    objects: &[Object],
    done: &mut impl FnMut(usize, u64),
) -> Result<(), Trouble> {
    let mut request = v1::ApplyCatalogRequest::default();
    let mut positions = Vec::new();
    for (position, object) in objects.iter().enumerate() {
        match object {
            Object::Entity(entity) => request.entities.push(entity.clone()),
            Object::FeatureView(view) => request.views.push(view.clone()),
            Object::FeatureService(service) => request.services.push(service.clone()),
            Object::Namespace(_)
            | Object::Dataset(_)
            | Object::Training(..)
            | Object::Pipeline(_)
            | Object::Deployment(_)
            | Object::Monitor(_) => continue,
        }
        positions.push(position);
    }
    if positions.is_empty() {
        return Ok(());
    }
    let views: Vec<String> = request.views.iter().map(|view| view.name.clone()).collect();
    let reply = client
        .features()
        .apply_catalog(client.request(request))
        .await?
        .into_inner();
    for (position, applied) in positions.into_iter().zip(reply.applied) {
        done(position, applied.version);
    }
    wait_active(client, &views).await
}

/// Waits until every data group knows the views.
async fn wait_active(client: &Client, views: &[String]) -> Result<(), Trouble> {
    wait_for(
        "waiting for every group to know the views",
        client.timeout(),
        async || {
            let catalog = feature::catalog(client).await?;
            let active = |name: &&String| {
                let named = |view: &&v1::InstalledView| {
                    view.definition.as_ref().is_some_and(|known| known.name == **name)
                };
                catalog.views.iter().find(named).is_some_and(|view| view.active)
            };
            let left = views.iter().filter(|name| !active(name)).count();
            Ok(if left == 0 {
                Look::Reached(())
            } else {
                Look::NotYet(format!("{left} views are being installed"))
            })
        },
    )
    .await
}

/// Applies one object and answers with its version; `None` for what the catalog request has declared already.
async fn apply(client: &Client, object: &Object) -> Result<Option<u64>, Trouble> {
    match object {
        Object::Namespace(_) | Object::Entity(_) | Object::FeatureView(_) | Object::FeatureService(_) => {
            Ok(None)
        }
        Object::Dataset(spec) => apply_dataset(client, spec).await.map(Some),
        Object::Training(id, spec) => apply_training(client, id, spec).await.map(Some),
        Object::Pipeline(pipeline) => {
            let request = v1::ApplyPipelineRequest {
                pipeline: Some(pipeline.clone()),
            };
            client
                .monitoring()
                .apply_pipeline(client.request(request))
                .await?;
            Ok(Some(0))
        }
        Object::Deployment(spec) => {
            let request = v1::ApplyDeploymentRequest {
                spec: Some(spec.clone()),
            };
            let reply = client
                .serving()
                .apply_deployment(client.request(request))
                .await?
                .into_inner();
            Ok(Some(reply.revision))
        }
        Object::Monitor(monitor) => {
            let request = v1::ApplyMonitorRequest {
                monitor: Some(monitor.clone()),
            };
            client.monitoring().apply_monitor(client.request(request)).await?;
            Ok(Some(0))
        }
    }
}

/// Builds a dataset unless a version of it was built from the same specification.
async fn apply_dataset(client: &Client, spec: &v1::DatasetSpec) -> Result<u64, Trouble> {
    let built = dataset::versions(client, &spec.name).await?;
    let same = built
        .iter()
        .filter(|manifest| manifest.spec.as_ref() == Some(spec));
    if let Some(known) = same.map(|manifest| manifest.version).max() {
        return Ok(known);
    }
    Ok(dataset::build(client, spec.clone()).await?.version)
}

/// Submits a job, which for a known id changes nothing, and waits for its end.
async fn apply_training(client: &Client, id: &str, spec: &v1::JobSpec) -> Result<u64, Trouble> {
    let request = v1::SubmitJobRequest {
        id: id.to_owned(),
        spec: Some(spec.clone()),
    };
    client.training().submit_job(client.request(request)).await?;
    let ended = job::wait_ended(client, id).await?;
    match ended.state() {
        v1::JobState::Succeeded => Ok(ended.version),
        _ => Err(Trouble::refused(
            format!("the job did not succeed: {}", ended.reason),
            "see `covey job show`",
        )),
    }
}
