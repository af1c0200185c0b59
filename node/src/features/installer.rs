//! The schema installer: on the leader of control, gives every data group of a namespace the schemas that control has accepted for it, and
//! then tells control that they may be used.
//!
//! Invariant: a view becomes active only after every group of its namespace has logged its schema. Doing it twice changes nothing.

use std::time::Duration;

use covey_state::catalog::{InstalledView, Phase};
use covey_state::{Command, GroupId};
use futures::future::try_join_all;
use tokio_util::sync::CancellationToken;

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;

/// How often it looks, besides whenever the catalog changes.
const TICK: Duration = Duration::from_secs(1);

/// Runs until it is stopped.
pub(crate) async fn run(ctx: Context, stop: CancellationToken) {
    let mut changes = ctx.catalog.changes();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
        if ctx.ledger.leads(GroupId::CONTROL) {
            install_all(&ctx).await;
        }
    }
}

async fn install_all(ctx: &Context) {
    let catalog = ctx.catalog.current();
    for view in catalog
        .views
        .values()
        .filter(|view| view.phase == Phase::Installing)
    {
        let (name, version) = (&view.definition.name, view.schema_version);
        match install(ctx, view).await {
            Ok(()) => tracing::info!(view = %name, version, "schema is installed"),
            // The next tick tries again.
            Err(failure) => tracing::warn!(view = %name, version, %failure, "schema is not installed yet"),
        }
    }
}

async fn install(ctx: &Context, view: &InstalledView) -> Result<(), Failure> {
    let caller = &Caller::internal("schema-installer");
    try_join_all(view.span.iter().map(|group| {
        ctx.ledger
            .ask_unique(caller, group, Command::InstallSchema(view.clone()))
    }))
    .await?;
    let activate = Command::ActivateView {
        name: view.definition.name.clone(),
        schema_version: view.schema_version,
    };
    ctx.ledger.ask_unique(caller, GroupId::CONTROL, activate).await?;
    Ok(())
}
