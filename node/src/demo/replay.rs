//! Replaying a stretch of time: first what became known is pushed, then the flights that were due are asked about, each
//! as of its own scheduled departure.
//!
//! Invariants: a question is asked when every row of its past has been acknowledged, and before the landing of the flight
//! it is about has been pushed; a label is told when the prediction that it belongs to has been flushed.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use covey_proto::v1;
use futures::future::try_join_all;

use super::fleet::{Answer, Fleet};
use super::flights::Flight;
use super::rows::{self, Stream};
use super::tally::{Asked, Model, is_sampled};
use super::timeline::Stretch;

/// Rows in one push, labels in one request.
const PUSH_ROWS_MAX: usize = 4_000;
/// Flights in one prediction request.
const PREDICT_ROWS_MAX: usize = 200;
/// Outcomes are no features; so many are gathered before they are pushed.
const OUTCOMES_GATHERED: usize = 400;

/// The flights of a request and its answer.
pub(super) type Answered<'y> = (Vec<&'y Flight>, Asked);

/// Feeds the cluster and asks it.
pub(super) struct Replay<'y> {
    fleet: Fleet,
    sequences: BTreeMap<Stream, u64>,
    /// Per group, the log index of the newest acknowledged rows: every question sees at least that.
    acknowledged: BTreeMap<u64, u64>,
    /// Landed, and their outcomes not yet pushed.
    landed: Vec<&'y Flight>,
    /// Predicted and landed, and their labels not yet told.
    unlabelled: Vec<v1::Label>,
}

/// A push on its way, with the number of rows in it.
pub(super) struct Batch {
    request: v1::PushRequest,
    offered: usize,
}

/// An acknowledged push.
pub(super) struct Pushed {
    pub(super) offered: usize,
    pub(super) reply: v1::PushReply,
    pub(super) sent: Instant,
    pub(super) acknowledged: Instant,
}

impl<'y> Replay<'y> {
    /// A replay that has not begun.
    pub(super) fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            sequences: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            landed: Vec::new(),
            unlabelled: Vec::new(),
        }
    }

    /// The features that became known in a stretch, as numbered pushes.
    pub(super) fn features(&mut self, stretch: &Stretch<'y>) -> Vec<Batch> {
        let mut batches = Vec::new();
        for hours in stretch.weather.chunks(PUSH_ROWS_MAX) {
            batches.push(self.batch(Stream::Weather, rows::weather(hours), hours.len()));
        }
        for flights in stretch.departed.chunks(PUSH_ROWS_MAX) {
            let table = rows::origin_departures(flights);
            batches.push(self.batch(Stream::OriginDepartures, table, flights.len()));
        }
        for flights in stretch.landed.chunks(PUSH_ROWS_MAX) {
            let table = rows::carrier_arrivals(flights);
            batches.push(self.batch(Stream::CarrierArrivals, table, flights.len()));
            batches.push(self.batch(Stream::TailArrivals, rows::tail_arrivals(flights), flights.len()));
        }
        self.landed.extend(&stretch.landed);
        batches
    }

    /// The outcomes that have been gathered, as numbered pushes, once they are many.
    pub(super) fn outcomes(&mut self) -> Vec<Batch> {
        match self.landed.len() {
            gathered if gathered >= OUTCOMES_GATHERED => self.all_outcomes(),
            _ => Vec::new(),
        }
    }

    /// The outcomes that have been gathered, as numbered pushes.
    pub(super) fn all_outcomes(&mut self) -> Vec<Batch> {
        let landed = std::mem::take(&mut self.landed);
        let table = |flights: &[&Flight]| (rows::flight_outcomes(flights), flights.len());
        let tables: Vec<_> = landed.chunks(PUSH_ROWS_MAX).map(table).collect();
        tables
            .into_iter()
            .map(|(table, offered)| self.batch(Stream::FlightOutcomes, table, offered))
            .collect()
    }

    fn batch(&mut self, stream: Stream, table: v1::Table, offered: usize) -> Batch {
        let sequence = self.sequences.entry(stream).or_insert(0);
        *sequence += 1;
        let request = v1::PushRequest {
            view: stream.view().to_owned(),
            rows: Some(table),
            producer: format!("demo-{}", stream.view()),
            sequence: *sequence,
            request_id: Vec::new().into(),
        };
        Batch { request, offered }
    }

    /// Pushes everything; returns when all of it is acknowledged.
    pub(super) async fn push(&self, batches: &[Batch]) -> Result<Vec<Pushed>> {
        let pushes = batches.iter().map(|batch| async {
            let sent = Instant::now();
            let reply = push(&self.fleet, &batch.request).await?;
            Ok::<_, anyhow::Error>(Pushed {
                offered: batch.offered,
                reply,
                sent,
                acknowledged: Instant::now(),
            })
        });
        try_join_all(pushes).await
    }

    /// Remembers where acknowledged rows are in the log, so that later questions see them on whatever node they reach.
    pub(super) fn acknowledge(&mut self, pushed: &[Pushed]) {
        for position in pushed.iter().flat_map(|pushed| &pushed.reply.positions) {
            let newest = self.acknowledged.entry(position.group).or_insert(0);
            *newest = position.index.max(*newest);
        }
    }

    /// The groups that have acknowledged rows.
    pub(super) fn groups(&self) -> impl Iterator<Item = u64> + '_ {
        self.acknowledged.keys().copied()
    }

    fn at_least_acknowledged(&self) -> v1::Consistency {
        let position = |(group, index): (&u64, &u64)| v1::LogPosition {
            group: *group,
            index: *index,
        };
        let positions = self.acknowledged.iter().map(position).collect();
        v1::Consistency {
            kind: Some(v1::consistency::Kind::AtLeast(v1::consistency::AtLeast {
                positions,
            })),
        }
    }

    /// Asks all three models about the flights that were due in a stretch.
    pub(super) async fn predict(&self, stretch: &Stretch<'y>) -> Result<Vec<Answered<'y>>> {
        let due = stretch.scheduled.chunks(PREDICT_ROWS_MAX);
        let questions = due.flat_map(|due| Model::ALL.map(|model| (model, due.iter().collect::<Vec<_>>())));
        let asked = questions.map(|(model, flights)| async move {
            let asked = self.ask(model, &flights).await?;
            Ok::<_, anyhow::Error>((flights, asked))
        });
        try_join_all(asked).await
    }

    /// Keeps the labels of the flights that landed in a stretch and were due at or after `first`.
    pub(super) fn remember_labels(&mut self, stretch: &Stretch<'_>, first: i64) {
        let predicted = stretch.landed.iter().filter(|flight| flight.scheduled >= first);
        let label = |flight: &&Flight| {
            flight.late().map(|late| v1::Label {
                id: flight.id.clone(),
                label: f64::from(u8::from(late)),
            })
        };
        self.unlabelled.extend(predicted.filter_map(label));
    }

    /// Tells the deployment that retrains what became of the flights that have landed. Their predictions must have been
    /// flushed. Gives how many labels found their prediction and how many did not.
    pub(super) async fn label(&mut self) -> Result<(u64, u64)> {
        let (mut joined, mut unmatched) = (0, 0);
        for labels in std::mem::take(&mut self.unlabelled).chunks(PUSH_ROWS_MAX) {
            let request = v1::RecordLabelsRequest {
                deployment: Model::Retrained.deployment().to_owned(),
                labels: labels.to_vec(),
                request_id: uuid::Uuid::new_v4().into_bytes().to_vec().into(),
            };
            let reply = self
                .fleet
                .ask(|connection| {
                    let request = request.clone();
                    async move { connection.monitoring().record_labels(request).await }
                })
                .await
                .context("recording labels")?
                .into_inner();
            joined += reply.joined;
            unmatched += reply.unmatched;
        }
        Ok((joined, unmatched))
    }

    async fn ask(&self, model: Model, flights: &[&Flight]) -> Result<Asked> {
        let request = v1::PredictRequest {
            deployment: model.deployment().to_owned(),
            rows: Some(rows::questions(flights)),
            raw: false,
            as_of_micros: flights.iter().map(|flight| flight.scheduled).collect(),
            ids: flights.iter().map(|flight| flight.id.clone()).collect(),
            consistency: Some(self.at_least_acknowledged()),
            return_features: model == Model::Retrained && is_sampled(flights),
        };
        let started = Instant::now();
        let Answer { value, faults } = self
            .fleet
            .ask_and_tell(|connection| {
                let request = request.clone();
                async move { connection.serving().predict(request).await }
            })
            .await
            .with_context(|| format!("predicting with {}", model.deployment()))?;
        Ok(Asked {
            model,
            took: started.elapsed(),
            reply: value.into_inner(),
            faults,
        })
    }
}

/// Pushes one batch until it is acknowledged.
pub(super) async fn push(fleet: &Fleet, request: &v1::PushRequest) -> Result<v1::PushReply> {
    let reply = fleet
        .ask(|connection| {
            let request = request.clone();
            async move { connection.features().push(request).await }
        })
        .await
        .with_context(|| format!("pushing to {}", request.view))?;
    Ok(reply.into_inner())
}
