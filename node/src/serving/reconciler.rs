//! From desired state to running replicas: one actor per node that starts, stops and restarts what the catalog asks of
//! this node.
//!
//! Invariants: as many replicas run or wait to be restarted here as the placement says; a replica that fails again and
//! again is started again after pauses that grow to a bound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use covey_state::deployment::DeploymentRecord;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, cast};
use tokio::time::Instant;

use super::board::{Board, Seat, Slot, Standing};
use super::follower::{self, Follower};
use super::replica::{self, Replica};
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::drift::window_micros_of;

/// How often desired state is compared with what runs; if nothing has changed that costs next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The pause before the first restart; each further one is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A replica that has run for this long is not held to its past failures.
const FORGIVEN_AFTER: Duration = Duration::from_secs(60);

/// The actor.
pub(super) struct Reconciler;

/// What can be asked of it.
pub(super) enum Message {
    /// Compare what is wanted with what runs.
    Look,
    /// Show what runs.
    Show(RpcReplyPort<Board>),
}

/// What it knows.
pub(super) struct Running {
    context: Context,
    board: Board,
    children: BTreeMap<ActorId, Child>,
    followers: BTreeMap<String, ActorCell>,
    /// Failures of a seat, by its address: it is the same seat as long as it is in a slot.
    failures: BTreeMap<usize, Failures>,
}

enum Child {
    Follower(String),
    Replica(Arc<Seat>),
}

struct Failures {
    in_a_row: u32,
    started: Instant,
    not_before: Instant,
}

impl Actor for Reconciler {
    type Msg = Message;
    type State = Running;
    type Arguments = (Context, Board);

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        (context, board): (Context, Board),
    ) -> Result<Running, ActorProcessingErr> {
        // What an earlier life of this actor ran ended with it; what it had counted is still to be flushed.
        board.slots().into_iter().for_each(|(name, _)| board.close(&name));
        cast!(myself, Message::Look)?;
        Ok(Running {
            context,
            board,
            children: BTreeMap::new(),
            followers: BTreeMap::new(),
            failures: BTreeMap::new(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Look => {
                running.reconcile(&myself.get_cell()).await;
                // Only now: looks that take longer than their interval would pile up.
                myself.send_after(LOOK_EVERY, || Message::Look);
            }
            // Whoever asked may have gone away.
            Message::Show(reply) => drop(reply.send(running.board.clone())),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Message>,
        event: SupervisionEvent,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => running.ended(actor.get_id(), &error.to_string()),
            SupervisionEvent::ActorTerminated(actor, ..) => running.ended(actor.get_id(), "it ended"),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl Running {
    async fn reconcile(&mut self, myself: &ActorCell) {
        let catalog = self.context.catalog.current();
        for (name, _) in self.board.slots() {
            let record = catalog.deployments.get(&name);
            if record.is_none_or(|record| self.wanted(record) == 0) {
                self.close(&name);
            }
        }
        for record in catalog.deployments.values() {
            let wanted = self.wanted(record);
            if wanted > 0 {
                self.run(myself, &catalog, record, wanted).await;
            }
        }
    }

    /// How many replicas of a deployment belong on this node.
    fn wanted(&self, record: &DeploymentRecord) -> usize {
        let node = self.context.ledger.node();
        record.placement.iter().filter(|placed| **placed == node).count()
    }

    async fn run(
        &mut self,
        myself: &ActorCell,
        catalog: &CatalogCopy,
        record: &DeploymentRecord,
        wanted: usize,
    ) {
        let name = &record.spec.name;
        let slot = self
            .board
            .slot(name)
            .unwrap_or_else(|| self.board.open(record.spec.clone()));
        slot.set_spec(&record.spec, record.revision);
        slot.set_window_micros(window_micros_of(catalog, name));
        for seat in slot.resize(wanted) {
            self.stop(&seat);
        }
        if !self.followers.contains_key(name) {
            self.start_follower(myself, name, &slot).await;
        }
        for seat in slot.seats() {
            if !matches!(seat.standing(), Standing::Running(_)) && self.may_start(&seat) {
                self.start_replica(myself, name, &slot, seat).await;
            }
        }
        let waiting = i64::from(slot.waiting());
        self.context
            .metrics
            .serving
            .queue_depth
            .with_label_values(&[name])
            .set(waiting);
    }

    async fn start_follower(&mut self, myself: &ActorCell, name: &str, slot: &Arc<Slot>) {
        let start = follower::Start {
            context: self.context.clone(),
            slot: Arc::clone(slot),
        };
        match Actor::spawn_linked(None, Follower, start, myself.clone()).await {
            Ok((actor, _)) => {
                self.children
                    .insert(actor.get_id(), Child::Follower(name.to_owned()));
                self.followers.insert(name.to_owned(), actor.get_cell());
            }
            Err(error) => tracing::error!(deployment = name, %error, "follower not started"),
        }
    }

    async fn start_replica(&mut self, myself: &ActorCell, name: &str, slot: &Arc<Slot>, seat: Arc<Seat>) {
        let start = replica::Start {
            context: self.context.clone(),
            deployment: name.to_owned(),
            slot: Arc::clone(slot),
            seat: Arc::clone(&seat),
        };
        let now = Instant::now();
        if let Some(failures) = self.failures.get_mut(&address(&seat)) {
            failures.started = now;
            seat.restarts.fetch_add(1, Ordering::Relaxed);
            self.context
                .metrics
                .serving
                .restarts
                .with_label_values(&[name])
                .inc();
        }
        match Actor::spawn_linked(None, Replica, start, myself.clone()).await {
            Ok((actor, _)) => {
                self.children
                    .insert(actor.get_id(), Child::Replica(Arc::clone(&seat)));
                seat.stand(Standing::Running(actor));
            }
            Err(error) => self.failed(&seat, &error.to_string()),
        }
    }

    fn may_start(&self, seat: &Arc<Seat>) -> bool {
        self.failures
            .get(&address(seat))
            .is_none_or(|failures| failures.not_before <= Instant::now())
    }

    fn ended(&mut self, actor: ActorId, reason: &str) {
        match self.children.remove(&actor) {
            // The follower of a deployment that has come back meanwhile is another one, and stays.
            Some(Child::Follower(name)) => self
                .followers
                .retain(|known, follower| *known != name || follower.get_id() != actor),
            Some(Child::Replica(seat)) => {
                tracing::warn!(reason, "replica failed; it is started again");
                self.failed(&seat, reason);
            }
            // It was stopped because it is not wanted any more.
            None => {}
        }
    }

    fn failed(&mut self, seat: &Arc<Seat>, reason: &str) {
        seat.stand(Standing::Restarting(reason.to_owned()));
        let now = Instant::now();
        let fresh = Failures {
            in_a_row: 0,
            started: now,
            not_before: now,
        };
        let failures = self.failures.entry(address(seat)).or_insert(fresh);
        if failures.started + FORGIVEN_AFTER < now {
            failures.in_a_row = 0;
        }
        failures.not_before = now + pause(failures.in_a_row);
        failures.in_a_row += 1;
    }

    fn stop(&mut self, seat: &Arc<Seat>) {
        self.failures.remove(&address(seat));
        self.children
            .retain(|_, child| !matches!(child, Child::Replica(known) if Arc::ptr_eq(known, seat)));
        if let Standing::Running(actor) = seat.standing() {
            actor.stop(None);
        }
    }

    fn close(&mut self, name: &str) {
        let Some(slot) = self.board.slot(name) else { return };
        for seat in slot.resize(0) {
            self.stop(&seat);
        }
        if let Some(follower) = self.followers.remove(name) {
            self.children.remove(&follower.get_id());
            follower.stop(None);
        }
        self.board.close(name);
        // A gauge of a deployment that is not here any more would stay as it was.
        let _ = self
            .context
            .metrics
            .serving
            .queue_depth
            .remove_label_values(&[name]);
        tracing::info!(deployment = name, "deployment stopped on this node");
    }
}

/// Tells the seats of one node apart.
fn address(seat: &Arc<Seat>) -> usize {
    Arc::as_ptr(seat).addr()
}

/// The pause after that many failures in a row.
fn pause(in_a_row: u32) -> Duration {
    PAUSE_MIN
        .saturating_mul(2_u32.saturating_pow(in_a_row))
        .min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(pause(0), PAUSE_MIN);
        assert_eq!(pause(3), 8 * PAUSE_MIN);
        assert_eq!(pause(40), PAUSE_MAX);
    }
}
