//! One actor per node that keeps a runner for every open run in the groups that this node leads.

use std::collections::BTreeMap;
use std::time::Duration;

use covey_cluster::Consistency;
use covey_state::{GroupId, Key};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent, cast};

use super::run::{GoOn, Runner, Running};
use crate::api::Caller;
use crate::context::Context;
use crate::error::chain;
use crate::ledger::{LedGroups, same_kind};

/// How often the groups are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The actor.
pub(super) struct Driver;

/// Look whether there is anything to do.
pub(super) struct Look;

/// What it knows.
pub(super) struct State {
    context: Context,
    groups: LedGroups,
    runners: BTreeMap<(String, u64), ActorRef<GoOn>>,
}

impl Actor for Driver {
    type Msg = Look;
    type State = State;
    type Arguments = Context;

    async fn pre_start(&self, myself: ActorRef<Look>, context: Context) -> Result<State, ActorProcessingErr> {
        cast!(myself, Look)?;
        Ok(State {
            groups: LedGroups::new(context.ledger.clone()),
            context,
            runners: BTreeMap::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Look>,
        _look: Look,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        if !state.context.catalog.current().pipelines.is_empty() {
            for group in state.groups.look() {
                for run in state.open(group).await {
                    state.drive(&myself, run).await;
                }
            }
        }
        // Only now: looks that take longer than their interval would pile up.
        myself.send_after(LOOK_EVERY, || Look);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Look>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let ended = match event {
            SupervisionEvent::ActorTerminated(actor, ..) => actor.get_id(),
            SupervisionEvent::ActorFailed(actor, error) => {
                tracing::error!(%error, "pipeline runner failed");
                actor.get_id()
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        state.runners.retain(|_, runner| runner.get_id() != ended);
        Ok(())
    }
}

impl State {
    async fn open(&self, group: GroupId) -> Vec<(String, u64)> {
        let caller = Caller::internal("pipeline driver");
        let from = Key::OpenRun(String::new(), 0);
        let ledger = &self.context.ledger;
        let open = ledger
            .scan_all(&caller, group, from, same_kind, Consistency::Local)
            .await;
        let run = |(key, _)| match key {
            Key::OpenRun(name, number) => Some((name, number)),
            _ => None,
        };
        match open {
            Ok(open) => open.into_iter().filter_map(run).collect(),
            Err(error) => {
                tracing::warn!(%group, error = chain(&error), "open runs not looked at; it is tried again");
                Vec::new()
            }
        }
    }

    async fn drive(&mut self, myself: &ActorRef<Look>, run: (String, u64)) {
        if self.runners.contains_key(&run) {
            return;
        }
        let running = Running {
            context: self.context.clone(),
            pipeline: run.0.clone(),
            number: run.1,
        };
        match Actor::spawn_linked(None, Runner, running, myself.get_cell()).await {
            Ok((runner, _)) => {
                self.runners.insert(run, runner);
            }
            Err(error) => tracing::warn!(pipeline = run.0, %error, "pipeline runner not started"),
        }
    }
}
