//! A model version made ready on this node: loaded once, shared by all replicas of its deployment here.

use covey_ml::model::Model;
use covey_ml::profile::ReferenceProfile;
use covey_state::registry::{ModelVersion, VersionId};

use crate::context::Context;
use crate::error::Failure;

/// A version that can score.
#[derive(Debug)]
pub(super) struct Loaded {
    /// Which one it is.
    pub(super) id: VersionId,
    /// What the registry says about it.
    pub(super) version: ModelVersion,
    /// The model itself.
    pub(super) model: Model,
    /// Its sealed profile; without one its rows are not counted.
    pub(super) profile: Option<ReferenceProfile>,
}

/// Loads a version from this node or from any other one that has its files.
pub(super) async fn load(context: &Context, version: ModelVersion) -> Result<Loaded, Failure> {
    let artifact = version
        .spec
        .artifacts
        .first()
        .ok_or_else(|| Failure::not_found("artifact", "model"))?;
    let model = context.artifacts.load(artifact).await?;
    let profile = load_profile(context, &version).await?;
    let model = context.compute.run(move || Model::from_bytes(&model)).await;
    let model = model.map_err(|error| Failure::invalid("model", error.to_string()))?;
    let id = VersionId {
        model: version.model.clone(),
        number: version.number,
    };
    Ok(Loaded {
        id,
        version,
        model,
        profile,
    })
}

/// The sealed profile of a version, if it has one.
pub(crate) async fn load_profile(
    context: &Context,
    version: &ModelVersion,
) -> Result<Option<ReferenceProfile>, Failure> {
    let Some(digest) = version.spec.profile else {
        return Ok(None);
    };
    let artifact = version
        .spec
        .artifacts
        .iter()
        .find(|artifact| artifact.digest == digest);
    let artifact = artifact.ok_or_else(|| Failure::not_found("artifact", "profile"))?;
    let bytes = context.artifacts.load(artifact).await?;
    let profile = serde_json::from_slice(&bytes);
    profile
        .map(Some)
        .map_err(|error| Failure::invalid("profile", error.to_string()))
}
