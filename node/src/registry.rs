//! The model registry over the ledger: a model, its versions and its aliases live in the group of the model's name.

mod check;

use std::collections::BTreeMap;

use covey_cluster::Consistency;
use covey_state::answer::Answer;
use covey_state::registry::{AliasMove, Model, ModelVersion, VersionSpec};
use covey_state::{Command, Key, Record, RequestId, Timestamp};

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;

/// Where an alias is to point, and what it must point to now.
#[derive(Debug, Clone)]
pub struct AliasChange {
    /// The model.
    pub model: String,
    /// The alias.
    pub alias: String,
    /// The version to point to; `None` takes the alias away.
    pub version: Option<u64>,
    /// What it must point to now: `Some(None)` means nothing, `None` anything.
    pub expected: Option<Option<u64>>,
    /// Why, for people.
    pub reason: String,
}

/// Registers a model; one that is there already stays as it is.
pub async fn create_model(
    context: &Context,
    caller: &Caller,
    name: &str,
    description: &str,
) -> Result<Model, Failure> {
    create_model_as(context, caller, caller.next_request_id(), (name, description)).await
}

/// The same under a request id of the caller's own.
pub async fn create_model_as(
    context: &Context,
    caller: &Caller,
    id: RequestId,
    (name, description): (&str, &str),
) -> Result<Model, Failure> {
    if let Ok(model) = model(context, caller, name).await {
        return Ok(model);
    }
    let command = Command::CreateModel {
        name: name.to_owned(),
        description: description.to_owned(),
    };
    let ledger = &context.ledger;
    ledger
        .ask(caller, ledger.group_of_name(name), id, command)
        .await?;
    model(context, caller, name).await
}

/// A model.
pub async fn model(context: &Context, caller: &Caller, name: &str) -> Result<Model, Failure> {
    match get(context, caller, name, Key::Model(name.to_owned())).await? {
        Some(Record::Model(model)) => Ok(model),
        _ => Err(Failure::not_found("model", name)),
    }
}

/// Every model with its aliases.
pub async fn models(
    context: &Context,
    caller: &Caller,
) -> Result<Vec<(Model, BTreeMap<String, u64>)>, Failure> {
    let from = Key::Model(String::new());
    let found = context.ledger.list(caller, from).await?;
    let mut listed = Vec::new();
    for (_, record) in found {
        if let Record::Model(model) = record {
            let aliases = aliases(context, caller, &model.name).await?;
            listed.push((model, aliases));
        }
    }
    listed.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    Ok(listed)
}

/// The aliases of a model and the versions they point to.
pub async fn aliases(
    context: &Context,
    caller: &Caller,
    model: &str,
) -> Result<BTreeMap<String, u64>, Failure> {
    let from = Key::Alias(model.to_owned(), String::new());
    let found = context.ledger.list(caller, from).await?;
    let pointing = found.into_iter().filter_map(|(key, record)| match (key, record) {
        (Key::Alias(_, alias), Record::AliasMove(last)) => last.version.map(|version| (alias, version)),
        _ => None,
    });
    Ok(pointing.collect())
}

/// Registers a version once everything about it has been checked; repeating `id` gives the same number.
pub async fn create_version(
    context: &Context,
    caller: &Caller,
    id: RequestId,
    (model, spec): (&str, VersionSpec),
) -> Result<ModelVersion, Failure> {
    check::version(context, &spec).await?;
    let group = context.ledger.group_of_name(model);
    let command = Command::CreateVersion {
        model: model.to_owned(),
        spec,
    };
    match context.ledger.ask(caller, group, id, command).await?.answer {
        Answer::Number(number) => version(context, caller, model, number).await,
        other => Err(Failure::internal(
            "registering a version",
            format!("unexpected answer {other:?}"),
        )),
    }
}

/// A version by its number.
pub async fn version(
    context: &Context,
    caller: &Caller,
    model: &str,
    number: u64,
) -> Result<ModelVersion, Failure> {
    match get(
        context,
        caller,
        model,
        Key::ModelVersion(model.to_owned(), number),
    )
    .await?
    {
        Some(Record::ModelVersion(version)) => Ok(version),
        _ => Err(Failure::not_found("model version", format!("{model}@{number}"))),
    }
}

/// All versions of a model, oldest first.
pub async fn versions(context: &Context, caller: &Caller, model: &str) -> Result<Vec<ModelVersion>, Failure> {
    let from = Key::ModelVersion(model.to_owned(), 0);
    let found = context.ledger.list(caller, from).await?;
    let versions = found.into_iter().filter_map(|(_, record)| match record {
        Record::ModelVersion(version) => Some(version),
        _ => None,
    });
    Ok(versions.collect())
}

/// The version that an alias points to, if any.
pub async fn alias(
    context: &Context,
    caller: &Caller,
    model: &str,
    alias: &str,
) -> Result<Option<u64>, Failure> {
    match get(
        context,
        caller,
        model,
        Key::Alias(model.to_owned(), alias.to_owned()),
    )
    .await?
    {
        Some(Record::AliasMove(last)) => Ok(last.version),
        _ => Ok(None),
    }
}

/// The version that an alias points to.
pub async fn by_alias(
    context: &Context,
    caller: &Caller,
    model: &str,
    name: &str,
) -> Result<ModelVersion, Failure> {
    match alias(context, caller, model, name).await? {
        Some(number) => version(context, caller, model, number).await,
        None => Err(Failure::not_found("alias", format!("{model}@{name}"))),
    }
}

/// Moves an alias by compare-and-set.
pub async fn set_alias(context: &Context, caller: &Caller, change: AliasChange) -> Result<(), Failure> {
    set_alias_as(context, caller, caller.next_request_id(), change).await
}

/// Moves an alias under a request id of the caller's choice, so that a repeat changes nothing.
pub async fn set_alias_as(
    context: &Context,
    caller: &Caller,
    id: RequestId,
    change: AliasChange,
) -> Result<(), Failure> {
    let group = context.ledger.group_of_name(&change.model);
    let AliasChange {
        model,
        alias,
        version,
        expected,
        reason,
    } = change;
    let command = Command::SetAlias {
        model,
        alias,
        version,
        expected,
        reason,
    };
    context.ledger.ask(caller, group, id, command).await.map(|_| ())
}

/// Every move of an alias, oldest first.
pub async fn alias_history(
    context: &Context,
    caller: &Caller,
    model: &str,
    alias: &str,
) -> Result<Vec<AliasMove>, Failure> {
    let from = Key::AliasMove(model.to_owned(), alias.to_owned(), 0);
    let found = context.ledger.list(caller, from).await?;
    let moves = found.into_iter().filter_map(|(key, record)| match (key, record) {
        (Key::AliasMove(_, name, _), Record::AliasMove(moved)) if name == alias => Some(moved),
        _ => None,
    });
    Ok(moves.collect())
}

/// The move of an alias that was in force at a time, if it existed then.
pub fn in_force(moves: Vec<AliasMove>, at: Timestamp) -> Option<AliasMove> {
    let last = moves.into_iter().rfind(|moved| moved.at <= at)?;
    last.version.is_some().then_some(last)
}

async fn get(context: &Context, caller: &Caller, model: &str, key: Key) -> Result<Option<Record>, Failure> {
    let group = context.ledger.group_of_name(model);
    context
        .ledger
        .get(caller, group, key, Consistency::Linearizable)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_alias_pointed_to_at_a_time_is_its_last_move_until_then() {
        let moved = |at, version| AliasMove {
            version,
            previous: None,
            at: Timestamp::from_micros(at),
            by: "ada".to_owned(),
            reason: String::new(),
        };
        let moves = vec![
            moved(10, Some(1)),
            moved(20, Some(2)),
            moved(30, None),
            moved(40, Some(2)),
        ];
        let at = |at| in_force(moves.clone(), Timestamp::from_micros(at)).and_then(|moved| moved.version);
        assert_eq!(
            [9, 10, 19, 20, 29, 30, 40].map(at),
            [None, Some(1), Some(1), Some(2), Some(2), None, Some(2)]
        );
    }
}
