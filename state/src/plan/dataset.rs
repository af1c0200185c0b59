//! Decides datasets: each build of a name is its next version.
//!
//! Invariant: a manifest's partitions add up to its rows, so every job splits it alike.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::dataset::DatasetManifest;
use crate::key::Key;
use crate::plan::draft::{Decided, Draft};
use crate::plan::field::{check_name, check_text, ensure, within};
use crate::plan::registry::check_artifact;
use crate::rejection::Rejection;

/// The most columns, and the most partitions, of a dataset.
const PARTS_MAX: usize = 65_536;

/// Registers a built dataset.
pub(super) fn put(draft: &mut Draft<'_>, manifest: &DatasetManifest) -> Decided {
    check(manifest)?;
    let name = &manifest.spec.name;
    let mut newest = 0;
    draft.scan(&Key::Dataset(name.clone(), 0), &mut |key, _| {
        let Key::Dataset(of, version) = key else {
            return ControlFlow::Break(());
        };
        if of != *name {
            return ControlFlow::Break(());
        }
        newest = version;
        ControlFlow::Continue(())
    })?;
    let version = newest + 1;
    let registered = DatasetManifest {
        version,
        created_at: draft.now,
        ..manifest.clone()
    };
    draft.put(Key::Dataset(name.clone(), version), registered);
    Ok(Answer::Number(version))
}

fn check(manifest: &DatasetManifest) -> Result<(), Rejection> {
    check_name("spec.name", &manifest.spec.name)?;
    check_name("spec.service", &manifest.spec.service)?;
    check_artifact("artifact", &manifest.artifact)?;
    within(manifest.columns.len(), PARTS_MAX, "columns of a dataset")?;
    within(manifest.partitions.len(), PARTS_MAX, "partitions of a dataset")?;
    let mut names = BTreeSet::new();
    for (position, column) in manifest.columns.iter().enumerate() {
        let field = format!("columns[{position}]");
        check_text(&field, column)?;
        ensure(names.insert(column), &field, || {
            format!("`{column}` is there twice")
        })?;
    }
    let total: u128 = manifest.partitions.iter().map(|rows| u128::from(*rows)).sum();
    ensure(total == u128::from(manifest.rows), "partitions", || {
        format!("they add up to {total} rows, the file has {}", manifest.rows)
    })?;
    ensure(manifest.content == manifest.artifact.digest, "content", || {
        format!(
            "{} is not the file's digest {}",
            manifest.content, manifest.artifact.digest
        )
    })
}
