//! What holds of the catalog and of the schemas that a data group knows.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::InstalledView;
use crate::invariants::cluster::cluster;
use crate::invariants::hold;
use crate::key::Key;
use crate::record::Record;
use crate::view::MemoryView;

/// No view has the id that the next view gets, or a later one, or another view's.
pub(super) fn view_ids_below_next(view: &MemoryView) -> Result<(), String> {
    let next = cluster(view).map_or(0, |cluster| cluster.next_view);
    let mut ids = BTreeSet::new();
    for (name, installed) in views(view) {
        hold(installed.id.get() < next, || {
            format!("`{name}` is {}, the next is {next}", installed.id)
        })?;
        hold(ids.insert(installed.id), || {
            format!("`{name}` shares {}", installed.id)
        })?;
    }
    Ok(())
}

/// A view's entity exists and has the join keys that the view has copied.
pub(super) fn views_follow_their_entity(view: &MemoryView) -> Result<(), String> {
    let mut entities = BTreeMap::new();
    let mut spans = BTreeMap::new();
    for (_, record) in view.entries() {
        if let Record::Entity(entity) = record {
            entities.insert(&entity.name, entity);
        }
        if let Record::Namespace(namespace) = record {
            spans.insert(&namespace.name, namespace.span);
        }
    }
    for (name, installed) in views(view) {
        let entity = entities.get(&installed.definition.entity);
        let keys = entity.map(|entity| &entity.join_keys);
        hold(keys == Some(&installed.join_keys), || {
            format!("`{name}` has join keys of its own")
        })?;
        let span = entity.and_then(|entity| spans.get(&entity.namespace));
        hold(span == Some(&installed.span), || {
            format!("`{name}` has groups of its own")
        })?;
    }
    Ok(())
}

/// Every feature that a service lists is one that its view yields.
pub(super) fn services_list_features_that_exist(view: &MemoryView) -> Result<(), String> {
    let views: BTreeMap<&String, &InstalledView> = views(view).collect();
    for (_, record) in view.entries() {
        let Record::Service(service) = record else {
            continue;
        };
        for selection in &service.views {
            let offered = views
                .get(&selection.view)
                .map(|installed| installed.definition.feature_names());
            let lost = selection
                .features
                .iter()
                .find(|feature| !offered.iter().flatten().any(|name| name == *feature));
            hold(offered.is_some() && lost.is_none(), || {
                format!("`{}` lists {lost:?} of view `{}`", service.name, selection.view)
            })?;
        }
    }
    Ok(())
}

/// A monitor's deployment and pipeline exist.
pub(super) fn monitors_watch_what_exists(view: &MemoryView) -> Result<(), String> {
    let keys: BTreeSet<&Key> = view.entries().map(|(key, _)| key).collect();
    for (_, record) in view.entries() {
        let Record::Monitor(monitor) = record else {
            continue;
        };
        let watches = keys.contains(&Key::Deployment(monitor.deployment.clone()));
        hold(watches, || {
            format!("`{}` watches `{}`", monitor.name, monitor.deployment)
        })?;
        let starts = monitor
            .pipeline
            .as_ref()
            .is_none_or(|name| keys.contains(&Key::Pipeline(name.clone())));
        hold(starts, || {
            format!("`{}` starts {:?}", monitor.name, monitor.pipeline)
        })?;
    }
    Ok(())
}

/// The newest schema version that a group says it knows is the newest it knows.
pub(super) fn schema_head_is_newest(view: &MemoryView) -> Result<(), String> {
    let mut known = BTreeMap::new();
    let mut heads = BTreeMap::new();
    for (key, record) in view.entries() {
        if let Key::Schema(id, version) = key {
            known.insert(*id, u64::from(*version));
        }
        if let (Key::SchemaHead(id), Record::Number(version)) = (key, record) {
            heads.insert(*id, *version);
        }
    }
    hold(known == heads, || {
        format!("newest schemas {known:?}, heads {heads:?}")
    })
}

fn views(view: &MemoryView) -> impl Iterator<Item = (&String, &InstalledView)> {
    view.entries().filter_map(|(key, record)| {
        if let (Key::View(name), Record::View(installed)) = (key, record) {
            return Some((name, installed));
        }
        None
    })
}
