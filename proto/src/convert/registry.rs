//! Models, their immutable versions, aliases and artifacts.

use covey_state::Timestamp;
use covey_state::registry::{
    AliasMove, Artifact, FeatureKind, Lineage, Model, ModelVersion, SignatureField, VersionSpec,
};

use super::{InvalidField, all, digest, each, non_empty, required};
use crate::v1;

impl TryFrom<v1::Artifact> for Artifact {
    type Error = InvalidField;

    fn try_from(artifact: v1::Artifact) -> Result<Self, InvalidField> {
        let chunks = artifact.chunks.iter().enumerate();
        let chunks = chunks.map(|(position, chunk)| digest(chunk, &format!("chunks[{position}]")));
        Ok(Self {
            chunks: chunks.collect::<Result<_, _>>()?,
            digest: digest(&artifact.sha256, "sha256")?,
            name: artifact.name,
            bytes: artifact.bytes,
        })
    }
}

impl From<Artifact> for v1::Artifact {
    fn from(artifact: Artifact) -> Self {
        Self {
            name: artifact.name,
            bytes: artifact.bytes,
            sha256: artifact.digest.to_string(),
            chunks: artifact.chunks.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The newest version as far as the model knows; its aliases are records of their own and are added by the caller.
impl From<Model> for v1::Model {
    fn from(model: Model) -> Self {
        Self {
            name: model.name,
            description: model.description,
            created_at_micros: model.created_at.micros(),
            newest_version: model.next_version.saturating_sub(1),
            aliases: std::collections::BTreeMap::new(),
        }
    }
}

impl TryFrom<v1::SignatureField> for SignatureField {
    type Error = InvalidField;

    fn try_from(field: v1::SignatureField) -> Result<Self, InvalidField> {
        let kind = match v1::FeatureKind::try_from(field.kind) {
            Ok(v1::FeatureKind::Numeric) => FeatureKind::Numeric,
            Ok(v1::FeatureKind::Categorical) => FeatureKind::Categorical,
            Ok(v1::FeatureKind::Unspecified) => return Err(InvalidField::new("kind", "no kind is given")),
            Err(_) => {
                return Err(InvalidField::new(
                    "kind",
                    format!("`{}` is not a known kind", field.kind),
                ));
            }
        };
        Ok(Self {
            name: field.name,
            kind,
        })
    }
}

impl From<SignatureField> for v1::SignatureField {
    fn from(field: SignatureField) -> Self {
        let kind = match field.kind {
            FeatureKind::Numeric => v1::FeatureKind::Numeric,
            FeatureKind::Categorical => v1::FeatureKind::Categorical,
        };
        Self {
            name: field.name,
            kind: kind.into(),
        }
    }
}

impl From<v1::Lineage> for Lineage {
    fn from(lineage: v1::Lineage) -> Self {
        Self {
            job: non_empty(lineage.job),
            dataset: non_empty(lineage.dataset).map(|name| (name, lineage.dataset_version)),
            view_versions: lineage.view_versions,
        }
    }
}

impl From<Lineage> for v1::Lineage {
    fn from(lineage: Lineage) -> Self {
        let (dataset, dataset_version) = lineage.dataset.unwrap_or_default();
        Self {
            job: lineage.job.unwrap_or_default(),
            dataset,
            dataset_version,
            view_versions: lineage.view_versions,
        }
    }
}

impl TryFrom<v1::VersionSpec> for VersionSpec {
    type Error = InvalidField;

    fn try_from(spec: v1::VersionSpec) -> Result<Self, InvalidField> {
        let profile = non_empty(spec.profile_sha256);
        Ok(Self {
            artifacts: each(spec.artifacts, "artifacts")?,
            algorithm: spec.algorithm,
            signature: each(spec.signature, "signature")?,
            service: non_empty(spec.service),
            lineage: spec.lineage.unwrap_or_default().into(),
            metrics: spec.metrics,
            profile: profile.map(|text| digest(&text, "profile_sha256")).transpose()?,
        })
    }
}

impl From<VersionSpec> for v1::VersionSpec {
    fn from(spec: VersionSpec) -> Self {
        Self {
            artifacts: all(spec.artifacts),
            algorithm: spec.algorithm,
            signature: all(spec.signature),
            service: spec.service.unwrap_or_default(),
            lineage: Some(spec.lineage.into()),
            metrics: spec.metrics,
            profile_sha256: spec.profile.map(|digest| digest.to_string()).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::ModelVersion> for ModelVersion {
    type Error = InvalidField;

    fn try_from(version: v1::ModelVersion) -> Result<Self, InvalidField> {
        let spec = required(version.spec, "spec")?;
        Ok(Self {
            model: version.model,
            number: version.number,
            spec: spec
                .try_into()
                .map_err(|fault: InvalidField| fault.within("spec"))?,
            created_at: Timestamp::from_micros(version.created_at_micros),
            created_by: version.created_by,
        })
    }
}

impl From<ModelVersion> for v1::ModelVersion {
    fn from(version: ModelVersion) -> Self {
        Self {
            model: version.model,
            number: version.number,
            spec: Some(version.spec.into()),
            created_at_micros: version.created_at.micros(),
            created_by: version.created_by,
        }
    }
}

impl From<AliasMove> for v1::AliasMove {
    fn from(moved: AliasMove) -> Self {
        Self {
            version: moved.version.unwrap_or(0),
            previous: moved.previous.unwrap_or(0),
            at_micros: moved.at.micros(),
            by: moved.by,
            reason: moved.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use covey_state::Digest;

    use super::*;

    fn version() -> ModelVersion {
        let digest = Digest::of(b"model");
        let artifact = Artifact {
            name: "model.json".to_owned(),
            bytes: 5,
            digest,
            chunks: vec![digest, digest],
        };
        let signature = vec![
            SignatureField {
                name: "weather__temp".to_owned(),
                kind: FeatureKind::Numeric,
            },
            SignatureField {
                name: "carrier".to_owned(),
                kind: FeatureKind::Categorical,
            },
        ];
        let lineage = Lineage {
            job: Some("j".to_owned()),
            dataset: Some(("d".to_owned(), 4)),
            view_versions: [("weather".to_owned(), 2)].into(),
        };
        let spec = VersionSpec {
            artifacts: vec![artifact],
            algorithm: "logistic_regression".to_owned(),
            signature,
            service: None,
            lineage,
            metrics: [("auc".to_owned(), 0.75)].into(),
            profile: Some(digest),
        };
        let created_at = Timestamp::from_micros(5);
        ModelVersion {
            model: "delay".to_owned(),
            number: 2,
            spec,
            created_at,
            created_by: "ada".to_owned(),
        }
    }

    #[test]
    fn versions_survive_the_way_to_the_wire_and_back() {
        let version = version();
        assert_eq!(
            ModelVersion::try_from(v1::ModelVersion::from(version.clone())),
            Ok(version)
        );
    }

    #[test]
    fn a_digest_that_is_none_is_named_by_its_path() {
        let mut wire = v1::ModelVersion::from(version());
        wire.spec.as_mut().unwrap().artifacts[0].chunks[1] = "abc".to_owned();
        assert_eq!(
            ModelVersion::try_from(wire).unwrap_err().field,
            "spec.artifacts[0].chunks[1]"
        );
    }
}
