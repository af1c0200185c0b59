//! What holds of models, versions, aliases and datasets.

use std::collections::{BTreeMap, BTreeSet};

use crate::invariants::hold;
use crate::key::Key;
use crate::record::Record;
use crate::view::MemoryView;

/// An alias points to a version that exists.
pub(super) fn alias_points_to_a_version(view: &MemoryView) -> Result<(), String> {
    let versions: BTreeSet<(&String, u64)> = view
        .entries()
        .filter_map(|(key, _)| {
            if let Key::ModelVersion(model, number) = key {
                Some((model, *number))
            } else {
                None
            }
        })
        .collect();
    for (key, record) in view.entries() {
        if let (Key::Alias(model, alias), Record::AliasMove(current)) = (key, record) {
            let exists = current
                .version
                .is_some_and(|number| versions.contains(&(model, number)));
            hold(exists, || {
                format!("{model}@{alias} points to {:?}", current.version)
            })?;
        }
    }
    Ok(())
}

/// The moves of an alias follow each other, and the last one is where it points.
pub(super) fn alias_history_ends_at_the_alias(view: &MemoryView) -> Result<(), String> {
    let mut ends = BTreeMap::new();
    let mut current = BTreeMap::new();
    for (key, record) in view.entries() {
        let Record::AliasMove(moved) = record else {
            continue;
        };
        if let Key::Alias(model, alias) = key {
            current.insert((model, alias), moved.version);
        }
        if let Key::AliasMove(model, alias, index) = key {
            let before = ends.insert((model, alias), moved.version).flatten();
            hold(before == moved.previous, || {
                format!(
                    "move {index} of {model}@{alias} left {:?}, it was at {before:?}",
                    moved.previous
                )
            })?;
        }
    }
    ends.retain(|_, version| version.is_some());
    hold(ends == current, || {
        format!("aliases {current:?}, ends of their histories {ends:?}")
    })
}

/// A model's versions and a dataset's versions are numbered without gaps, from 1 to the newest.
pub(super) fn versions_count_from_one(view: &MemoryView) -> Result<(), String> {
    let mut versions: BTreeMap<&String, u64> = BTreeMap::new();
    let mut datasets: BTreeMap<&String, u64> = BTreeMap::new();
    for (key, _) in view.entries() {
        if let Key::ModelVersion(model, number) = key {
            let before = versions.insert(model, *number).unwrap_or(0);
            hold(*number == before + 1, || {
                format!("{model}/{number} comes after {before}")
            })?;
        }
        if let Key::Dataset(dataset, number) = key {
            let before = datasets.insert(dataset, *number).unwrap_or(0);
            hold(*number == before + 1, || {
                format!("dataset {dataset}/{number} comes after {before}")
            })?;
        }
    }
    for (_, record) in view.entries() {
        if let Record::Model(model) = record {
            let newest = versions.get(&model.name).copied().unwrap_or(0);
            hold(model.next_version == newest + 1, || {
                format!(
                    "{} has {newest} versions, the next is {}",
                    model.name, model.next_version
                )
            })?;
        }
    }
    Ok(())
}
