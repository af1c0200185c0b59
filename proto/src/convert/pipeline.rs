//! Retraining pipelines and their runs.

use covey_state::pipeline::{Pipeline, PipelineRun, Stage};

use crate::v1;

impl From<v1::Pipeline> for Pipeline {
    fn from(pipeline: v1::Pipeline) -> Self {
        Self {
            name: pipeline.name,
            model: pipeline.model,
            alias: pipeline.alias,
            dataset: pipeline.dataset,
            lookback_micros: (pipeline.lookback_micros != 0).then_some(pipeline.lookback_micros),
            algorithm: pipeline.algorithm,
            parameters: pipeline.parameters,
            seed: pipeline.seed,
            exclude: pipeline.exclude,
            holdout_micros: pipeline.holdout_micros,
            gate_metric: pipeline.gate_metric,
            gate_margin: pipeline.gate_margin,
            cooldown_micros: pipeline.cooldown_micros,
        }
    }
}

impl From<Pipeline> for v1::Pipeline {
    fn from(pipeline: Pipeline) -> Self {
        Self {
            name: pipeline.name,
            model: pipeline.model,
            alias: pipeline.alias,
            dataset: pipeline.dataset,
            lookback_micros: pipeline.lookback_micros.unwrap_or(0),
            algorithm: pipeline.algorithm,
            parameters: pipeline.parameters,
            seed: pipeline.seed,
            exclude: pipeline.exclude,
            holdout_micros: pipeline.holdout_micros,
            gate_metric: pipeline.gate_metric,
            gate_margin: pipeline.gate_margin,
            cooldown_micros: pipeline.cooldown_micros,
        }
    }
}

impl From<PipelineRun> for v1::PipelineRun {
    fn from(run: PipelineRun) -> Self {
        let started = Self {
            pipeline: run.pipeline.name,
            number: run.number,
            trigger: run.trigger,
            as_of_micros: run.as_of.micros(),
            started_at_micros: run.started_at.micros(),
            updated_at_micros: run.updated_at.micros(),
            ..Self::default()
        };
        let stage = |name: &str| name.to_owned();
        match run.stage {
            Stage::Dataset => Self {
                stage: stage("dataset"),
                ..started
            },
            Stage::Training { dataset_version, job } => Self {
                stage: stage("training"),
                dataset_version,
                job,
                ..started
            },
            Stage::Gate {
                dataset_version,
                candidate,
            } => Self {
                stage: stage("gate"),
                dataset_version,
                candidate,
                ..started
            },
            Stage::Promoted {
                candidate,
                champion,
                evidence: (candidate_metric, champion_metric),
            } => Self {
                stage: stage("promoted"),
                candidate,
                champion: champion.unwrap_or(0),
                candidate_metric,
                champion_metric,
                ..started
            },
            Stage::Kept {
                candidate,
                evidence: (candidate_metric, champion_metric),
            } => Self {
                stage: stage("kept"),
                candidate,
                candidate_metric,
                champion_metric,
                ..started
            },
            Stage::Failed { reason } => Self {
                stage: stage("failed"),
                reason,
                ..started
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use covey_state::Timestamp;

    use super::*;

    fn pipeline(lookback_micros: Option<i64>) -> Pipeline {
        Pipeline {
            name: "retrain".to_owned(),
            model: "delay".to_owned(),
            alias: "champion".to_owned(),
            dataset: "flights".to_owned(),
            lookback_micros,
            algorithm: "random_forest".to_owned(),
            parameters: [("trees".to_owned(), 10.0)].into(),
            seed: 1,
            exclude: vec!["hour".to_owned()],
            holdout_micros: 2,
            gate_metric: "auc".to_owned(),
            gate_margin: -0.01,
            cooldown_micros: 3,
        }
    }

    #[test]
    fn pipelines_survive_the_way_to_the_wire_and_back() {
        for lookback in [None, Some(60)] {
            let pipeline = pipeline(lookback);
            assert_eq!(Pipeline::from(v1::Pipeline::from(pipeline.clone())), pipeline);
        }
    }

    #[test]
    fn a_promoted_run_shows_both_metrics() {
        let stage = Stage::Promoted {
            candidate: 2,
            champion: Some(1),
            evidence: (0.8, 0.7),
        };
        let at = Timestamp::from_micros(1);
        let trigger = "drift".to_owned();
        let (pipeline, number) = (pipeline(None), 4);
        let run = PipelineRun {
            pipeline,
            number,
            trigger,
            as_of: at,
            stage,
            started_at: at,
            updated_at: at,
        };
        let wire = v1::PipelineRun::from(run);
        assert_eq!(
            (wire.stage.as_str(), wire.candidate, wire.champion),
            ("promoted", 2, 1)
        );
        assert_eq!((wire.candidate_metric, wire.champion_metric), (0.8, 0.7));
    }
}
