//! The laws of distributed training: grouping, resuming and refusing.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use covey_ml::{
    Algorithm, Column, Error, FeatureSpec, Frame, Partial, Task, Trained, Trainer, TrainingSpec, train,
};
use proptest::prelude::*;

/// A small reproducible generator, so that tests need no seedless randomness.
struct Congruential(u64);

impl Congruential {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn rows(count: usize, seed: u64) -> Frame {
    let mut random = Congruential(seed);
    let (mut x, mut y, mut place, mut label, mut weight) = (vec![], vec![], vec![], vec![], vec![]);
    for row in 0..count {
        let value = random.next() * 4.0 - 2.0;
        x.push(value);
        y.push(if random.next() < 0.1 {
            f64::NAN
        } else {
            random.next() * 100.0
        });
        let city = ["ams", "ber", "cdg", "dub"][(random.next() * 4.0) as usize];
        place.push((random.next() > 0.05).then(|| city.to_owned()));
        // Both classes are present in every sample, and one row in twenty has no label yet.
        let chance = 0.5 + value / 5.0;
        let drawn = f64::from(u8::from(random.next() < chance));
        label.push(if row < 2 {
            row as f64
        } else if row % 20 == 7 {
            f64::NAN
        } else {
            drawn
        });
        weight.push(0.5 + random.next());
    }
    Frame::new(vec![
        Column::float("x", x),
        Column::float("y", y),
        Column::text("place", place),
        Column::float("label", label),
        Column::float("weight", weight),
    ])
    .unwrap()
}

fn partitions(frame: &Frame, count: usize) -> Vec<Frame> {
    let bound = |part: usize| frame.rows() * part / count;
    (0..count)
        .map(|part| frame.slice(bound(part)..bound(part + 1)).unwrap())
        .collect()
}

fn spec(algorithm: Algorithm) -> TrainingSpec {
    TrainingSpec {
        algorithm,
        features: vec![
            FeatureSpec::numeric("x"),
            FeatureSpec::numeric("y"),
            FeatureSpec::categorical("place"),
        ],
        label: Some("label".into()),
        weight: Some("weight".into()),
    }
}

fn algorithms() -> [Algorithm; 2] {
    [
        Algorithm::LogisticRegression {
            c: 0.5,
            iterations_max: 100,
        },
        Algorithm::LinearRegression { l2: 0.1 },
    ]
}

/// Answers a task as `workers` workers would: each its own partitions, in its own order, the answers sorted
/// afterwards.
fn answer(task: &Task, partitions: &[Frame], workers: usize) -> Vec<Partial> {
    let mut answers: Vec<(usize, Partial)> = Vec::new();
    for worker in 0..workers {
        for part in (0..partitions.len())
            .rev()
            .filter(|part| part % workers == worker)
        {
            let wire = postcard::to_allocvec(&task.execute(&partitions[part]).unwrap()).unwrap();
            answers.push((part, postcard::from_bytes(&wire).unwrap()));
        }
    }
    answers.sort_by_key(|(part, _)| *part);
    answers.into_iter().map(|(_, partial)| partial).collect()
}

fn bytes(trained: &Trained) -> (Vec<u8>, Vec<u8>) {
    (
        trained.artifact.to_bytes().unwrap(),
        serde_json::to_vec(&trained.profile).unwrap(),
    )
}

fn train_with(spec: &TrainingSpec, partitions: &[Frame], workers: usize, resume: bool) -> (Vec<u8>, Vec<u8>) {
    let mut trainer = Trainer::new(spec.clone(), partitions.len()).unwrap();
    while let Some(task) = trainer.next_task() {
        trainer.advance(answer(&task, partitions, workers)).unwrap();
        if resume {
            let state = postcard::to_allocvec(&trainer).unwrap();
            trainer = postcard::from_bytes(&state).unwrap();
            assert_eq!(postcard::to_allocvec(&trainer).unwrap(), state);
        }
    }
    bytes(trainer.trained().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_grouping_of_workers_and_any_resumption_gives_the_same_bytes(
        count in 30_usize..400,
        parts in 1_usize..9,
        seed in any::<u64>(),
    ) {
        let partitions = partitions(&rows(count, seed), parts);
        for algorithm in algorithms() {
            let spec = spec(algorithm);
            let alone = train_with(&spec, &partitions, 1, false);
            prop_assert_eq!(&alone, &train_with(&spec, &partitions, 3, false));
            prop_assert_eq!(&alone, &train_with(&spec, &partitions, 2, true));
            prop_assert_eq!(&alone, &bytes(&train(&spec, &partitions).unwrap()));
        }
    }
}

#[test]
fn naive_bayes_repeats_and_resumes_to_the_same_bytes() {
    let frame = rows(300, 5);
    let spec = TrainingSpec {
        weight: None,
        ..spec(Algorithm::NaiveBayes {
            variance_smoothing: 1e-9,
        })
    };
    let gathered = std::slice::from_ref(&frame);
    let once = train_with(&spec, gathered, 1, false);
    assert_eq!(once, train_with(&spec, gathered, 1, true));
    assert_eq!(once, bytes(&train(&spec, &partitions(&frame, 4)).unwrap()));
}

#[test]
fn progress_tells_the_learning_curve() {
    let partitions = partitions(&rows(200, 1), 2);
    let [algorithm, _] = algorithms();
    let mut trainer = Trainer::new(spec(algorithm), 2).unwrap();
    let mut told = Vec::new();
    while let Some(task) = trainer.next_task() {
        told.push(trainer.advance(answer(&task, &partitions, 1)).unwrap());
    }
    let objectives: Vec<f64> = told.iter().filter_map(|progress| progress.objective).collect();
    assert!(
        objectives.len() > 3
            && objectives
                .windows(2)
                .all(|pair| pair[1] <= pair[0] * (1.0 + 1e-12))
    );
    let names: Vec<&str> = told.iter().map(|progress| progress.task.as_str()).collect();
    assert_eq!(
        (names[0], names[names.len() - 2], names[names.len() - 1]),
        ("preprocess", "evaluate", "profile")
    );
    assert!(told.iter().rev().skip(1).all(|progress| !progress.finished));
    assert!(told[told.len() - 1].finished);
}

#[test]
fn partials_of_another_task_or_number_are_refused_and_change_nothing() {
    let partitions = partitions(&rows(100, 2), 2);
    let [logistic, linear] = algorithms();
    let mut trainer = Trainer::new(spec(logistic), 2).unwrap();
    let first = trainer.next_task().unwrap();
    trainer.advance(answer(&first, &partitions, 1)).unwrap();
    let before = trainer.clone();
    let stale = trainer.advance(answer(&first, &partitions, 1));
    assert_eq!(
        stale,
        Err(Error::UnexpectedPartial {
            expected: "gradient",
            actual: "preprocess"
        })
    );
    let next = trainer.next_task().unwrap();
    let short = trainer.advance(answer(&next, &partitions[..1], 1));
    assert!(matches!(
        short,
        Err(Error::Shape {
            what: "list of partials",
            ..
        })
    ));
    assert_eq!(trainer, before);
    let late = answer(&next, &partitions, 1);
    trainer.advance(late.clone()).unwrap();
    let error = trainer.advance(late).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a partial of round 0 was given where round 1 is due"
    );
    let tree = Algorithm::DecisionTree {
        depth_max: 3,
        leaf_rows_min: 1,
    };
    assert!(matches!(
        Trainer::new(
            TrainingSpec {
                weight: None,
                ..spec(tree)
            },
            2
        ),
        Err(Error::Limit { limit: 1, .. })
    ));
    assert!(Trainer::new(spec(linear), 0).is_err());
}

#[test]
fn bad_labels_weights_and_settings_are_refused_by_name() {
    let bad_label = |value: f64| {
        Frame::new(vec![
            Column::float("x", vec![1.0, 2.0, 3.0]),
            Column::float("label", vec![0.0, value, 1.0]),
            Column::float("weight", vec![1.0, 1.0, -1.0]),
        ])
    };
    let [logistic, _] = algorithms();
    let mut spec = TrainingSpec {
        features: vec![FeatureSpec::numeric("x")],
        ..spec(logistic)
    };
    let error = train(&spec, &[bad_label(2.0).unwrap()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "column \"label\" row 1 holds 2: a label must be 0 or 1"
    );
    let error = train(&spec, &[bad_label(1.0).unwrap()]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "column \"weight\" row 2 holds -1: a weight must be 0 or above and finite"
    );
    spec.weight = None;
    let one_class = Frame::new(vec![
        Column::float("x", vec![1.0]),
        Column::float("label", vec![1.0]),
    ])
    .unwrap();
    assert!(matches!(
        train(&spec, &[one_class]),
        Err(Error::TooFew {
            what: "classes among the labels",
            ..
        })
    ));
    spec.algorithm = Algorithm::LogisticRegression {
        c: 0.0,
        iterations_max: 5,
    };
    assert_eq!(
        train(&spec, &[]).unwrap_err().to_string(),
        "c is 0: must be above 0"
    );
    spec.algorithm = Algorithm::KMeans {
        clusters: 2,
        iterations_max: 5,
        seed: 1,
    };
    assert!(matches!(
        train(&spec, &[]),
        Err(Error::Setting { name: "label", .. })
    ));
}
