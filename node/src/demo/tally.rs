//! What the demo has seen so far, counted on its own side of the wire: rows, predictions, latencies, and the samples
//! that are compared with a training set afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use covey_ml::metrics;
use covey_proto::v1;

use super::flights::Flight;
use super::replay::Pushed;
use super::timeline::month_name;

/// The first month that is predicted.
pub(super) const FIRST_MONTH: u32 = 4;
/// One in this many requests is sampled, by the hash of its first flight's id.
const SAMPLE_ONE_IN: u32 = 20;

/// The three deployments that answer every question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Model {
    /// Retrained when it drifts.
    Retrained,
    /// The first version for ever.
    Frozen,
    /// Without window features, never retrained.
    Plain,
}

impl Model {
    pub(super) const ALL: [Self; 3] = [Self::Retrained, Self::Frozen, Self::Plain];

    /// The deployment's name.
    pub(super) const fn deployment(self) -> &'static str {
        match self {
            Self::Retrained => "flight-delay",
            Self::Frozen => "flight-delay-frozen",
            Self::Plain => "flight-delay-plain",
        }
    }
}

/// Whether the features that a request was scored with are asked for, to be compared with a training set afterwards.
pub(super) fn is_sampled(flights: &[&Flight]) -> bool {
    flights
        .first()
        .is_some_and(|flight| crc32c::crc32c(flight.id.as_bytes()).is_multiple_of(SAMPLE_ONE_IN))
}

/// An answered prediction request.
pub(super) struct Asked {
    pub(super) model: Model,
    pub(super) took: Duration,
    pub(super) reply: v1::PredictReply,
    /// What nodes that were up had answered before.
    pub(super) faults: Vec<String>,
}

/// A feature vector as it was served.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) flight: Flight,
    pub(super) features: Vec<(String, v1::Value)>,
}

/// Scores and outcomes of one model in one month.
#[derive(Debug, Default)]
struct Scored {
    late: Vec<f64>,
    score: Vec<f64>,
}

/// Everything counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) offered: u64,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) predictions: u64,
    /// Rows that were refused or failed by a node that was up, not answered, or answered with no number.
    pub(super) errors: u64,
    pub(super) error_reasons: BTreeMap<String, u64>,
    /// Labels that found their prediction, and those that did not.
    pub(super) labels_joined: u64,
    pub(super) labels_unmatched: u64,
    pub(super) versions: BTreeMap<u64, u64>,
    pub(super) samples: Vec<Sample>,
    /// Month and milliseconds of every request.
    pub(super) latencies: Vec<(u32, f64)>,
    scored: BTreeMap<(Model, u32), Scored>,
}

impl Tally {
    /// Counts acknowledged pushes.
    pub(super) fn pushed(&mut self, pushed: Vec<Pushed>) {
        for Pushed { offered, reply, .. } in pushed {
            self.offered += offered as u64;
            self.accepted += reply.accepted;
            self.refused += reply.refused.len() as u64;
            for row in reply.refused {
                *self.reasons.entry(row.reason).or_default() += 1;
            }
        }
    }

    /// Counts answered predictions.
    pub(super) fn predicted(&mut self, flights: &[&Flight], asked: Asked) {
        let Asked {
            model,
            took,
            reply,
            faults,
        } = asked;
        let Some(month) = flights.first().map(|flight| flight.month) else {
            return;
        };
        for fault in faults {
            self.wrong(fault, flights.len());
        }
        self.latencies.push((month, took.as_secs_f64() * 1e3));
        self.predictions += reply.predictions.len() as u64;
        let unanswered = flights.len().saturating_sub(reply.predictions.len());
        if unanswered > 0 {
            self.wrong("rows without an answer".to_owned(), unanswered);
        }
        if model == Model::Retrained {
            *self.versions.entry(reply.version).or_default() += flights.len() as u64;
            self.sample(flights, reply.features.as_ref());
        }
        for (flight, score) in flights.iter().zip(&reply.predictions) {
            if !score.is_finite() {
                self.wrong("no number".to_owned(), 1);
            } else if let Some(late) = flight.late() {
                let scored = self.scored.entry((model, flight.month)).or_default();
                scored.late.push(f64::from(u8::from(late)));
                scored.score.push(*score);
            }
        }
    }

    fn wrong(&mut self, reason: String, rows: usize) {
        self.errors += rows as u64;
        *self.error_reasons.entry(reason).or_default() += rows as u64;
    }

    fn sample(&mut self, flights: &[&Flight], features: Option<&v1::Table>) {
        let Some(table) = features else { return };
        for (row, flight) in flights.iter().enumerate() {
            let value = |column: &v1::TableColumn| {
                (
                    column.name.clone(),
                    column.values.get(row).cloned().unwrap_or_default(),
                )
            };
            let features = table.columns.iter().map(value).collect();
            self.samples.push(Sample {
                flight: (*flight).clone(),
                features,
            });
        }
    }

    /// Area under the ROC curve by month.
    pub(super) fn auc(&self, model: Model) -> Result<BTreeMap<u32, f64>> {
        self.by_month(model, |scored| Ok(metrics::auc(&scored.late, &scored.score)?))
    }

    /// Log loss by month.
    pub(super) fn log_loss(&self, model: Model) -> Result<BTreeMap<u32, f64>> {
        self.by_month(model, |scored| {
            Ok(metrics::log_loss(&scored.late, &scored.score)?)
        })
    }

    /// How a month went, in a line.
    pub(super) fn month_line(&self, month: u32) -> Result<String> {
        // Of this month alone: the next one may have begun, with too few flights to measure anything.
        let of = |model| match self.scored.get(&(model, month)) {
            Some(scored) => metrics::auc(&scored.late, &scored.score),
            None => Ok(f64::NAN),
        };
        let [retrained, frozen, plain] = Model::ALL.map(of);
        Ok(format!(
            "{:3}  AUC {:.3}  never retrained {:.3}  without windows {:.3}  p99 {:.1} ms",
            month_name(month),
            retrained?,
            frozen?,
            plain?,
            self.latency_ms(Some(month), 0.99)
        ))
    }

    fn by_month(&self, model: Model, measure: impl Fn(&Scored) -> Result<f64>) -> Result<BTreeMap<u32, f64>> {
        let of_model = self
            .scored
            .iter()
            .filter(|((of, _), scored)| *of == model && !scored.late.is_empty());
        of_model
            .map(|((_, month), scored)| Ok((*month, measure(scored)?)))
            .collect()
    }

    /// A percentile of the request latencies, in milliseconds; of one month or of all.
    pub(super) fn latency_ms(&self, month: Option<u32>, percentile: f64) -> f64 {
        let chosen = self
            .latencies
            .iter()
            .filter(|(of, _)| month.is_none_or(|wanted| wanted == *of));
        let mut sorted: Vec<f64> = chosen.map(|(_, ms)| *ms).collect();
        sorted.sort_by(f64::total_cmp);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss
        )]
        let rank = (percentile * (sorted.len().saturating_sub(1)) as f64).round() as usize;
        sorted.get(rank).copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_that_has_just_begun_does_not_spoil_the_line_of_the_one_before() {
        let mut tally = Tally::default();
        for model in Model::ALL {
            let august = Scored {
                late: vec![0.0, 1.0],
                score: vec![0.2, 0.8],
            };
            let september = Scored {
                late: vec![0.0],
                score: vec![0.3],
            };
            tally.scored.insert((model, 8), august);
            tally.scored.insert((model, 9), september);
        }
        assert!(tally.month_line(8).unwrap().contains("AUC 1.000"));
        assert!(tally.month_line(9).is_err(), "one class cannot be measured");
    }
}
