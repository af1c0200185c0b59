//! Examples from the history of a view, sorted by time and then by entity.
//!
//! A row without the time column's value or without a label is no example: it cannot be learned from.

use std::mem;

use covey_state::catalog::InstalledView;
use covey_state::dataset::{DatasetSpec, Spine};
use covey_state::entity::KeyPart;
use covey_state::{DataType, GroupId, Timestamp, Value};
use futures::future::try_join_all;

use super::Fixed;
use super::examples::{ExampleColumn, Examples};
use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::features::group::{self, Bounds, Query, Reply, SpinePage, SpineRow};
use crate::features::push::EVENT_TIME;
use crate::features::rows::{TableRows, quoted};
use crate::features::service_plan::ServicePlan;

/// Reads all examples as of the fixed log indexes.
pub(super) async fn read(
    ctx: &Context,
    caller: &Caller,
    spec: &DatasetSpec,
    fixed: &Fixed,
) -> Result<Examples, Failure> {
    let Spine::View {
        view: name,
        timestamp,
        from,
        until,
    } = &spec.spine
    else {
        return Err(Failure::internal("reading a spine", "it is not a view"));
    };
    let view = fixed
        .schemas
        .get(name)
        .ok_or_else(|| Failure::not_found("view", name))?;
    let columns = wanted_columns(view, &fixed.plan, spec.label.as_deref())?;
    let first = SpinePage {
        view: view.id,
        timestamp: timestamp
            .as_ref()
            .map(|name| time_column(view, name))
            .transpose()?,
        from: *from,
        until: *until,
        columns: columns.clone(),
        after: None,
    };
    let of_the_view = |(group, _): &(&GroupId, &u64)| view.span.contains(**group);
    let groups = fixed.log_indexes.iter().filter(of_the_view);
    let read =
        try_join_all(groups.map(|(group, index)| read_group(ctx, caller, (*group, *index), first.clone())));
    let mut rows: Vec<SpineRow> = read.await?.into_iter().flatten().collect();
    if let Some(label) = &spec.label {
        keep_labelled(&mut rows, view, &columns, label);
    }
    rows.sort_by(|a, b| (a.at, &a.entity, a.event_time).cmp(&(b.at, &b.entity, b.event_time)));
    examples(view, spec, &columns, rows)
}

/// The positions of the columns that the service's inputs and the label are taken from.
fn wanted_columns(
    view: &InstalledView,
    plan: &ServicePlan,
    label: Option<&str>,
) -> Result<Vec<usize>, Failure> {
    let mut columns = Vec::new();
    for name in plan.inputs().into_iter().chain(label) {
        if name == EVENT_TIME || view.join_keys.iter().any(|key| key.name == name) {
            continue;
        }
        let position = view.definition.column_position(name).ok_or_else(|| {
            let known: Vec<&str> = view
                .definition
                .columns
                .iter()
                .map(|column| column.name.as_str())
                .collect();
            let (view, known) = (&view.definition.name, quoted(&known));
            let reason = format!(
                "view `{view}` has no column `{name}`, which the service or the label needs; known: {known}"
            );
            Failure::invalid("spine.view", reason)
        })?;
        if !columns.contains(&position) {
            columns.push(position);
        }
    }
    Ok(columns)
}

fn time_column(view: &InstalledView, name: &str) -> Result<usize, Failure> {
    let known = &view.definition.columns;
    let is_it = |column: &covey_state::catalog::Column| {
        column.name == name && column.data_type == DataType::Timestamp
    };
    known.iter().position(is_it).ok_or_else(|| {
        let reason = format!("view `{}` has no timestamp column `{name}`", view.definition.name);
        Failure::invalid("spine.view.timestamp", reason)
    })
}

/// Reads one group's pages, one after the other.
async fn read_group(
    ctx: &Context,
    caller: &Caller,
    (group, index): (GroupId, u64),
    mut page: SpinePage,
) -> Result<Vec<SpineRow>, Failure> {
    let mut rows = Vec::new();
    loop {
        let query = Query::Spine(page.clone());
        let (reply, _) = group::ask(ctx, caller, group, Bounds::through(index), query).await?;
        let Reply::Spine(found) = reply else {
            return Err(Failure::internal(
                "reading a spine",
                "a group answered another question",
            ));
        };
        rows.extend(found.rows);
        match found.next {
            None => return Ok(rows),
            after => page.after = after,
        }
    }
}

fn keep_labelled(rows: &mut Vec<SpineRow>, view: &InstalledView, columns: &[usize], label: &str) {
    let position = view.definition.column_position(label);
    if let Some(slot) = columns.iter().position(|column| Some(*column) == position) {
        rows.retain(|row| !row.values[slot].is_null());
    }
}

/// The rows as columns: join keys, then the columns asked for, then the event time.
fn examples(
    view: &InstalledView,
    spec: &DatasetSpec,
    positions: &[usize],
    mut rows: Vec<SpineRow>,
) -> Result<Examples, Failure> {
    let keys: Vec<ExampleColumn> = view
        .join_keys
        .iter()
        .map(|key| ExampleColumn {
            name: key.name.clone(),
            data_type: key.data_type,
        })
        .collect();
    let mut names: Vec<String> = keys.iter().map(|key| key.name.clone()).collect();
    let part = |row: &SpineRow, position: usize| match row.entity.0.get(position) {
        Some(KeyPart::Int64(number)) => Value::Int64(*number),
        Some(KeyPart::String(text)) => Value::String(text.clone()),
        None => Value::Null,
    };
    let mut columns: Vec<Vec<Value>> = (0..keys.len())
        .map(|position| rows.iter().map(|row| part(row, position)).collect())
        .collect();
    for (slot, position) in positions.iter().enumerate() {
        names.push(view.definition.columns[*position].name.clone());
        columns.push(
            rows.iter_mut()
                .map(|row| mem::replace(&mut row.values[slot], Value::Null))
                .collect(),
        );
    }
    if !names.iter().any(|name| name == EVENT_TIME) {
        names.push(EVENT_TIME.to_owned());
        columns.push(rows.iter().map(|row| Value::Timestamp(row.event_time)).collect());
    }
    let at: Vec<Timestamp> = rows.iter().map(|row| row.at).collect();
    let Spine::View { timestamp, .. } = &spec.spine else {
        return Err(Failure::internal("reading a spine", "it is not a view"));
    };
    let label = spec
        .label
        .as_ref()
        .map(|name| label_column(view, name))
        .transpose()?;
    let timestamp = timestamp.clone().unwrap_or_else(|| EVENT_TIME.to_owned());
    let table = TableRows::new("spine", names, columns)?;
    Ok(Examples {
        table,
        at,
        keys,
        timestamp,
        label,
    })
}

fn label_column(view: &InstalledView, name: &str) -> Result<ExampleColumn, Failure> {
    let column = view.definition.columns.iter().find(|column| column.name == name);
    let column = column.ok_or_else(|| {
        Failure::invalid(
            "label",
            format!("view `{}` has no column `{name}`", view.definition.name),
        )
    })?;
    Ok(ExampleColumn {
        name: name.to_owned(),
        data_type: column.data_type,
    })
}
