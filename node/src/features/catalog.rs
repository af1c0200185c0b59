//! Declaring the catalog and reading it back.

use covey_cluster::Consistency;
use covey_state::answer::Answer;
use covey_state::catalog::{Entity, FeatureService, FeatureView, InstalledView, Phase};
use covey_state::command::Removable;
use covey_state::{Command, GroupId, Key, Record};

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::ledger::same_kind;

/// What is declared together, in the order in which it is carried out.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Declarations {
    /// Entities.
    pub(crate) entities: Vec<Entity>,
    /// Views.
    pub(crate) views: Vec<FeatureView>,
    /// Services.
    pub(crate) services: Vec<FeatureService>,
}

/// The catalog as control holds it.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Declared {
    /// Entities by name.
    pub(crate) entities: Vec<Entity>,
    /// Views by name.
    pub(crate) views: Vec<InstalledView>,
    /// Services by name.
    pub(crate) services: Vec<FeatureService>,
}

/// An object that has been declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// `entity`, `view` or `service`.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// The schema version of a view, else 0.
    pub(crate) version: u64,
}

/// Declares the objects one after the other up to the first refusal, and waits until the views may be used.
pub(crate) async fn apply(
    ctx: &Context,
    caller: &Caller,
    declared: Declarations,
) -> Result<Vec<Applied>, Failure> {
    let entities = declared
        .entities
        .into_iter()
        .map(|it| ("entity", it.name.clone(), Command::PutEntity(it)));
    let views = declared
        .views
        .into_iter()
        .map(|it| ("view", it.name.clone(), Command::PutView(it)));
    let services = declared
        .services
        .into_iter()
        .map(|it| ("service", it.name.clone(), Command::PutService(it)));
    let mut applied = Vec::new();
    for (kind, name, command) in entities.chain(views).chain(services) {
        let answered = ctx.ledger.ask_unique(caller, GroupId::CONTROL, command);
        let answered = answered.await.map_err(|failure| failure.about(kind, &name))?;
        let version = match answered.answer {
            Answer::View(_, version) => u64::from(version),
            Answer::Done
            | Answer::Node(_)
            | Answer::Number(_)
            | Answer::Rows { .. }
            | Answer::Labels { .. } => 0,
        };
        applied.push(Applied { kind, name, version });
    }
    wait_until_active(ctx, caller, &applied).await?;
    Ok(applied)
}

async fn wait_until_active(ctx: &Context, caller: &Caller, applied: &[Applied]) -> Result<(), Failure> {
    let wanted: Vec<&Applied> = applied.iter().filter(|it| it.kind == "view").collect();
    let services: Vec<&Applied> = applied.iter().filter(|it| it.kind == "service").collect();
    let is_active = |view: &InstalledView, version: u64| {
        let found = u64::from(view.schema_version);
        found > version || (found == version && view.phase == Phase::Active)
    };
    ctx.catalog
        .wait_for(
            |copy| {
                wanted.iter().all(|it| {
                    copy.views
                        .get(&it.name)
                        .is_some_and(|view| is_active(view, it.version))
                }) && services.iter().all(|it| copy.services.contains_key(&it.name))
            },
            caller.deadline,
        )
        .await?;
    Ok(())
}

/// The catalog. Linearizable.
pub(crate) async fn read(ctx: &Context, caller: &Caller) -> Result<Declared, Failure> {
    let scan = async |from: Key| {
        let ledger = &ctx.ledger;
        ledger
            .scan_all(
                caller,
                GroupId::CONTROL,
                from,
                same_kind,
                Consistency::Linearizable,
            )
            .await
    };
    let mut declared = Declared::default();
    for start in [
        Key::Entity(String::new()),
        Key::View(String::new()),
        Key::Service(String::new()),
    ] {
        for (_, record) in scan(start).await? {
            match record {
                Record::Entity(entity) => declared.entities.push(entity),
                Record::View(view) => declared.views.push(view),
                Record::Service(service) => declared.services.push(service),
                other => {
                    return Err(Failure::internal(
                        "reading the catalog",
                        format!("{other:?} is not of it"),
                    ));
                }
            }
        }
    }
    Ok(declared)
}

/// Takes a service away.
pub(crate) async fn remove_service(ctx: &Context, caller: &Caller, name: String) -> Result<(), Failure> {
    let command = Command::Remove(Removable::Service, name);
    ctx.ledger
        .ask_unique(caller, GroupId::CONTROL, command)
        .await
        .map(drop)
}
