//! Sends what this node has counted through the log: an actor with one numbered delta per deployment on its way.
//!
//! Invariant: a delta keeps its number and its content until the log has it, so however often it is sent it counts once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use covey_state::Command;
use covey_state::monitor::FlushSource;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::tally::Delta;
use crate::api::Caller;
use crate::context::Context;
use crate::error::{Failure, chain};
use crate::serving;

/// How often counters are flushed.
const FLUSH_EVERY: Duration = Duration::from_secs(2);
/// How long one command may take; after that it is sent again with the next flush.
const COMMAND_LIMIT: Duration = Duration::from_secs(5);

/// The actor.
pub(super) struct Flusher;

/// What can be asked of it.
pub(super) enum Message {
    /// Flush what there is, and do so again after a while.
    FlushAll,
    /// Flush what there is of one deployment.
    Flush(String),
    /// Flush what there is, of one deployment or of all without a name, and say how many rows the log has got.
    FlushAndSay(Option<String>, RpcReplyPort<Result<u64, Failure>>),
}

/// What it knows. It outlives the actor: numbers that have been given must not be given again.
pub(super) struct Flushing {
    context: Context,
    source: FlushSource,
    /// The last number given, per deployment.
    sequences: BTreeMap<String, u64>,
    /// Numbered and not yet known to be in the log, per deployment.
    pending: BTreeMap<String, (u64, Delta)>,
}

impl Actor for Flusher {
    type Msg = Message;
    type State = Arc<Mutex<Flushing>>;
    type Arguments = Arc<Mutex<Flushing>>;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        flushing: Arc<Mutex<Flushing>>,
    ) -> Result<Self::State, ActorProcessingErr> {
        myself.send_after(FLUSH_EVERY, || Message::FlushAll);
        Ok(flushing)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        flushing: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let mut flushing = flushing.lock().await;
        match message {
            Message::FlushAll => {
                flushing.flush_or_say(None).await;
                // Only now: flushes that take longer than their interval would pile up before whoever asks.
                myself.send_after(FLUSH_EVERY, || Message::FlushAll);
            }
            Message::Flush(deployment) => flushing.flush_or_say(Some(&deployment)).await,
            Message::FlushAndSay(deployment, reply) => {
                let rows = flushing.flush(deployment.as_deref()).await;
                // Whoever asked may have gone away.
                let _ = reply.send(rows);
            }
        }
        Ok(())
    }
}

impl Flushing {
    /// The state of a node that has flushed nothing yet in this life of it.
    pub(super) fn shared(context: Context) -> Arc<Mutex<Self>> {
        let source = FlushSource {
            node: context.ledger.node(),
            incarnation: context.incarnation,
        };
        Arc::new(Mutex::new(Self {
            context,
            source,
            sequences: BTreeMap::new(),
            pending: BTreeMap::new(),
        }))
    }

    async fn flush_or_say(&mut self, asked: Option<&str>) {
        if let Err(error) = self.flush(asked).await {
            tracing::warn!(
                error = chain(&error),
                "drift counters not flushed; they are kept and sent again"
            );
        }
    }

    /// Flushes every deployment that is asked for; the first failure is told after all have had their turn.
    async fn flush(&mut self, asked: Option<&str>) -> Result<u64, Failure> {
        let board = serving::board(&self.context).await?;
        let tallies = board.tallies();
        let known = tallies
            .iter()
            .map(|(name, _)| name.clone())
            .chain(self.pending.keys().cloned());
        let names: BTreeSet<String> = known
            .filter(|name| asked.is_none_or(|asked| asked == name))
            .collect();
        let (mut rows, mut failed) = (0, None);
        for name in names {
            for (_, tally) in tallies.iter().filter(|(served, _)| *served == name) {
                let lost = tally.take_lost();
                if lost > 0 {
                    tracing::error!(
                        deployment = name,
                        lost,
                        "served rows not counted: the counters were full"
                    );
                    self.context
                        .metrics
                        .serving
                        .uncounted
                        .with_label_values(&[&name])
                        .inc_by(lost);
                }
            }
            let next = || {
                tallies
                    .iter()
                    .filter(|(served, _)| *served == name)
                    .find_map(|(_, tally)| tally.take())
            };
            match self.flush_one(&name, next).await {
                Ok(flushed) => rows += flushed,
                Err(failure) => failed = failed.or(Some(failure)),
            }
        }
        failed.map_or(Ok(rows), Err)
    }

    /// Sends what is pending, then what has been counted since.
    async fn flush_one(&mut self, name: &str, next: impl Fn() -> Option<Delta>) -> Result<u64, Failure> {
        let mut rows = 0;
        loop {
            if !self.pending.contains_key(name) {
                let Some(delta) = next() else { return Ok(rows) };
                let sequence = self.sequences.entry(name.to_owned()).or_default();
                *sequence += 1;
                self.pending.insert(name.to_owned(), (*sequence, delta));
            }
            rows += self.send(name).await?;
        }
    }

    /// Sends what is pending; it is pending no more when the log has it or will never take it.
    async fn send(&mut self, name: &str) -> Result<u64, Failure> {
        let Some((sequence, delta)) = self.pending.get(name) else {
            return Ok(0);
        };
        let rows = delta.rows;
        let command = Command::FlushDrift {
            deployment: name.to_owned(),
            source: self.source,
            sequence: *sequence,
            windows: delta.windows.clone(),
            predictions: delta.predictions.clone(),
        };
        let caller = Caller::internal("drift").by_deadline(Instant::now() + COMMAND_LIMIT);
        let ledger = &self.context.ledger;
        match ledger
            .ask_unique(&caller, ledger.group_of_name(name), command)
            .await
        {
            Ok(_) => {
                self.pending.remove(name);
                Ok(rows)
            }
            Err(Failure::Rejected(rejection)) => {
                self.pending.remove(name);
                tracing::error!(deployment = name, rows, %rejection, "drift counters refused; they are lost");
                self.context
                    .metrics
                    .serving
                    .uncounted
                    .with_label_values(&[name])
                    .inc_by(rows);
                Ok(0)
            }
            Err(failure) => Err(failure),
        }
    }
}
