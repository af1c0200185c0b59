//! Declarative definitions: YAML files with one object per document, read and checked before anything is changed.
//!
//! Every document has a `kind`. A fault names the file, the document, the line and the field.

mod catalog;
mod namespace;
mod operation;
mod source;

use std::path::Path;

use covey_proto::v1;

use super::trouble::Trouble;

/// The kinds of objects, in the order in which they are applied: each may refer to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub(crate) enum Kind {
    /// Groups of their own for some entities, and what those are to survive.
    Namespace,
    /// What features are about.
    Entity,
    /// Columns and aggregates of one entity.
    FeatureView,
    /// The features that a model is trained on and served with.
    FeatureService,
    /// A point-in-time training set.
    Dataset,
    /// A training job.
    Training,
    /// Retraining, gated against the champion.
    Pipeline,
    /// A served model.
    Deployment,
    /// Drift detection on a deployment.
    Monitor,
}

impl Kind {
    /// The kind as it is written in YAML.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Entity => "Entity",
            Self::FeatureView => "FeatureView",
            Self::FeatureService => "FeatureService",
            Self::Dataset => "Dataset",
            Self::Training => "Training",
            Self::Pipeline => "Pipeline",
            Self::Deployment => "Deployment",
            Self::Monitor => "Monitor",
        }
    }
}

/// One object, as it goes to the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object {
    /// See [`Kind::Namespace`].
    Namespace(v1::PutNamespaceRequest),
    /// See [`Kind::Entity`].
    Entity(v1::Entity),
    /// See [`Kind::FeatureView`].
    FeatureView(v1::FeatureView),
    /// See [`Kind::FeatureService`].
    FeatureService(v1::FeatureService),
    /// See [`Kind::Dataset`].
    Dataset(v1::DatasetSpec),
    /// See [`Kind::Training`]: the job's id and what to do.
    Training(String, v1::JobSpec),
    /// See [`Kind::Pipeline`].
    Pipeline(v1::Pipeline),
    /// See [`Kind::Deployment`].
    Deployment(v1::DeploymentSpec),
    /// See [`Kind::Monitor`].
    Monitor(v1::Monitor),
}

impl Object {
    /// Its kind.
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Entity(_) => Kind::Entity,
            Self::FeatureView(_) => Kind::FeatureView,
            Self::FeatureService(_) => Kind::FeatureService,
            Self::Dataset(_) => Kind::Dataset,
            Self::Training(..) => Kind::Training,
            Self::Pipeline(_) => Kind::Pipeline,
            Self::Deployment(_) => Kind::Deployment,
            Self::Monitor(_) => Kind::Monitor,
        }
    }

    /// Its name, unique within its kind.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Namespace(namespace) => &namespace.name,
            Self::Entity(entity) => &entity.name,
            Self::FeatureView(view) => &view.name,
            Self::FeatureService(service) => &service.name,
            Self::Dataset(spec) => &spec.name,
            Self::Training(id, _) => id,
            Self::Pipeline(pipeline) => &pipeline.name,
            Self::Deployment(spec) => &spec.name,
            Self::Monitor(monitor) => &monitor.name,
        }
    }
}

/// The objects of a file, or of every `.yaml` and `.yml` file in a folder, in the order in which they are applied.
pub(crate) fn load(path: &Path) -> Result<Vec<Object>, Trouble> {
    let mut objects = Vec::new();
    for file in source::files(path)? {
        let text = std::fs::read_to_string(&file).map_err(|error| Trouble::file(&file, &error))?;
        objects.extend(parse(&file.display().to_string(), &text)?);
    }
    if objects.is_empty() {
        let what = format!("`{}` holds no definitions", path.display());
        return Err(Trouble::refused(
            what,
            "name a YAML file, or a folder of them, with -f",
        ));
    }
    objects.sort_by_key(Object::kind);
    refuse_repeated(&objects)?;
    Ok(objects)
}

/// The objects of one file's text; `file` is its name in errors.
fn parse(file: &str, text: &str) -> Result<Vec<Object>, Trouble> {
    source::documents(text)
        .iter()
        .map(|document| object(document).map_err(|fault| fault.in_file(file)))
        .collect()
}

fn object(document: &source::Document) -> Result<Object, source::Fault> {
    match document.kind()? {
        Kind::Namespace => document
            .read::<namespace::NamespaceDefinition>()?
            .try_into()
            .map(Object::Namespace),
        Kind::Entity => document
            .read::<catalog::EntityDefinition>()?
            .try_into()
            .map(Object::Entity),
        Kind::FeatureView => document
            .read::<catalog::ViewDefinition>()?
            .try_into()
            .map(Object::FeatureView),
        Kind::FeatureService => document
            .read::<catalog::ServiceDefinition>()?
            .try_into()
            .map(Object::FeatureService),
        Kind::Dataset => Ok(Object::Dataset(
            document.read::<operation::DatasetDefinition>()?.into(),
        )),
        Kind::Training => {
            let training = document.read::<operation::TrainingDefinition>()?;
            Ok(Object::Training(training.id.clone(), training.into()))
        }
        Kind::Pipeline => Ok(Object::Pipeline(
            document.read::<operation::PipelineDefinition>()?.into(),
        )),
        Kind::Deployment => document
            .read::<operation::DeploymentDefinition>()?
            .try_into()
            .map(Object::Deployment),
        Kind::Monitor => Ok(Object::Monitor(
            document.read::<operation::MonitorDefinition>()?.into(),
        )),
    }
    .map_err(|reason: String| document.fault(reason))
}

/// Refuses two definitions of the same kind and name.
pub(super) fn refuse_repeated(objects: &[Object]) -> Result<(), Trouble> {
    for (position, object) in objects.iter().enumerate() {
        let same = |other: &&Object| other.kind() == object.kind() && other.name() == object.name();
        if objects[..position].iter().any(|other| same(&other)) {
            let what = format!("{} `{}` is defined twice", object.kind().name(), object.name());
            return Err(Trouble::refused(
                what,
                "keep one of the two definitions; nothing has changed",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        parse("flights.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_field_is_named_with_file_document_and_line() {
        let text = "kind: Entity\nname: a\njoin_keys:\n  - {name: a, type: string}\n---\n\
                    kind: FeatureView\nname: v\nentity: a\ncolums: []\n";
        let refused = refused(text);
        for part in ["flights.yaml:9:", "document 2", "colums", "next:"] {
            assert!(refused.contains(part), "no `{part}` in {refused}");
        }
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known_ones() {
        let refused = refused("kind: Modell\nname: a\n");
        for part in ["flights.yaml:1:", "Modell", "Deployment"] {
            assert!(refused.contains(part), "no `{part}` in {refused}");
        }
    }

    #[test]
    fn a_length_of_time_that_is_none_is_refused_where_it_stands() {
        let refused = refused("kind: FeatureView\nname: v\nentity: a\nttl: 3 hours\ncolumns: []\n");
        for part in ["flights.yaml:4:", "3 hours"] {
            assert!(refused.contains(part), "no `{part}` in {refused}");
        }
    }

    #[test]
    fn a_namespace_has_home_and_goal_or_neither() {
        let refused = refused("kind: Namespace\nname: payments\nhome: eu\n");
        assert!(
            refused.contains("`home` and `survive` belong together"),
            "{refused}"
        );
        let text = "kind: Namespace\nname: payments\nhome: eu\nsurvive: region\ngroups: 4\n";
        let objects = parse("f", text).unwrap();
        let wanted = v1::PutNamespaceRequest {
            name: "payments".to_owned(),
            home: "eu".to_owned(),
            survive: v1::Survival::Region.into(),
            groups: 4,
        };
        assert_eq!(objects, [Object::Namespace(wanted)]);
    }

    #[test]
    fn broken_yaml_is_refused_where_it_breaks() {
        let refused = refused("kind: Entity\nname: [a\n");
        assert!(refused.contains("flights.yaml:"), "{refused}");
    }

    #[test]
    fn an_object_that_is_defined_twice_is_refused() {
        let text = "kind: Entity\nname: a\njoin_keys: [{name: a, type: string}]\n";
        let objects = parse("f", &format!("{text}---\n{text}")).unwrap();
        assert!(
            refuse_repeated(&objects)
                .unwrap_err()
                .to_string()
                .contains("Entity `a` is defined twice")
        );
    }

    #[test]
    fn the_definitions_of_the_demo_are_complete() {
        let objects = load(Path::new("../examples/flights")).unwrap();
        let named = |kind: Kind| objects.iter().filter(|object| object.kind() == kind).count();
        assert!(
            named(Kind::Entity) >= 4 && named(Kind::FeatureView) >= 6 && named(Kind::FeatureService) >= 2
        );
        assert!(objects.is_sorted_by_key(Object::kind));
    }
}
