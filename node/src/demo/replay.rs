//! Replaying a stretch of time: first what became known is pushed, then the flights that were due are asked about, each
//! as of its own scheduled departure, so that nothing later can be seen.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use covey_proto::v1;
use futures::future::{try_join, try_join_all};

use super::fleet::Fleet;
use super::flights::Flight;
use super::rows::{self, Stream};
use super::tally::{Asked, Model, is_sampled};
use super::timeline::Stretch;

/// Rows in one push.
const PUSH_ROWS_MAX: usize = 4_000;
/// Flights in one prediction request.
const PREDICT_ROWS_MAX: usize = 200;

/// The flights of a request and its answer.
pub(super) type Answered<'s> = (Vec<&'s Flight>, Asked);

/// Feeds the cluster and asks it.
pub(super) struct Replay {
    fleet: Fleet,
    sequences: BTreeMap<Stream, u64>,
    /// Per group, the log index of the newest acknowledged rows: every question sees at least that.
    acknowledged: BTreeMap<u64, u64>,
}

/// A push on its way, with the number of rows in it.
pub(super) struct Batch {
    request: v1::PushRequest,
    offered: usize,
}

impl Replay {
    /// A replay that has not begun.
    pub(super) fn new(fleet: Fleet) -> Self {
        Self {
            fleet,
            sequences: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
        }
    }

    /// What became known in a stretch, as numbered pushes.
    pub(super) fn batches(&mut self, stretch: &Stretch<'_>) -> Vec<Batch> {
        let mut batches = Vec::new();
        for hours in stretch.weather.chunks(PUSH_ROWS_MAX) {
            batches.push(self.batch(Stream::Weather, rows::weather(hours), hours.len()));
        }
        for flights in stretch.departed.chunks(PUSH_ROWS_MAX) {
            batches.push(self.batch(
                Stream::OriginDepartures,
                rows::origin_departures(flights),
                flights.len(),
            ));
        }
        for flights in stretch.landed.chunks(PUSH_ROWS_MAX) {
            batches.push(self.batch(
                Stream::CarrierArrivals,
                rows::carrier_arrivals(flights),
                flights.len(),
            ));
            batches.push(self.batch(Stream::TailArrivals, rows::tail_arrivals(flights), flights.len()));
            batches.push(self.batch(
                Stream::FlightOutcomes,
                rows::flight_outcomes(flights),
                flights.len(),
            ));
        }
        batches
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

    /// Pushes everything. Returns when it is acknowledged, with the moment.
    pub(super) async fn push(&self, batches: &[Batch]) -> Result<(Vec<(usize, v1::PushReply)>, Instant)> {
        let pushes = batches.iter().map(|batch| async {
            Ok::<_, anyhow::Error>((batch.offered, push(&self.fleet, &batch.request).await?))
        });
        let replies = try_join_all(pushes).await?;
        Ok((replies, Instant::now()))
    }

    /// Remembers where acknowledged rows are in the log, so that later questions see them on whatever node they reach.
    pub(super) fn acknowledge(&mut self, replies: &[(usize, v1::PushReply)]) {
        for position in replies.iter().flat_map(|(_, reply)| &reply.positions) {
            let newest = self.acknowledged.entry(position.group).or_insert(0);
            *newest = position.index.max(*newest);
        }
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
    async fn predict<'s>(&self, stretch: &Stretch<'s>) -> Result<Vec<Answered<'s>>> {
        let asked = stretch.scheduled.chunks(PREDICT_ROWS_MAX).map(|due| async move {
            let flights: Vec<&Flight> = due.iter().collect();
            let asked = try_join_all(Model::ALL.map(|model| self.ask(model, &flights))).await?;
            Ok::<_, anyhow::Error>(
                asked
                    .into_iter()
                    .map(|asked| (flights.clone(), asked))
                    .collect::<Vec<_>>(),
            )
        });
        Ok(try_join_all(asked).await?.into_iter().flatten().collect())
    }

    /// Tells the deployment that retrains what became of the flights that have landed.
    pub(super) async fn label(&self, stretch: &Stretch<'_>) -> Result<()> {
        let label = |flight: &&Flight| {
            flight.late().map(|late| v1::Label {
                id: flight.id.clone(),
                label: f64::from(u8::from(late)),
            })
        };
        let labels: Vec<v1::Label> = stretch.landed.iter().filter_map(label).collect();
        for labels in labels.chunks(PUSH_ROWS_MAX) {
            let request_id = uuid::Uuid::new_v4().into_bytes().to_vec();
            let request = v1::RecordLabelsRequest {
                deployment: Model::Retrained.deployment().to_owned(),
                labels: labels.to_vec(),
                request_id: request_id.into(),
            };
            self.fleet
                .ask(|connection| {
                    let request = request.clone();
                    async move { connection.monitoring().record_labels(request).await }
                })
                .await
                .context("recording labels")?;
        }
        Ok(())
    }

    /// Records the labels of a stretch and asks about the flights that were due in it.
    pub(super) async fn ask_and_label<'s>(&self, stretch: &Stretch<'s>) -> Result<Vec<Answered<'s>>> {
        try_join(self.label(stretch), self.predict(stretch))
            .await
            .map(|((), answered)| answered)
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
        let reply = self
            .fleet
            .ask(|connection| {
                let request = request.clone();
                async move { connection.serving().predict(request).await }
            })
            .await
            .with_context(|| format!("predicting with {}", model.deployment()))?;
        Ok(Asked {
            model,
            took: started.elapsed(),
            reply: reply.into_inner(),
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
