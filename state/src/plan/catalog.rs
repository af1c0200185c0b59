//! Decides the catalog: entities, feature views and feature services, and the schemas that data groups know.
//!
//! Invariants: a view's columns are only ever appended to, so a row written under any schema version can be read under
//! every later one; tiles kept under one version are the tiles of every later one.

mod feature_view;

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::catalog::{Entity, FeatureService, FeatureView, InstalledView, JoinKey, Phase, ViewSelection};
use crate::id::ViewId;
use crate::key::Key;
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{check_column_name, check_name, check_text, conflict, ensure, invalid, within};
use crate::plan::{namespace, topology};
use crate::record::Record;
use crate::rejection::Rejection;
use crate::value::DataType;

/// The most join keys of an entity.
pub const JOIN_KEYS_MAX: usize = 8;
/// The most columns of a view, and the most request features of a service.
pub const COLUMNS_MAX: usize = 1_000;
/// The most aggregates of a view.
pub const AGGREGATES_MAX: usize = 200;
/// The most values of a one-of rule.
pub const ONE_OF_MAX: usize = 1_000;

/// Declares an entity, or changes its description.
pub(super) fn put_entity(draft: &mut Draft<'_>, entity: &Entity) -> Decided {
    topology::cluster(draft)?;
    check_name("name", &entity.name)?;
    check_text("description", &entity.description)?;
    ensure(!entity.join_keys.is_empty(), "join_keys", || {
        "an entity needs at least one join key".to_owned()
    })?;
    within(entity.join_keys.len(), JOIN_KEYS_MAX, "join keys of an entity")?;
    let mut names = BTreeSet::new();
    for (position, key) in entity.join_keys.iter().enumerate() {
        let field = format!("join_keys[{position}]");
        check_column_name(&format!("{field}.name"), &key.name)?;
        ensure(names.insert(&key.name), &format!("{field}.name"), || {
            format!("`{}` is there twice", key.name)
        })?;
        match key.data_type {
            DataType::Int64 | DataType::String => {}
            DataType::Bool | DataType::Float64 | DataType::Timestamp => {
                let reason = format!(
                    "`{}` is {}, a join key must be int64 or string",
                    key.name, key.data_type
                );
                return Err(invalid(format!("{field}.data_type"), reason).into());
            }
        }
    }
    let place = Key::Entity(entity.name.clone());
    let known = draft.get::<Entity>(&place)?;
    if let Some(known) = known.as_ref().filter(|known| known.join_keys != entity.join_keys) {
        let reason = format!(
            "entity `{}` has join keys {}, which cannot change",
            known.name,
            keys_text(&known.join_keys)
        );
        return Err(invalid("join_keys", reason).into());
    }
    match &known {
        Some(known) if known.namespace != entity.namespace => {
            let reason = format!(
                "entity `{}` is in namespace `{}`, which cannot change",
                known.name, known.namespace
            );
            return Err(invalid("namespace", reason).into());
        }
        Some(_) => {}
        None => drop(namespace::usable(draft, &entity.namespace)?),
    }
    if known.as_ref() != Some(entity) {
        draft.put(place, entity.clone());
    }
    Ok(Answer::Done)
}

/// Declares a view, or a new schema version of it.
pub(super) fn put_view(draft: &mut Draft<'_>, definition: &FeatureView) -> Decided {
    let mut cluster = topology::cluster(draft)?;
    check_name("name", &definition.name)?;
    let entity: Entity = draft.need(
        &Key::Entity(definition.entity.clone()),
        "entity",
        &definition.entity,
    )?;
    feature_view::check(definition, &entity.join_keys)?;
    let place = Key::View(definition.name.clone());
    let (id, schema_version) = match draft.get::<InstalledView>(&place)? {
        Some(known) if known.definition == *definition => {
            return Ok(Answer::View(known.id, known.schema_version));
        }
        Some(known) => {
            feature_view::check_succession(&known.definition, definition)?;
            check_services_keep_their_features(draft, definition)?;
            (known.id, known.schema_version + 1)
        }
        None => {
            let id = ViewId::new(cluster.next_view);
            cluster.next_view += 1;
            draft.put(Key::Cluster, cluster);
            (id, 1)
        }
    };
    let view = InstalledView {
        id,
        schema_version,
        phase: Phase::Installing,
        join_keys: entity.join_keys,
        span: namespace::usable(draft, &entity.namespace)?.span,
        definition: definition.clone(),
        changed_at: draft.now,
    };
    draft.put(place, view);
    Ok(Answer::View(id, schema_version))
}

/// Every data group knows the schema version: the view may be used.
pub(super) fn activate_view(draft: &mut Draft<'_>, name: &str, schema_version: u32) -> Decided {
    let place = Key::View(name.to_owned());
    let mut view: InstalledView = draft.need(&place, "feature view", name)?;
    if view.schema_version != schema_version {
        let (expected, found) = (schema_version.to_string(), view.schema_version.to_string());
        return Err(conflict("schema version of feature view", name, expected, found).into());
    }
    if view.phase != Phase::Active {
        view.phase = Phase::Active;
        draft.put(place, view);
    }
    Ok(Answer::Done)
}

/// Declares or changes a feature service.
pub(super) fn put_service(draft: &mut Draft<'_>, service: &FeatureService) -> Decided {
    topology::cluster(draft)?;
    check_name("name", &service.name)?;
    check_text("description", &service.description)?;
    within(service.views.len(), COLUMNS_MAX, "views of a service")?;
    within(
        service.request.len(),
        COLUMNS_MAX,
        "request features of a service",
    )?;
    let mut features = BTreeSet::new();
    for (position, selection) in service.views.iter().enumerate() {
        check_selection(draft, &format!("views[{position}]"), selection, &mut features)?;
    }
    for (position, feature) in service.request.iter().enumerate() {
        let field = format!("request[{position}].name");
        check_name(&field, &feature.name)?;
        let is_new = features.insert(feature.name.clone());
        ensure(is_new, &field, || format!("`{}` is there twice", feature.name))?;
    }
    ensure(!features.is_empty(), "views", || {
        "a feature service needs at least one feature".to_owned()
    })?;
    let place = Key::Service(service.name.clone());
    if draft.get::<FeatureService>(&place)?.as_ref() != Some(service) {
        draft.put(place, service.clone());
    }
    Ok(Answer::Done)
}

/// Takes a feature service away.
pub(super) fn remove_service(draft: &mut Draft<'_>, name: &str) -> Decided {
    let place = Key::Service(name.to_owned());
    draft.need::<FeatureService>(&place, "feature service", name)?;
    draft.delete(place);
    Ok(Answer::Done)
}

/// This group learns a view's schema.
pub(super) fn install_schema(draft: &mut Draft<'_>, schema: &InstalledView) -> Decided {
    let place = Key::Schema(schema.id, schema.schema_version);
    let name = format!("{} version {}", schema.id, schema.schema_version);
    feature_view::check(&schema.definition, &schema.join_keys)?;
    if let Some(known) = draft.get::<InstalledView>(&place)? {
        if known.definition == schema.definition && known.join_keys == schema.join_keys {
            return Ok(Answer::Done);
        }
        return Err(Rejection::Exists {
            kind: "schema".to_owned(),
            name,
        }
        .into());
    }
    let head = Key::SchemaHead(schema.id);
    let newest = draft.get::<u64>(&head)?;
    let version = u64::from(schema.schema_version);
    if newest.is_none_or(|newest| newest < version) {
        if let Some(known) = newest_schema(draft, schema.id, newest)? {
            feature_view::check_succession(&known.definition, &schema.definition)?;
        }
        draft.put(head, version);
    }
    draft.put(place, schema.clone());
    Ok(Answer::Done)
}

fn check_selection(
    draft: &Draft<'_>,
    field: &str,
    selection: &ViewSelection,
    features: &mut BTreeSet<String>,
) -> Result<(), Stop> {
    let name = &selection.view;
    let view: InstalledView = draft.need(&Key::View(name.clone()), "feature view", name)?;
    let offered = view.definition.feature_names();
    let wanted = if selection.features.is_empty() {
        &offered
    } else {
        &selection.features
    };
    for feature in wanted {
        if !offered.contains(feature) {
            return Err(Rejection::NotFound {
                kind: format!("feature of view `{name}`"),
                name: feature.clone(),
            }
            .into());
        }
        let full = format!("{name}__{feature}");
        if !features.insert(full) {
            return Err(invalid(
                field,
                format!("feature `{feature}` of view `{name}` is there twice"),
            )
            .into());
        }
    }
    Ok(())
}

/// Refuses a view that no longer has a feature which a service lists by name.
fn check_services_keep_their_features(draft: &Draft<'_>, next: &FeatureView) -> Result<(), Stop> {
    let offered = next.feature_names();
    let mut lost = None;
    draft.scan(&Key::Service(String::new()), &mut |_, record| {
        let Record::Service(service) = record else {
            return ControlFlow::Break(());
        };
        let ours = service
            .views
            .iter()
            .filter(|selection| selection.view == next.name);
        let feature = ours
            .flat_map(|selection| &selection.features)
            .find(|feature| !offered.contains(feature));
        lost = feature.map(|feature| (service.name.clone(), feature.clone()));
        if lost.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    lost.map_or(Ok(()), |(service, feature)| {
        let reason = format!("feature `{feature}` is missing, which feature service `{service}` lists");
        Err(invalid("aggregates", reason).into())
    })
}

/// The newest schema of a view that this group knows, if `newest` says that there is one.
fn newest_schema(
    draft: &Draft<'_>,
    view: ViewId,
    newest: Option<u64>,
) -> Result<Option<InstalledView>, Stop> {
    match newest.map(u32::try_from) {
        Some(Ok(version)) => Ok(draft.get(&Key::Schema(view, version))?),
        Some(Err(_)) | None => Ok(None),
    }
}

fn keys_text(keys: &[JoinKey]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| format!("`{}` ({})", key.name, key.data_type))
        .collect();
    keys.join(", ")
}
