//! Bad input to models, datasets, jobs, drift windows and pipelines.

use covey_state::answer::Answer;
use covey_state::id::{Digest, NodeId};
use covey_state::monitor::{DriftReport, FlushSource, LoggedPrediction};
use covey_state::pipeline::Stage;
use covey_state::window::HOUR;
use covey_state::{Command, Timestamp};

use crate::samples;
use crate::world::{START, World};

fn claim(node: u64) -> Command {
    Command::ClaimJob {
        id: "job-1".to_owned(),
        node: NodeId::new(node),
    }
}

fn advance(number: u64, from: u8, stage: Stage) -> Command {
    Command::AdvancePipeline {
        name: "retrain".to_owned(),
        number,
        from,
        stage,
    }
}

#[test]
fn a_model_is_registered_once_and_versions_need_it() {
    let mut world = World::default();
    assert_eq!(
        world.refusal(samples::create_version()),
        "model `fraud` does not exist"
    );
    world.ask(samples::create_model()).expect("it is new");
    assert_eq!(
        world.refusal(samples::create_model()),
        "model `fraud` exists already"
    );
}

#[test]
fn a_version_has_a_file_and_a_profile_of_its_own() {
    let mut world = World::after([samples::create_model()]);
    let mut spec = samples::version();
    spec.profile = Some(Digest::new([7; 32]));
    let create = |spec| Command::CreateVersion {
        model: "fraud".to_owned(),
        spec,
    };
    assert_eq!(
        world.refusal(create(spec.clone())),
        format!(
            "profile is invalid: {} is the digest of none of the artifacts",
            "07".repeat(32)
        )
    );
    spec.artifacts.clear();
    assert_eq!(
        world.refusal(create(spec)),
        "artifacts is invalid: a version needs at least the model's file"
    );
}

#[test]
fn an_alias_moves_only_from_where_the_caller_believes_it_is() {
    let mut world = World::after([
        samples::create_model(),
        samples::create_version(),
        samples::create_version(),
    ]);
    assert_eq!(
        world.refusal(samples::set_alias(Some(9), None)),
        "version `fraud/9` does not exist"
    );
    assert_eq!(
        world.refusal(samples::set_alias(Some(2), Some(Some(1)))),
        "alias `fraud@champion` has changed: expected version 1, found no version"
    );
    assert_eq!(
        world.refusal(samples::set_alias(None, None)),
        "alias `fraud@champion` does not exist"
    );
    world
        .ask(samples::set_alias(Some(1), Some(None)))
        .expect("it points to nothing");
    assert_eq!(
        world.refusal(samples::set_alias(Some(2), Some(None))),
        "alias `fraud@champion` has changed: expected no version, found version 1"
    );
}

#[test]
fn a_dataset_adds_up() {
    let mut manifest = samples::dataset();
    manifest.partitions = vec![1, 2];
    assert_eq!(
        World::default().refusal(Command::PutDataset(manifest)),
        "partitions is invalid: they add up to 3 rows, the file has 5"
    );
}

#[test]
fn a_coordinator_of_an_older_epoch_moves_nothing() {
    let mut world = World::after([samples::submit_job(), claim(1), samples::advance_job(1, 1)]);
    assert_eq!(world.ask(claim(2)), Ok(Answer::Number(2)));
    let told = "job `job-1` has changed: expected epoch 1, found epoch 2";
    assert_eq!(world.refusal(samples::advance_job(1, 2)), told);
    let id = || "job-1".to_owned();
    assert_eq!(
        world.refusal(Command::FailJob {
            id: id(),
            epoch: 1,
            reason: "late".to_owned()
        }),
        told
    );
    assert_eq!(
        world.refusal(samples::advance_job(2, 3)),
        "job `job-1` has changed: expected step 3 to be next, found step 1 done"
    );
}

#[test]
fn a_job_that_nobody_coordinates_does_not_move() {
    let mut world = World::after([samples::submit_job()]);
    assert_eq!(
        world.refusal(samples::advance_job(1, 1)),
        "job `job-1` has changed: expected epoch 1, found epoch 0"
    );
    assert_eq!(world.refusal(samples::submit_job()), "job `job-1` exists already");
}

#[test]
fn a_finished_job_never_moves() {
    let mut world = World::after([
        samples::submit_job(),
        claim(1),
        Command::CancelJob {
            id: "job-1".to_owned(),
        },
    ]);
    let told = "job `job-1` is cancelled: submit a new job";
    assert_eq!(world.refusal(samples::advance_job(1, 1)), told);
    assert_eq!(world.refusal(claim(2)), told);
    assert_eq!(
        world.refusal(Command::CancelJob {
            id: "job-1".to_owned()
        }),
        told
    );
}

#[test]
fn a_loss_is_a_number() {
    let mut world = World::after([samples::submit_job(), claim(1)]);
    let command = Command::AdvanceJob {
        id: "job-1".to_owned(),
        epoch: 1,
        step: 1,
        checkpoint: Vec::new(),
        loss: f64::NAN,
    };
    assert_eq!(
        world.refusal(command),
        "loss is invalid: NaN is not a finite number"
    );
}

#[test]
fn a_verdict_needs_its_window() {
    let report = DriftReport {
        rows: 1,
        scores: Vec::new(),
        drifted: false,
        scored_at: START,
    };
    let command = Command::ReportDrift {
        deployment: "fraud-live".to_owned(),
        version: samples::version_id(1),
        window: Timestamp::from_micros(5),
        report,
        alert: None,
    };
    assert_eq!(
        World::default().refusal(command),
        "drift window `fraud-live/fraud/1/5us` does not exist"
    );
}

#[test]
fn a_label_is_joined_once_and_the_others_are_counted() {
    let prediction = LoggedPrediction {
        id: "q1".to_owned(),
        version: samples::version_id(1),
        score: 0.5,
        at: START,
    };
    let mut world = World::after([Command::FlushDrift {
        deployment: "fraud-live".to_owned(),
        source: FlushSource {
            node: NodeId::new(1),
            incarnation: 1,
        },
        sequence: 1,
        windows: Vec::new(),
        predictions: vec![prediction],
    }]);
    let labels = ["q1", "q1", "q2"].map(|id| (id.to_owned(), 1.0)).to_vec();
    let record = |labels| Command::RecordLabels {
        deployment: "fraud-live".to_owned(),
        window_micros: HOUR,
        labels,
    };
    assert_eq!(
        world.ask(record(labels.clone())),
        Ok(Answer::Labels {
            joined: 1,
            unmatched: 2
        })
    );
    assert_eq!(
        world.ask(record(labels)),
        Ok(Answer::Labels {
            joined: 0,
            unmatched: 3
        })
    );
    assert_eq!(
        world.refusal(record(vec![("q3".to_owned(), f64::NAN)])),
        "labels is invalid: the label of `q3` is NaN"
    );
}

#[test]
fn one_run_is_open_at_a_time_and_runs_keep_their_distance() {
    let mut world = World::after([samples::start_pipeline(0)]);
    assert_eq!(
        world.refusal(samples::start_pipeline(300)),
        "pipeline `retrain` is at stage dataset of run 1: wait until the run has ended"
    );
    world
        .ask(advance(
            1,
            0,
            Stage::Failed {
                reason: "no data".to_owned(),
            },
        ))
        .expect("a run may fail");
    assert_eq!(
        world.refusal(samples::start_pipeline(59)),
        "pipeline `retrain` is cooling down after run 1: the next run may be as of 1700003600000000us or later"
    );
    assert_eq!(world.ask(samples::start_pipeline(60)), Ok(Answer::Number(2)));
}

#[test]
fn a_run_moves_up_from_the_stage_it_is_at() {
    let mut world = World::after([samples::start_pipeline(0)]);
    let training = || Stage::Training {
        dataset_version: 1,
        job: "job-1".to_owned(),
    };
    assert_eq!(
        world.refusal(advance(
            1,
            1,
            Stage::Gate {
                dataset_version: 1,
                candidate: 2
            }
        )),
        "pipeline run `retrain/1` has changed: expected stage 1, found stage 0"
    );
    world.ask(advance(1, 0, training())).expect("training comes next");
    assert_eq!(
        world.refusal(advance(1, 1, training())),
        "stage is invalid: training does not come after training"
    );
    assert_eq!(
        world.refusal(advance(7, 0, training())),
        "pipeline run `retrain/7` does not exist"
    );
    world
        .ask(advance(
            1,
            1,
            Stage::Failed {
                reason: "lost".to_owned(),
            },
        ))
        .expect("a run may fail");
    assert_eq!(
        world.refusal(advance(
            1,
            3,
            Stage::Failed {
                reason: "again".to_owned()
            }
        )),
        "pipeline run `retrain/1` is failed: start a new run"
    );
}
