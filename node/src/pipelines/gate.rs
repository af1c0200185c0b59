//! The gate: whether a candidate is enough better than the champion. Pure.

use std::collections::BTreeMap;

use covey_state::pipeline::Pipeline;

use crate::error::Failure;

/// What the gate says, with the metric of both; the champion's is 0 when there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outcome {
    pub(super) promote: bool,
    pub(super) evidence: (f64, f64),
}

/// Compares the metrics of candidate and champion. Without a champion the candidate wins.
pub(super) fn decide(
    pipeline: &Pipeline,
    candidate: &BTreeMap<String, f64>,
    champion: Option<&BTreeMap<String, f64>>,
) -> Result<Outcome, Failure> {
    let metric = pipeline.gate_metric.as_str();
    let measured = |metrics: &BTreeMap<String, f64>| {
        let reason =
            || format!("`{metric}` is not defined on the hold-out set; does it have rows of both classes?");
        metrics
            .get(metric)
            .copied()
            .ok_or_else(|| Failure::invalid("gate_metric", reason()))
    };
    let candidate = measured(candidate)?;
    let Some(champion) = champion else {
        return Ok(Outcome {
            promote: true,
            evidence: (candidate, 0.0),
        });
    };
    let champion = measured(champion)?;
    // A loss is better when it is smaller.
    let better_by = if metric == "log_loss" {
        champion - candidate
    } else {
        candidate - champion
    };
    Ok(Outcome {
        promote: better_by >= pipeline.gate_margin,
        evidence: (candidate, champion),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A pipeline with that gate.
    pub(in crate::pipelines) fn pipeline(gate_metric: &str, gate_margin: f64) -> Pipeline {
        Pipeline {
            name: "retrain".to_owned(),
            model: "delay".to_owned(),
            alias: "champion".to_owned(),
            dataset: "flights".to_owned(),
            lookback_micros: None,
            algorithm: "logistic_regression".to_owned(),
            parameters: BTreeMap::new(),
            seed: 1,
            exclude: Vec::new(),
            holdout_micros: 100,
            gate_metric: gate_metric.to_owned(),
            gate_margin,
            cooldown_micros: 0,
        }
    }

    fn metrics(auc: f64, log_loss: f64) -> BTreeMap<String, f64> {
        [("auc".to_owned(), auc), ("log_loss".to_owned(), log_loss)].into()
    }

    fn promotes(metric: &str, margin: f64, candidate: (f64, f64), champion: (f64, f64)) -> bool {
        let [candidate, champion] = [candidate, champion].map(|(auc, loss)| metrics(auc, loss));
        decide(&pipeline(metric, margin), &candidate, Some(&champion))
            .unwrap()
            .promote
    }

    #[test]
    fn a_larger_area_and_a_smaller_loss_are_better() {
        assert!(promotes("auc", 0.01, (0.75, 0.9), (0.72, 0.1)));
        assert!(!promotes("auc", 0.05, (0.75, 0.1), (0.72, 0.9)));
        assert!(promotes("log_loss", 0.01, (0.1, 0.40), (0.9, 0.45)));
        assert!(!promotes("log_loss", 0.0, (0.9, 0.46), (0.1, 0.45)));
    }

    #[test]
    fn a_negative_margin_tolerates_a_loss() {
        assert!(promotes("auc", -0.05, (0.70, 0.0), (0.72, 0.0)));
    }

    #[test]
    fn the_first_candidate_wins_and_an_undefined_metric_is_an_error() {
        let first = decide(&pipeline("auc", 0.5), &metrics(0.6, 0.6), None).unwrap();
        assert_eq!(
            first,
            Outcome {
                promote: true,
                evidence: (0.6, 0.0)
            }
        );
        assert!(decide(&pipeline("auc", 0.5), &BTreeMap::new(), None).is_err());
    }
}
