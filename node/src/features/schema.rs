//! Which schema of a view is in use: the newest one that every data group knows.

use std::sync::Arc;

use covey_cluster::Consistency;
use covey_state::catalog::{InstalledView, Phase};
use covey_state::{Key, Record};

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;

/// The schema of a view that rows are written and read with.
///
/// While a new version is being installed that is the one before it; a view that is new altogether has to wait.
pub(crate) async fn usable(
    ctx: &Context,
    caller: &Caller,
    name: &str,
) -> Result<Arc<InstalledView>, Failure> {
    let catalog = ctx.catalog.current();
    let view = catalog
        .views
        .get(name)
        .ok_or_else(|| Failure::not_found("view", name))?;
    match (view.phase, view.schema_version) {
        (Phase::Active, _) => Ok(Arc::new(view.clone())),
        (Phase::Installing, 0 | 1) => Err(Failure::unavailable(format!(
            "view `{name}`, whose schema is being installed,"
        ))),
        (Phase::Installing, newest) => version(ctx, caller, view, newest - 1).await,
    }
}

/// A view's schema at one version, as the groups of its namespace know it.
pub(crate) async fn version(
    ctx: &Context,
    caller: &Caller,
    view: &InstalledView,
    schema_version: u32,
) -> Result<Arc<InstalledView>, Failure> {
    let group = view.span.iter().find(|group| ctx.ledger.hosts(*group));
    let group = group
        .or_else(|| view.span.iter().next())
        .expect("a namespace has groups");
    let key = Key::Schema(view.id, schema_version);
    match ctx.ledger.get(caller, group, key, Consistency::Local).await? {
        Some(Record::View(view)) => Ok(Arc::new(view)),
        _ => Err(Failure::not_found(
            "schema version",
            format!("{} version {schema_version}", view.id),
        )),
    }
}
