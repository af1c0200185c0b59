//! What must be true of a version before it is registered.

use std::collections::BTreeMap;

use covey_ml::feature::FeatureKind as MlKind;
use covey_ml::model::Model;
use covey_state::registry::{FeatureKind, SignatureField, VersionSpec};

use crate::context::Context;
use crate::error::Failure;
use crate::training;

/// Refuses a version whose files are missing, whose model does not load, or whose signature is not the model's own or
/// not what its feature service yields.
pub(super) async fn version(context: &Context, spec: &VersionSpec) -> Result<(), Failure> {
    let Some(model) = spec.artifacts.first() else {
        return Err(Failure::invalid(
            "artifacts",
            "a version needs at least its model file",
        ));
    };
    for artifact in &spec.artifacts {
        if !context.artifacts.is_complete(artifact).await {
            let reason = format!("not every chunk of `{}` has been uploaded", artifact.name);
            return Err(Failure::invalid("artifacts", reason));
        }
    }
    let bytes = context.artifacts.load(model).await?;
    let loaded = context.compute.run(move || Model::from_bytes(&bytes)).await;
    let loaded = loaded.map_err(|error| Failure::invalid("artifacts[0]", error.to_string()))?;
    signature(&spec.signature, &loaded)?;
    match &spec.service {
        None => Ok(()),
        Some(service) => fits(
            &spec.signature,
            &training::service_signature(&context.catalog.current(), service)?,
        ),
    }
}

/// The declared signature must be the model's own, field by field.
fn signature(declared: &[SignatureField], model: &Model) -> Result<(), Failure> {
    let actual = &model.artifact().features;
    if declared.len() != actual.len() {
        let reason = format!("has {} fields, the model reads {}", declared.len(), actual.len());
        return Err(Failure::invalid("signature", reason));
    }
    for (position, (field, feature)) in declared.iter().zip(actual).enumerate() {
        let kind = match feature.kind {
            MlKind::Numeric => FeatureKind::Numeric,
            MlKind::Categorical => FeatureKind::Categorical,
        };
        if field.name != feature.name || field.kind != kind {
            let reason = format!(
                "is `{}` ({:?}), the model reads `{}` ({kind:?})",
                field.name, field.kind, feature.name
            );
            return Err(Failure::invalid(format!("signature[{position}]"), reason));
        }
    }
    Ok(())
}

/// Every input of the model must be a feature of the service, of the same kind.
fn fits(signature: &[SignatureField], service: &BTreeMap<String, FeatureKind>) -> Result<(), Failure> {
    for (position, field) in signature.iter().enumerate() {
        let reason = match service.get(&field.name) {
            Some(kind) if *kind == field.kind => continue,
            Some(kind) => format!(
                "`{}` is {:?}, the feature service yields it as {kind:?}",
                field.name, field.kind
            ),
            None => format!("`{}` is not a feature of the feature service", field.name),
        };
        return Err(Failure::invalid(format!("signature[{position}]"), reason));
    }
    Ok(())
}
