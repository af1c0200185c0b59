//! Trained models against scikit-learn (`golden/generate.py`), and the artifact as bytes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use covey_ml::model::parameters::Parameters;
use covey_ml::{
    Algorithm, Artifact, Column, Error, FeatureSpec, Frame, Model, Trained, TrainingSpec, ValueKind,
};
use covey_ml::{sha256_hex, train};
use serde_json::Value;

struct Golden(Value);

impl Golden {
    fn load() -> Golden {
        Golden(serde_json::from_str(include_str!("golden/models.json")).unwrap())
    }

    fn vector(&self, name: &str) -> Vec<f64> {
        let values = self.0[name].as_array().unwrap();
        values
            .iter()
            .map(|value| value.as_f64().unwrap_or(f64::NAN))
            .collect()
    }

    fn number(&self, name: &str) -> f64 {
        self.0[name].as_f64().unwrap()
    }

    fn frame(&self) -> Frame {
        let colours = self.0["colour"].as_array().unwrap().iter();
        Frame::new(vec![
            Column::float("x", self.vector("x")),
            Column::float("y", self.vector("y")),
            Column::text(
                "colour",
                colours.map(|value| value.as_str().map(str::to_owned)).collect(),
            ),
            Column::float("label", self.vector("label")),
            Column::float("target", self.vector("target")),
        ])
        .unwrap()
    }

    /// Our column order differs from the script's: the flag of `y` comes before the colours in both, so none
    /// moves.
    fn columns(&self) -> Vec<String> {
        self.0["columns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    fn train(&self, algorithm: Algorithm, label: Option<&str>) -> Trained {
        let spec = TrainingSpec {
            algorithm,
            features: features(),
            label: label.map(str::to_owned),
            weight: None,
        };
        train(&spec, &split(&self.frame())).unwrap()
    }
}

fn features() -> Vec<FeatureSpec> {
    vec![
        FeatureSpec::numeric("x"),
        FeatureSpec::numeric("y"),
        FeatureSpec::categorical("colour"),
    ]
}

fn split(frame: &Frame) -> Vec<Frame> {
    [0..90, 90..91, 91..300, 300..400]
        .into_iter()
        .map(|range| frame.slice(range).unwrap())
        .collect()
}

#[track_caller]
fn all_close(found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= tolerance, "{found} is not {wanted}");
    }
}

#[test]
fn logistic_regression_is_that_of_scikit_learn() {
    let golden = Golden::load();
    let algorithm = Algorithm::LogisticRegression {
        c: golden.number("c"),
        iterations_max: 100,
    };
    let artifact = golden.train(algorithm, Some("label")).artifact;
    assert_eq!(artifact.preprocessor.column_names(), golden.columns());
    assert_eq!(artifact.metrics["converged"], 1.0);
    assert!(artifact.metrics["iterations"] <= 10.0);
    let Parameters::Logistic(found) = &artifact.parameters else {
        panic!("not logistic")
    };
    all_close(&found.weights, &golden.vector("logistic"), 1e-9);
    all_close(&[found.intercept], &[golden.number("logistic_intercept")], 1e-9);
    let predicted = Model::new(artifact).unwrap().predict(&golden.frame()).unwrap();
    all_close(&predicted, &golden.vector("probabilities"), 1e-9);
}

#[test]
fn ridge_regression_is_that_of_scikit_learn() {
    let golden = Golden::load();
    let artifact = golden
        .train(
            Algorithm::LinearRegression {
                l2: golden.number("l2"),
            },
            Some("target"),
        )
        .artifact;
    let Parameters::Linear(found) = &artifact.parameters else {
        panic!("not linear")
    };
    all_close(&found.weights, &golden.vector("ridge"), 1e-10);
    all_close(&[found.intercept], &[golden.number("ridge_intercept")], 1e-10);
    assert!(artifact.metrics["r2"] > 0.8);
}

#[test]
fn least_squares_without_a_penalty_leaves_residuals_orthogonal_to_the_columns() {
    let golden = Golden::load();
    let artifact = golden
        .train(Algorithm::LinearRegression { l2: 0.0 }, Some("target"))
        .artifact;
    let frame = golden.frame();
    let predicted = Model::new(artifact).unwrap().predict(&frame).unwrap();
    let residuals: Vec<f64> = golden
        .vector("target")
        .iter()
        .zip(&predicted)
        .map(|(y, p)| y - p)
        .collect();
    assert!(residuals.iter().sum::<f64>().abs() < 1e-9);
    let along_x: f64 = golden
        .vector("x")
        .iter()
        .zip(&residuals)
        .map(|(x, residual)| x * residual)
        .sum();
    assert!(along_x.abs() < 1e-8);
}

#[test]
fn naive_bayes_is_that_of_scikit_learn() {
    let golden = Golden::load();
    let algorithm = Algorithm::NaiveBayes {
        variance_smoothing: golden.number("smoothing"),
    };
    let artifact = golden.train(algorithm, Some("label")).artifact;
    let predicted = Model::new(artifact).unwrap().predict(&golden.frame()).unwrap();
    all_close(&predicted, &golden.vector("bayes"), 1e-9);
}

#[test]
fn trees_learn_and_predict_shares() {
    let golden = Golden::load();
    let tree = golden
        .train(
            Algorithm::DecisionTree {
                depth_max: 5,
                leaf_rows_min: 10,
            },
            Some("label"),
        )
        .artifact;
    let forest = Algorithm::RandomForest {
        trees: 25,
        depth_max: 6,
        row_share: 0.8,
        column_share: 0.9,
        seed: 7,
    };
    let forest = golden.train(forest, Some("label")).artifact;
    for artifact in [tree, forest] {
        assert!(artifact.metrics["auc_binned"] > 0.75, "{:?}", artifact.metrics);
        let loaded = Model::from_bytes(&artifact.to_bytes().unwrap()).unwrap();
        let predicted = loaded.predict(&golden.frame()).unwrap();
        assert!(predicted.iter().all(|share| (0.0..=1.0).contains(share)));
        assert_eq!(
            predicted,
            Model::new(artifact).unwrap().predict(&golden.frame()).unwrap()
        );
    }
}

#[test]
fn clusters_are_found_and_repeat() {
    let values = (0..300)
        .map(|i| f64::from(i % 3) * 10.0 + f64::from(i % 7) * 0.1)
        .collect();
    let frame = Frame::new(vec![Column::float("v", values)]).unwrap();
    let spec = TrainingSpec {
        algorithm: Algorithm::KMeans {
            clusters: 3,
            iterations_max: 100,
            seed: 11,
        },
        features: vec![FeatureSpec::numeric("v")],
        label: None,
        weight: None,
    };
    let parts = [frame.slice(0..100).unwrap(), frame.slice(100..300).unwrap()];
    let trained = train(&spec, &parts).unwrap();
    assert_eq!(trained, train(&spec, std::slice::from_ref(&frame)).unwrap());
    let predicted = Model::new(trained.artifact).unwrap().predict(&frame).unwrap();
    assert!((0..300).all(|row| predicted[row] == predicted[row % 3]));
    assert!(predicted[0] != predicted[1] && predicted[1] != predicted[2] && predicted[0] != predicted[2]);
}

fn logistic() -> Artifact {
    Golden::load()
        .train(
            Algorithm::LogisticRegression {
                c: 1.0,
                iterations_max: 100,
            },
            Some("label"),
        )
        .artifact
}

#[test]
fn an_artifact_reads_back_to_the_same_bytes_and_digest() {
    let bytes = logistic().to_bytes().unwrap();
    let again = Model::from_bytes(&bytes).unwrap().to_bytes().unwrap();
    assert_eq!(sha256_hex(&bytes), sha256_hex(&again));
    assert!(bytes.starts_with(b"{\"format_version\":1,\"algorithm\":{\"LogisticRegression\""));
    assert_eq!(
        sha256_hex(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn a_broken_artifact_is_refused() {
    let good = logistic();
    assert!(Artifact::from_bytes(b"{").is_err());
    let other_version = Artifact {
        format_version: 2,
        ..good.clone()
    };
    let bytes = serde_json::to_vec(&other_version).unwrap();
    let error = Artifact::from_bytes(&bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model cannot be read: format version 2 is not 1"
    );
    let mut short = good.clone();
    let Parameters::Logistic(coefficients) = &mut short.parameters else {
        panic!("not logistic")
    };
    coefficients.weights.pop();
    assert!(matches!(
        short.to_bytes(),
        Err(Error::Shape {
            what: "weight vector",
            ..
        })
    ));
    let mut infinite = good;
    let Parameters::Logistic(coefficients) = &mut infinite.parameters else {
        panic!("not logistic")
    };
    coefficients.intercept = f64::INFINITY;
    assert!(matches!(infinite.to_bytes(), Err(Error::NotFinite { .. })));
}

#[test]
fn a_frame_that_does_not_match_the_signature_is_refused_by_column() {
    let model = Model::new(logistic()).unwrap();
    let without = Frame::new(vec![Column::float("x", vec![1.0])]).unwrap();
    assert_eq!(
        model.predict(&without),
        Err(Error::MissingColumn { name: "y".into() })
    );
    let wrong = Frame::new(vec![
        Column::float("colour", vec![1.0]),
        Column::float("x", vec![1.0]),
        Column::float("y", vec![1.0]),
    ]);
    let expected = Error::ColumnKind {
        name: "colour".into(),
        expected: ValueKind::Text,
        actual: ValueKind::Float,
    };
    assert_eq!(model.predict(&wrong.unwrap()), Err(expected));
}
