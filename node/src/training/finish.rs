//! From a trained model to a registered version: artifacts stored, profile sealed, version registered, alias moved.
//!
//! Invariant: doing it again, on any node, gives the same version: the request ids follow from the job's id alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use covey_ml::feature::FeatureKind as MlKind;
use covey_ml::training::Trained;
use covey_state::dataset::DatasetManifest;
use covey_state::job::Job;
use covey_state::registry::{FeatureKind, Lineage, ModelVersion, SignatureField, VersionSpec};
use covey_state::{Digest, RequestId};

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::registry::{self, AliasChange};

/// The file name of the model among a version's artifacts.
pub(crate) const MODEL_FILE: &str = "model.json";
/// The file name of the sealed reference profile.
pub(crate) const PROFILE_FILE: &str = "profile.json";

/// Registers what a job has made and gives the version and its metrics.
pub(super) async fn register(
    context: &Context,
    caller: &Caller,
    (job, dataset): (&Job, &DatasetManifest),
    trained: &Trained,
) -> Result<(ModelVersion, BTreeMap<String, f64>), Failure> {
    let failed = |error: covey_ml::Error| Failure::internal("writing the model", error);
    let model = Bytes::from(trained.artifact.to_bytes().map_err(failed)?);
    let profile = serde_json::to_vec(&trained.profile)
        .map_err(|error| Failure::internal("writing the profile", error))?;
    let model = context.artifacts.store(MODEL_FILE, model).await?;
    let profile = context
        .artifacts
        .store(PROFILE_FILE, Bytes::from(profile))
        .await?;
    let metrics = trained.artifact.metrics.clone();
    let spec = VersionSpec {
        algorithm: job.spec.algorithm.clone(),
        signature: signature(trained),
        service: Some(dataset.spec.service.clone()),
        lineage: Lineage {
            job: Some(job.id.clone()),
            dataset: Some((dataset.spec.name.clone(), dataset.version)),
            view_versions: dataset.view_versions.clone(),
        },
        metrics: metrics.clone(),
        profile: Some(profile.digest),
        artifacts: vec![model, profile],
    };
    let version =
        registry::create_version(context, caller, request_id(job, 0), (&job.spec.model, spec)).await?;
    if let Some(alias) = &job.spec.alias {
        let reason = format!("trained by job {}", job.id);
        let (model, alias) = (job.spec.model.clone(), alias.clone());
        let change = AliasChange {
            model,
            alias,
            version: Some(version.number),
            expected: None,
            reason,
        };
        registry::set_alias_as(context, caller, request_id(job, 1), change).await?;
    }
    Ok((version, metrics))
}

fn signature(trained: &Trained) -> Vec<SignatureField> {
    let field = |feature: &covey_ml::feature::FeatureSpec| SignatureField {
        name: feature.name.clone(),
        kind: match feature.kind {
            MlKind::Numeric => FeatureKind::Numeric,
            MlKind::Categorical => FeatureKind::Categorical,
        },
    };
    trained.artifact.features.iter().map(field).collect()
}

/// The id of the job's `part`-th request to the registry, the same on every node and every time.
fn request_id(job: &Job, part: u32) -> RequestId {
    let digest = Digest::of(format!("job {}", job.id).as_bytes());
    let mut number = [0; 16];
    number.copy_from_slice(&digest.as_bytes()[..16]);
    RequestId::Unique(u128::from_be_bytes(number), part)
}
