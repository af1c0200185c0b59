//! Labels that come late, and how well the predictions they belong to were.

use std::collections::BTreeMap;

use covey_cluster::Consistency;
use covey_ml::metrics;
use covey_proto::v1;
use covey_state::answer::Answer;
use covey_state::monitor::Outcome;
use covey_state::plan::LABELS_MAX;
use covey_state::registry::VersionId;
use covey_state::{Command, Key, Record, RequestId, Timestamp};

use super::window_micros_of;
use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::ledger::same_named;

/// Outcomes read at once. All that are kept are read; how many that may be is the state machine's limit.
const PAGE: usize = 10_000;

/// Joins labels to logged predictions; gives how many found theirs and how many did not. A repeat of `request_id` joins
/// nothing again and gets the same answer.
pub(crate) async fn record_labels(
    context: &Context,
    caller: &Caller,
    deployment: &str,
    labels: Vec<(String, f64)>,
    request_id: u128,
) -> Result<(u64, u64), Failure> {
    let window_micros = window_micros_of(&context.catalog.current(), deployment);
    let group = context.ledger.group_of_name(deployment);
    let (mut all_joined, mut all_unmatched) = (0, 0);
    for (part, labels) in (0_u32..).zip(labels.chunks(LABELS_MAX)) {
        let (deployment, labels) = (deployment.to_owned(), labels.to_vec());
        let command = Command::RecordLabels {
            deployment,
            window_micros,
            labels,
        };
        let answered = context
            .ledger
            .ask(caller, group, RequestId::Unique(request_id, part), command)
            .await?;
        let Answer::Labels { joined, unmatched } = answered.answer else {
            let found = format!("unexpected answer {:?}", answered.answer);
            return Err(Failure::internal("recording labels", found));
        };
        all_joined += u64::from(joined);
        all_unmatched += u64::from(unmatched);
    }
    Ok((all_joined, all_unmatched))
}

/// Quality per window and version, oldest first, from every prediction whose label has come.
pub(crate) async fn performance(
    context: &Context,
    caller: &Caller,
    deployment: &str,
) -> Result<Vec<v1::Performance>, Failure> {
    let group = context.ledger.group_of_name(deployment);
    let mut windows: BTreeMap<(Timestamp, VersionId), Rows> = BTreeMap::new();
    let mut from = Key::Outcome(deployment.to_owned(), Timestamp::MIN, String::new());
    loop {
        let page = context
            .ledger
            .scan(
                caller,
                group,
                from.clone(),
                same_named,
                PAGE,
                Consistency::Linearizable,
            )
            .await?;
        let is_last = page.len() < PAGE;
        for (key, record) in page {
            let (Key::Outcome(name, start, id), Record::Outcome(outcome)) = (key, record) else {
                continue;
            };
            windows
                .entry((start, outcome.version.clone()))
                .or_default()
                .push(&outcome);
            // The next page begins right after the last key of this one.
            from = Key::Outcome(name, start, id + "\0");
        }
        if is_last {
            break;
        }
    }
    let measured = move || {
        windows
            .into_iter()
            .map(|(window, rows)| rows.measure(window))
            .collect()
    };
    Ok(context.compute.run(measured).await)
}

/// Labels and the scores that were given to them.
#[derive(Default)]
struct Rows {
    labels: Vec<f64>,
    scores: Vec<f64>,
}

impl Rows {
    fn push(&mut self, outcome: &Outcome) {
        self.labels.push(outcome.label);
        self.scores.push(outcome.score);
    }

    fn measure(&self, (start, version): (Timestamp, VersionId)) -> v1::Performance {
        // With one class only there is no curve, and a score that is no probability has no loss.
        let auc = metrics::auc(&self.labels, &self.scores).unwrap_or(f64::NAN);
        let are_probabilities = self.scores.iter().all(|score| (0.0..=1.0).contains(score));
        let log_loss = metrics::log_loss(&self.labels, &self.scores)
            .ok()
            .filter(|_| are_probabilities);
        v1::Performance {
            window_start_micros: start.micros(),
            version: version.number,
            model: version.model,
            labels: self.labels.len() as u64,
            auc,
            log_loss: log_loss.unwrap_or(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(outcomes: &[(f64, f64)]) -> Rows {
        let mut rows = Rows::default();
        for (score, label) in outcomes {
            rows.push(&Outcome {
                version: VersionId::default(),
                score: *score,
                label: *label,
            });
        }
        rows
    }

    #[test]
    fn quality_is_exact_and_not_a_number_where_it_is_not_defined() {
        let version = VersionId {
            model: "m".to_owned(),
            number: 2,
        };
        let window = (Timestamp::from_micros(7), version);
        let good = rows(&[(0.1, 0.0), (0.4, 0.0), (0.35, 1.0), (0.8, 1.0)]).measure(window.clone());
        assert_eq!(
            (good.auc, good.labels, good.version, good.window_start_micros),
            (0.75, 4, 2, 7)
        );
        assert!((good.log_loss - 0.472_287_9).abs() < 1e-6, "{}", good.log_loss);
        assert!(
            rows(&[(0.1, 1.0), (0.2, 1.0)])
                .measure(window.clone())
                .auc
                .is_nan()
        );
        assert!(rows(&[(17.0, 1.0)]).measure(window).log_loss.is_nan());
    }
}
