//! Training sets: what one is built from, and the manifest of what was built.

use covey_state::dataset::{DatasetManifest, DatasetSpec, Spine};
use covey_state::{GroupId, Timestamp};

use super::{InvalidField, digest, non_empty, required};
use crate::v1;
use crate::v1::spine::{FileSpine, Kind, ViewSpine};

impl TryFrom<v1::Spine> for Spine {
    type Error = InvalidField;

    fn try_from(spine: v1::Spine) -> Result<Self, InvalidField> {
        match required(spine.kind, "kind")? {
            Kind::View(from) => Ok(Self::View {
                view: from.view,
                timestamp: non_empty(from.timestamp),
                from: Timestamp::from_micros(from.from_micros),
                until: Timestamp::from_micros(from.until_micros),
            }),
            Kind::File(from) => {
                let artifact = required(from.artifact, "file.artifact")?;
                let artifact = artifact
                    .try_into()
                    .map_err(|fault: InvalidField| fault.within("file.artifact"))?;
                Ok(Self::File {
                    artifact,
                    timestamp: from.timestamp,
                })
            }
        }
    }
}

impl From<Spine> for v1::Spine {
    fn from(spine: Spine) -> Self {
        let kind = match spine {
            Spine::View {
                view,
                timestamp,
                from,
                until,
            } => Kind::View(ViewSpine {
                view,
                timestamp: timestamp.unwrap_or_default(),
                from_micros: from.micros(),
                until_micros: until.micros(),
            }),
            Spine::File { artifact, timestamp } => Kind::File(FileSpine {
                artifact: Some(artifact.into()),
                timestamp,
            }),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::DatasetSpec> for DatasetSpec {
    type Error = InvalidField;

    fn try_from(spec: v1::DatasetSpec) -> Result<Self, InvalidField> {
        let spine = required(spec.spine, "spine")?;
        Ok(Self {
            name: spec.name,
            service: spec.service,
            spine: spine
                .try_into()
                .map_err(|fault: InvalidField| fault.within("spine"))?,
            label: non_empty(spec.label),
        })
    }
}

impl From<DatasetSpec> for v1::DatasetSpec {
    fn from(spec: DatasetSpec) -> Self {
        Self {
            name: spec.name,
            service: spec.service,
            spine: Some(spec.spine.into()),
            label: spec.label.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::DatasetManifest> for DatasetManifest {
    type Error = InvalidField;

    fn try_from(manifest: v1::DatasetManifest) -> Result<Self, InvalidField> {
        let spec = required(manifest.spec, "spec")?;
        let artifact = required(manifest.artifact, "artifact")?;
        let positions = manifest.log_indexes.into_iter();
        Ok(Self {
            spec: spec
                .try_into()
                .map_err(|fault: InvalidField| fault.within("spec"))?,
            version: manifest.version,
            log_indexes: positions
                .map(|position| (GroupId::new(position.group), position.index))
                .collect(),
            view_versions: manifest.view_versions,
            artifact: artifact
                .try_into()
                .map_err(|fault: InvalidField| fault.within("artifact"))?,
            rows: manifest.rows,
            columns: manifest.columns,
            partitions: manifest.partitions,
            content: digest(&manifest.content_sha256, "content_sha256")?,
            created_at: Timestamp::from_micros(manifest.created_at_micros),
        })
    }
}

impl From<DatasetManifest> for v1::DatasetManifest {
    fn from(manifest: DatasetManifest) -> Self {
        let positions = manifest.log_indexes.into_iter();
        Self {
            spec: Some(manifest.spec.into()),
            version: manifest.version,
            log_indexes: positions
                .map(|(group, index)| v1::LogPosition {
                    group: group.get(),
                    index,
                })
                .collect(),
            view_versions: manifest.view_versions,
            artifact: Some(manifest.artifact.into()),
            rows: manifest.rows,
            columns: manifest.columns,
            partitions: manifest.partitions,
            content_sha256: manifest.content.to_string(),
            created_at_micros: manifest.created_at.micros(),
        }
    }
}

#[cfg(test)]
mod tests {
    use covey_state::Digest;
    use covey_state::registry::Artifact;

    use super::*;

    fn artifact() -> Artifact {
        let digest = Digest::of(b"rows");
        Artifact {
            name: "rows.parquet".to_owned(),
            bytes: 4,
            digest,
            chunks: vec![digest],
        }
    }

    fn manifest(spine: Spine) -> DatasetManifest {
        let spec = DatasetSpec {
            name: "d".to_owned(),
            service: "s".to_owned(),
            spine,
            label: Some("late".to_owned()),
        };
        DatasetManifest {
            spec,
            version: 3,
            log_indexes: [(GroupId::new(2), 9)].into(),
            view_versions: [("weather".to_owned(), 1)].into(),
            artifact: artifact(),
            rows: 5,
            columns: vec!["temp".to_owned()],
            partitions: vec![3, 2],
            content: Digest::of(b"rows"),
            created_at: Timestamp::from_micros(11),
        }
    }

    #[test]
    fn manifests_of_both_spines_survive_the_way_to_the_wire_and_back() {
        let (from, until) = (Timestamp::from_micros(1), Timestamp::from_micros(2));
        let view = Spine::View {
            view: "flights".to_owned(),
            timestamp: None,
            from,
            until,
        };
        let file = Spine::File {
            artifact: artifact(),
            timestamp: "at".to_owned(),
        };
        for spine in [view, file] {
            let manifest = manifest(spine);
            assert_eq!(
                DatasetManifest::try_from(v1::DatasetManifest::from(manifest.clone())),
                Ok(manifest)
            );
        }
    }

    #[test]
    fn a_specification_without_spine_is_refused() {
        let fault = DatasetSpec::try_from(v1::DatasetSpec::default()).unwrap_err();
        assert_eq!(fault.field, "spine");
    }
}
