//! Decides the model registry: models, versions and aliases.
//!
//! Invariants: a version never changes and its number is never given again; an alias points to a version that exists;
//! every move of an alias is in its history.

use std::collections::{BTreeMap, BTreeSet};

use crate::answer::Answer;
use crate::key::Key;
use crate::plan::draft::{Decided, Draft};
use crate::plan::field::{
    check_finite, check_name, check_text, check_token, conflict, ensure, invalid, within,
};
use crate::registry::{AliasMove, Artifact, Model, ModelVersion, VersionSpec};
use crate::rejection::Rejection;

/// The most artifacts, signature fields and metrics of a version.
const PARTS_MAX: usize = 10_000;

/// Registers a model.
pub(super) fn create_model(draft: &mut Draft<'_>, name: &str, description: &str) -> Decided {
    check_name("name", name)?;
    check_text("description", description)?;
    let place = Key::Model(name.to_owned());
    if draft.get::<Model>(&place)?.is_some() {
        return Err(Rejection::Exists {
            kind: "model".to_owned(),
            name: name.to_owned(),
        }
        .into());
    }
    let created_at = draft.now;
    let (name, description) = (name.to_owned(), description.to_owned());
    draft.put(
        place,
        Model {
            name,
            description,
            next_version: 1,
            created_at,
        },
    );
    Ok(Answer::Done)
}

/// Registers a version of a model.
pub(super) fn create_version(draft: &mut Draft<'_>, name: &str, spec: &VersionSpec) -> Decided {
    let mut model: Model = draft.need(&Key::Model(name.to_owned()), "model", name)?;
    check_spec(spec)?;
    let number = model.next_version;
    model.next_version += 1;
    let version = ModelVersion {
        model: name.to_owned(),
        number,
        spec: spec.clone(),
        created_at: draft.now,
        created_by: draft.by.to_owned(),
    };
    draft.put(Key::Model(name.to_owned()), model);
    draft.put(Key::ModelVersion(name.to_owned(), number), version);
    Ok(Answer::Number(number))
}

/// Moves an alias, if it still points to where the caller believes it does.
pub(super) fn set_alias(
    draft: &mut Draft<'_>,
    (model, alias): (&str, &str),
    version: Option<u64>,
    expected: Option<Option<u64>>,
    reason: &str,
) -> Decided {
    draft.need::<Model>(&Key::Model(model.to_owned()), "model", model)?;
    check_name("alias", alias)?;
    check_text("reason", reason)?;
    if let Some(number) = version {
        let place = Key::ModelVersion(model.to_owned(), number);
        draft.need::<ModelVersion>(&place, "version", &format!("{model}/{number}"))?;
    }
    let place = Key::Alias(model.to_owned(), alias.to_owned());
    let current = draft
        .get::<AliasMove>(&place)?
        .and_then(|current| current.version);
    let name = format!("{model}@{alias}");
    if let Some(expected) = expected.filter(|expected| *expected != current) {
        return Err(conflict("alias", &name, version_text(expected), version_text(current)).into());
    }
    if version == current {
        return match version {
            Some(_) => Ok(Answer::Done),
            None => Err(Rejection::NotFound {
                kind: "alias".to_owned(),
                name,
            }
            .into()),
        };
    }
    let moved = AliasMove {
        version,
        previous: current,
        at: draft.now,
        by: draft.by.to_owned(),
        reason: reason.to_owned(),
    };
    let index = draft.position.index;
    draft.put(
        Key::AliasMove(model.to_owned(), alias.to_owned(), index),
        moved.clone(),
    );
    match version {
        Some(_) => draft.put(place, moved),
        None => draft.delete(place),
    }
    Ok(Answer::Done)
}

/// Whether an artifact's description makes sense.
pub(super) fn check_artifact(field: &str, artifact: &Artifact) -> Result<(), Rejection> {
    check_token(&format!("{field}.name"), &artifact.name)?;
    ensure(
        artifact.bytes == 0 || !artifact.chunks.is_empty(),
        &format!("{field}.chunks"),
        || format!("`{}` has {} bytes but no chunks", artifact.name, artifact.bytes),
    )
}

/// Whether every number of a named list is finite and every name is short.
pub(super) fn check_numbers(field: &str, numbers: &BTreeMap<String, f64>) -> Result<(), Rejection> {
    within(numbers.len(), PARTS_MAX, field)?;
    for (name, number) in numbers {
        check_text(field, name)?;
        check_finite(&format!("{field}.{name}"), *number)?;
    }
    Ok(())
}

fn check_spec(spec: &VersionSpec) -> Result<(), Rejection> {
    ensure(!spec.artifacts.is_empty(), "artifacts", || {
        "a version needs at least the model's file".to_owned()
    })?;
    within(spec.artifacts.len(), PARTS_MAX, "artifacts of a version")?;
    within(spec.signature.len(), PARTS_MAX, "signature fields of a version")?;
    check_token("algorithm", &spec.algorithm)?;
    check_numbers("metrics", &spec.metrics)?;
    let mut files = BTreeSet::new();
    for (position, artifact) in spec.artifacts.iter().enumerate() {
        let field = format!("artifacts[{position}]");
        check_artifact(&field, artifact)?;
        ensure(files.insert(&artifact.name), &field, || {
            format!("`{}` is there twice", artifact.name)
        })?;
    }
    let mut inputs = BTreeSet::new();
    for (position, input) in spec.signature.iter().enumerate() {
        let field = format!("signature[{position}].name");
        check_text(&field, &input.name)?;
        ensure(inputs.insert(&input.name), &field, || {
            format!("`{}` is there twice", input.name)
        })?;
    }
    let is_ours = |profile| spec.artifacts.iter().any(|artifact| artifact.digest == profile);
    match spec.profile {
        Some(profile) if !is_ours(profile) => Err(invalid(
            "profile",
            format!("{profile} is the digest of none of the artifacts"),
        )),
        Some(_) | None => Ok(()),
    }
}

fn version_text(version: Option<u64>) -> String {
    version.map_or_else(|| "no version".to_owned(), |version| format!("version {version}"))
}
