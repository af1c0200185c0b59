//! Views and services as tables.

use covey_proto::convert::data_type;
use covey_proto::v1;
use covey_state::window::{Aggregate, window_text};
use serde_json::Value as Json;

use crate::cli::cell;
use crate::cli::output::{Card, Listing, Output, moment, say};
use crate::cli::trouble::Trouble;

/// The views as rows.
pub(super) fn views(catalog: &v1::Catalog) -> Listing {
    let mut listing = Listing::new(&[
        "view",
        "entity",
        "schema",
        "active",
        "ttl",
        "columns",
        "aggregates",
    ]);
    for installed in &catalog.views {
        let Some(view) = &installed.definition else {
            continue;
        };
        listing.row([
            view.name.clone().into(),
            view.entity.clone().into(),
            installed.schema_version.into(),
            installed.active.into(),
            length(view.ttl_micros),
            view.columns.len().into(),
            view.aggregates.len().into(),
        ]);
    }
    listing
}

/// Prints a view with its columns and aggregates.
pub(super) fn view(catalog: &v1::Catalog, name: &str, output: Output) -> Result<(), Trouble> {
    let (installed, view) = super::find_view(catalog, name)?;
    let mut columns = Listing::new(&["feature", "type", "nullable", "conditions"]);
    for column in &view.columns {
        let conditions: Vec<Json> = column.rules.iter().map(|rule| rule_text(rule).into()).collect();
        columns.row([
            column.name.clone().into(),
            type_text(column.data_type),
            column.nullable.into(),
            conditions.into(),
        ]);
    }
    for aggregate in &view.aggregates {
        let Ok(aggregate) = Aggregate::try_from(aggregate.clone()) else {
            continue;
        };
        let window = format!(
            "{} of {} over {}",
            aggregate.function,
            aggregate.column,
            window_text(aggregate.window_micros)
        );
        columns.row([
            aggregate.name().into(),
            "window".into(),
            true.into(),
            window.into(),
        ]);
    }
    let card = Card::default()
        .with("view", view.name.clone())
        .with("description", view.description.clone())
        .with("entity", view.entity.clone())
        .with("id", installed.id)
        .with("schema version", installed.schema_version)
        .with("active", installed.active)
        .with("ttl", length(view.ttl_micros))
        .with("future tolerance", length(view.future_tolerance_micros))
        .with("changed", moment(installed.changed_at_micros));
    match output {
        Output::Table => {
            card.print(output);
            say("");
            columns.print(output);
        }
        Output::Json => card.with("features", columns.json()).print(output),
    }
    Ok(())
}

/// The services as rows.
pub(super) fn services(catalog: &v1::Catalog) -> Listing {
    let mut listing = Listing::new(&["service", "views", "request features", "description"]);
    for service in &catalog.services {
        let views: Vec<Json> = service
            .views
            .iter()
            .map(|selection| selection.view.clone().into())
            .collect();
        listing.row([
            service.name.clone().into(),
            views.into(),
            service.request.len().into(),
            service.description.clone().into(),
        ]);
    }
    listing
}

/// The features of a service in vector order.
pub(super) fn service(catalog: &v1::Catalog, name: &str) -> Result<Listing, Trouble> {
    let service = catalog
        .services
        .iter()
        .find(|service| service.name == name)
        .ok_or_else(|| {
            Trouble::refused(
                format!("service `{name}` does not exist"),
                "see `covey feature service list`",
            )
        })?;
    let mut listing = Listing::new(&["feature", "from"]);
    for selection in &service.views {
        let names = if selection.features.is_empty() {
            all_features(catalog, &selection.view)
        } else {
            selection.features.clone()
        };
        for feature in names {
            listing.row([
                format!("{}__{feature}", selection.view).into(),
                format!("view {}", selection.view).into(),
            ]);
        }
    }
    for feature in &service.request {
        listing.row([feature.name.clone().into(), "request".into()]);
    }
    Ok(listing)
}

fn all_features(catalog: &v1::Catalog, view: &str) -> Vec<String> {
    let definitions = catalog
        .views
        .iter()
        .filter_map(|installed| installed.definition.clone());
    let wanted = definitions.filter(|definition| definition.name == view);
    wanted
        .filter_map(|definition| covey_state::catalog::FeatureView::try_from(definition).ok())
        .flat_map(|view| view.feature_names())
        .collect()
}

fn length(micros: i64) -> Json {
    if micros == 0 {
        Json::Null
    } else {
        window_text(micros).into()
    }
}

fn type_text(number: i32) -> Json {
    data_type(number, "data_type").map_or(Json::Null, |known| known.to_string().into())
}

fn rule_text(rule: &v1::Rule) -> String {
    match &rule.kind {
        Some(v1::rule::Kind::Min(bound)) => format!(">= {bound}"),
        Some(v1::rule::Kind::Max(bound)) => format!("<= {bound}"),
        Some(v1::rule::Kind::OneOf(list)) => {
            let values = list
                .values
                .iter()
                .filter_map(|value| covey_state::Value::try_from(value.clone()).ok());
            let texts: Vec<String> = values.map(|value| cell::to_json(&value).to_string()).collect();
            format!("one of {}", texts.join(", "))
        }
        None => "unknown".to_owned(),
    }
}
