//! Which time each training set of a run covers. Pure.
//!
//! Invariant: the candidate's set ends where the hold-out set begins, so what gates it, it has never seen.

use covey_state::Timestamp;
use covey_state::dataset::{DatasetSpec, Spine};
use covey_state::pipeline::Pipeline;

use crate::error::Failure;

/// The sets of one run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sets {
    /// What the candidate is trained on; a new version of the pipeline's dataset.
    pub(super) training: DatasetSpec,
    /// What candidate and champion are compared on; of a dataset of its own.
    pub(super) holdout: DatasetSpec,
}

/// The sets of a run as of `as_of`, made like the newest version of the pipeline's dataset.
pub(super) fn sets(pipeline: &Pipeline, newest: &DatasetSpec, as_of: Timestamp) -> Result<Sets, Failure> {
    let Spine::View {
        view,
        timestamp,
        from,
        ..
    } = &newest.spine
    else {
        let reason = format!(
            "`{}` was built from a file; a pipeline needs one that is built from a view",
            newest.name
        );
        return Err(Failure::invalid("dataset", reason));
    };
    let border = as_of.plus_micros(-pipeline.holdout_micros);
    let from = pipeline
        .lookback_micros
        .map_or(*from, |lookback| as_of.plus_micros(-lookback));
    if from >= border {
        let reason = format!(
            "{}us leave nothing before them to train on",
            pipeline.holdout_micros
        );
        return Err(Failure::invalid("holdout_micros", reason));
    }
    let set = |name: String, from, until| DatasetSpec {
        name,
        spine: Spine::View {
            view: view.clone(),
            timestamp: timestamp.clone(),
            from,
            until,
        },
        ..newest.clone()
    };
    Ok(Sets {
        training: set(newest.name.clone(), from, border),
        holdout: set(format!("{}-holdout", newest.name), border, as_of),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipelines::gate::tests::pipeline;

    fn newest(from: i64, until: i64) -> DatasetSpec {
        let at = Timestamp::from_micros;
        let spine = Spine::View {
            view: "departures".to_owned(),
            timestamp: None,
            from: at(from),
            until: at(until),
        };
        DatasetSpec {
            name: "flights".to_owned(),
            service: "delay".to_owned(),
            spine,
            label: Some("late".to_owned()),
        }
    }

    fn range(spec: &DatasetSpec) -> (i64, i64) {
        match &spec.spine {
            Spine::View { from, until, .. } => (from.micros(), until.micros()),
            Spine::File { .. } => panic!("a pipeline builds from views"),
        }
    }

    #[test]
    fn the_sets_meet_at_the_hold_out_and_do_not_overlap() {
        let sets_of = |lookback_micros| {
            let pipeline = Pipeline {
                lookback_micros,
                ..pipeline("auc", 0.0)
            };
            sets(&pipeline, &newest(7, 400), Timestamp::from_micros(1_000)).unwrap()
        };
        let everything = sets_of(None);
        assert_eq!(
            (range(&everything.training), range(&everything.holdout)),
            ((7, 900), (900, 1_000))
        );
        assert_eq!(range(&sets_of(Some(500)).training), (500, 900));
        assert_eq!(
            (
                everything.training.name.as_str(),
                everything.holdout.name.as_str()
            ),
            ("flights", "flights-holdout")
        );
    }

    #[test]
    fn a_hold_out_that_leaves_nothing_is_refused() {
        let pipeline = Pipeline {
            lookback_micros: Some(100),
            ..pipeline("auc", 0.0)
        };
        assert!(sets(&pipeline, &newest(0, 400), Timestamp::from_micros(1_000)).is_err());
    }
}
