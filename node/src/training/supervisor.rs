//! One actor per node that keeps a coordinator running for every unfinished job in the groups that this node leads.
//!
//! Invariant: it and the worker are started again when they fail, and what they keep can be made again.

use std::collections::BTreeMap;
use std::time::Duration;

use covey_cluster::Consistency;
use covey_state::{GroupId, Key};
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent, cast};

use super::coordinator::{Coordinator, GoOn, Start};
use super::worker::{self, Worker};
use crate::api::Caller;
use crate::context::Context;
use crate::error::{Failure, chain};
use crate::ledger::{LedGroups, same_kind};
use crate::serving::warden;

/// How often the groups are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The actor.
struct Supervisor;

/// Look whether there is anything to do.
struct Look;

/// What the supervisor knows.
struct State {
    context: Context,
    groups: LedGroups,
    coordinators: BTreeMap<String, ActorRef<GoOn>>,
}

/// Starts the worker and the supervisor of this node and keeps them running.
pub(crate) async fn spawn(context: &Context) -> Result<(), Failure> {
    let node = context.ledger.node();
    let starts = vec![
        warden::start(worker::name(context), || Worker, context.clone()),
        warden::start(format!("{node}-training"), || Supervisor, context.clone()),
    ];
    warden::keep(node, "training", starts).await
}

impl Actor for Supervisor {
    type Msg = Look;
    type State = State;
    type Arguments = Context;

    async fn pre_start(&self, myself: ActorRef<Look>, context: Context) -> Result<State, ActorProcessingErr> {
        cast!(myself, Look)?;
        Ok(State {
            groups: LedGroups::new(context.ledger.clone()),
            context,
            coordinators: BTreeMap::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Look>,
        _look: Look,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        fail::fail_point!("training::look");
        for group in state.groups.look() {
            for job in state.unfinished(group).await {
                state.coordinate(&myself, job).await;
            }
        }
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
                tracing::error!(%error, "training coordinator failed");
                actor.get_id()
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        state
            .coordinators
            .retain(|_, coordinator| coordinator.get_id() != ended);
        Ok(())
    }
}

impl State {
    async fn unfinished(&self, group: GroupId) -> Vec<String> {
        let caller = Caller::internal("training supervisor");
        let from = Key::OpenJob(String::new());
        let ledger = &self.context.ledger;
        let open = ledger
            .scan_all(&caller, group, from, same_kind, Consistency::Local)
            .await;
        let id = |(key, _)| match key {
            Key::OpenJob(id) => Some(id),
            _ => None,
        };
        match open {
            Ok(open) => open.into_iter().filter_map(id).collect(),
            Err(error) => {
                tracing::warn!(%group, error = chain(&error), "open jobs not looked at; it is tried again");
                Vec::new()
            }
        }
    }

    async fn coordinate(&mut self, myself: &ActorRef<Look>, job: String) {
        if self.coordinators.contains_key(&job) {
            return;
        }
        let start = Start {
            context: self.context.clone(),
            job: job.clone(),
        };
        match Actor::spawn_linked(None, Coordinator, start, myself.get_cell()).await {
            Ok((coordinator, _)) => {
                self.coordinators.insert(job, coordinator);
            }
            Err(error) => tracing::warn!(job, %error, "training coordinator not started"),
        }
    }
}
