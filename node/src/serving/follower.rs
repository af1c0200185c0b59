//! Follows a deployment's target: an actor that notices when it means another version, loads that one aside, and
//! switches when it is ready.
//!
//! Invariants: while a version is being loaded, or if it cannot be, the one before goes on answering; an alias is never
//! followed backwards, whatever a replica that lags may say.

use std::sync::Arc;
use std::time::Duration;

use covey_cluster::Consistency;
use covey_state::deployment::{Deployment, Target};
use covey_state::{Key, Record, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef, cast};
use tokio::time::Instant;

use super::board::Slot;
use super::loaded;
use crate::api::Caller;
use crate::context::Context;
use crate::error::{Failure, chain};
use crate::registry;

/// How often it is looked whether the model's group has moved; if it has not, that costs one comparison.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The target is resolved again after this long even if nothing here says that it has moved.
const RESOLVE_WITHIN: Duration = Duration::from_millis(500);
/// The pause after a version could not be loaded.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How long one look at the target may take.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// The actor.
pub(super) struct Follower;

/// Look whether the target has moved.
pub(super) struct Look;

/// What it is started with.
pub(super) struct Start {
    pub(super) context: Context,
    pub(super) slot: Arc<Slot>,
}

/// What it knows.
pub(super) struct Known {
    start: Start,
    /// The spec, the applied index and the time of the last look that found everything as it should be.
    settled: Option<(Deployment, Option<u64>, Instant)>,
    /// When the alias was last moved, as far as is known.
    moved_at: Timestamp,
    not_before: Instant,
}

impl Actor for Follower {
    type Msg = Look;
    type State = Known;
    type Arguments = Start;

    async fn pre_start(&self, myself: ActorRef<Look>, start: Start) -> Result<Known, ActorProcessingErr> {
        cast!(myself, Look)?;
        Ok(Known {
            start,
            settled: None,
            moved_at: Timestamp::MIN,
            not_before: Instant::now(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Look>,
        _look: Look,
        known: &mut Known,
    ) -> Result<(), ActorProcessingErr> {
        known.look().await;
        // Only now: looks that take longer than their interval would pile up.
        myself.send_after(LOOK_EVERY, || Look);
        Ok(())
    }
}

impl Known {
    async fn look(&mut self) {
        let now = Instant::now();
        let spec = self.start.slot.spec();
        let ledger = &self.start.context.ledger;
        let applied = ledger
            .applied(ledger.group_of_name(&spec.model))
            .map(|applied| *applied.borrow());
        let settled = self.settled.as_ref().is_some_and(|(last, index, at)| {
            *last == spec && *index == applied && now < *at + RESOLVE_WITHIN
        });
        if settled || now < self.not_before {
            return;
        }
        match self.follow(&spec).await {
            Ok(()) => self.settled = Some((spec, applied, now)),
            Err(error) => {
                tracing::warn!(
                    deployment = spec.name,
                    error = chain(&error),
                    "version not loaded"
                );
                self.start.slot.set_error(chain(&error));
                self.not_before = Instant::now() + RETRY_PAUSE;
            }
        }
    }

    async fn follow(&mut self, spec: &Deployment) -> Result<(), Failure> {
        let context = &self.start.context;
        let caller = Caller::internal("serving").by_deadline(Instant::now() + RESOLVE_LIMIT);
        let number = match &spec.target {
            Target::Version(number) => *number,
            Target::Alias(alias) => {
                let (number, moved_at) = pointed_to(context, &caller, &spec.model, alias).await?;
                if moved_at < self.moved_at && self.settled.as_ref().is_some_and(|(last, ..)| last == spec) {
                    return Ok(());
                }
                self.moved_at = moved_at;
                number
            }
        };
        let slot = &self.start.slot;
        let serving = slot
            .loaded()
            .map(|loaded| (loaded.version.model.clone(), loaded.version.number));
        if serving == Some((spec.model.clone(), number)) {
            slot.set_error(String::new());
            return Ok(());
        }
        let version = registry::version(context, &caller, &spec.model, number).await?;
        let loaded = loaded::load(context, version).await?;
        tracing::info!(
            deployment = spec.name,
            model = spec.model,
            version = number,
            "version is ready"
        );
        slot.switch(loaded);
        Ok(())
    }
}

/// The version that an alias points to as the nearest replica of its group knows it, and since when.
async fn pointed_to(
    context: &Context,
    caller: &Caller,
    model: &str,
    alias: &str,
) -> Result<(u64, Timestamp), Failure> {
    let group = context.ledger.group_of_name(model);
    let key = Key::Alias(model.to_owned(), alias.to_owned());
    match context.ledger.get(caller, group, key, Consistency::Local).await? {
        Some(Record::AliasMove(last)) => match last.version {
            Some(number) => Ok((number, last.at)),
            None => Err(Failure::not_found("alias", format!("{model}@{alias}"))),
        },
        _ => Err(Failure::not_found("alias", format!("{model}@{alias}"))),
    }
}
