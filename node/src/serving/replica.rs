//! A replica: an actor that scores one request after the other with the version that the request came for.
//!
//! Invariants: a request that nobody waits for any more is not scored; what is answered is counted, what is not
//! answered is not. A panic while scoring ends the actor; its supervisor starts another one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use covey_ml::frame::Frame;
use covey_state::Timestamp;
use covey_state::registry::VersionId;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::admission::Permit;
use super::board::{Seat, Slot};
use super::cache::{self, Cache};
use super::loaded::Loaded;
use crate::context::Context;
use crate::drift::{self, Served};
use crate::error::Failure;

/// Rows up to which a request is scored on the spot and through the cache; more go to the compute pool, past the cache.
const ROWS_INLINE_MAX: usize = 16;

/// The actor.
pub(super) struct Replica;

/// What it is started with.
pub(super) struct Start {
    pub(super) context: Context,
    pub(super) deployment: String,
    pub(super) slot: Arc<Slot>,
    pub(super) seat: Arc<Seat>,
}

/// One request.
pub(super) struct Work {
    /// The version that scores it.
    pub(super) loaded: Arc<Loaded>,
    /// The model's inputs.
    pub(super) inputs: Arc<Frame>,
    /// The event time of each row, or of all of them.
    pub(super) at: Vec<Timestamp>,
    /// The ids to log predictions under, or none.
    pub(super) ids: Vec<String>,
    /// When the answer is of no more use.
    pub(super) deadline: Instant,
    /// The span of the request, for log lines.
    pub(super) span: Span,
    /// Its place in the queue.
    pub(super) permit: Permit,
    /// Where the answer goes.
    pub(super) reply: RpcReplyPort<Result<Scored, Failure>>,
}

/// The answer to one request.
#[derive(Debug)]
pub(super) struct Scored {
    /// One per row.
    pub(super) predictions: Vec<f64>,
    /// How many of them came from the cache.
    pub(super) cached: u32,
}

/// What a replica keeps.
pub(super) struct Kept {
    start: Start,
    /// Of this version.
    cache: (VersionId, Cache),
}

impl Actor for Replica {
    type Msg = Work;
    type State = Kept;
    type Arguments = Start;

    async fn pre_start(&self, _myself: ActorRef<Work>, start: Start) -> Result<Kept, ActorProcessingErr> {
        Ok(Kept {
            start,
            cache: (VersionId::default(), Cache::default()),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Work>,
        work: Work,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        if work.reply.is_closed() || work.deadline <= Instant::now() {
            return Ok(());
        }
        let scored = kept.score(&work).instrument(work.span.clone()).await;
        // Whoever has given up meanwhile asks another replica, which counts.
        let is_wanted = !work.reply.is_closed() && Instant::now() < work.deadline;
        if let Some(scored) = scored.as_ref().ok().filter(|_| is_wanted) {
            kept.count(&work, scored);
        }
        // The place in the queue is free before the caller can ask again.
        drop(work.permit);
        // A caller that has gone away meanwhile needs no answer.
        let _ = work.reply.send(scored);
        Ok(())
    }
}

impl Kept {
    async fn score(&mut self, work: &Work) -> Result<Scored, Failure> {
        fail::fail_point!("serving::score");
        let (loaded, inputs) = (Arc::clone(&work.loaded), Arc::clone(&work.inputs));
        if inputs.rows() <= ROWS_INLINE_MAX {
            return self.score_through_cache(&loaded, &inputs);
        }
        let predictions = self
            .start
            .context
            .compute
            .run(move || loaded.model.predict(&inputs))
            .await;
        Ok(Scored {
            predictions: predictions.map_err(unfit)?,
            cached: 0,
        })
    }

    fn score_through_cache(&mut self, loaded: &Loaded, inputs: &Frame) -> Result<Scored, Failure> {
        if self.cache.0 != loaded.id {
            self.cache = (loaded.id.clone(), Cache::default());
        }
        let cache = &mut self.cache.1;
        let vectors: Vec<_> = (0..inputs.rows()).map(|row| cache::vector(inputs, row)).collect();
        let known: Vec<Option<f64>> = vectors.iter().map(|vector| cache.get(vector)).collect();
        let missing: Vec<bool> = known.iter().map(Option::is_none).collect();
        let asked = inputs.keep(&missing).map_err(unfit)?;
        let answers = if asked.rows() == 0 {
            Vec::new()
        } else {
            loaded.model.predict(&asked).map_err(unfit)?
        };
        let cached = inputs.rows() - answers.len();
        let mut answers = answers.into_iter();
        let mut predictions = Vec::with_capacity(known.len());
        for (known, vector) in known.into_iter().zip(vectors) {
            predictions.push(match known {
                Some(prediction) => prediction,
                None => {
                    let prediction = answers
                        .next()
                        .expect("the model answers every row it is asked for");
                    cache.put(vector, prediction);
                    prediction
                }
            });
        }
        Ok(Scored {
            predictions,
            cached: u32::try_from(cached).unwrap_or(u32::MAX),
        })
    }

    fn count(&self, work: &Work, scored: &Scored) {
        let Start {
            context,
            deployment,
            slot,
            seat,
        } = &self.start;
        let (rows, predictions) = (scored.predictions.len() as u64, &scored.predictions);
        seat.predictions.fetch_add(rows, Ordering::Relaxed);
        let (measured, version) = (&context.metrics.serving, work.loaded.version.number.to_string());
        measured
            .predictions
            .with_label_values(&[deployment, &version])
            .inc_by(rows);
        measured
            .cache_hits
            .with_label_values(&[deployment])
            .inc_by(u64::from(scored.cached));
        let served = Served {
            version: &work.loaded.id,
            profile: work.loaded.profile.as_ref(),
            inputs: &work.inputs,
            predictions,
            at: &work.at,
            ids: &work.ids,
            window_micros: slot.window_micros(),
        };
        if slot.tally.count(&served) {
            drift::flush_soon(context, deployment);
        }
    }
}

fn unfit(error: covey_ml::Error) -> Failure {
    Failure::invalid("rows", error.to_string())
}
