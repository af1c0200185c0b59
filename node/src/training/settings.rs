//! From an algorithm's name and its parameters to the algorithm, with the defaults of the field.

use std::collections::BTreeMap;

use covey_ml::algorithm::Algorithm;
use covey_state::job::JobSpec;

use crate::error::Failure;

/// The names that a job may carry.
const ALGORITHMS: &str =
    "logistic_regression, linear_regression, decision_tree, random_forest, naive_bayes or k_means";

/// Parameters that have not been taken yet.
struct Parameters<'a> {
    algorithm: &'a str,
    left: BTreeMap<&'a str, f64>,
}

impl Parameters<'_> {
    fn number(&mut self, name: &str, default: f64) -> f64 {
        self.left.remove(name).unwrap_or(default)
    }

    fn count(&mut self, name: &str, default: u32) -> Result<u32, Failure> {
        let value = self.number(name, f64::from(default));
        if value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&value) {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            return Ok(value as u32);
        }
        Err(Failure::invalid(
            format!("parameters.{name}"),
            format!("{value} is not a whole number"),
        ))
    }

    fn finish(self, algorithm: Algorithm) -> Result<Algorithm, Failure> {
        if let Some(unknown) = self.left.keys().next() {
            let reason = format!("{} has no such parameter", self.algorithm);
            return Err(Failure::invalid(format!("parameters.{unknown}"), reason));
        }
        algorithm
            .check()
            .map_err(|error| Failure::invalid("parameters", error.to_string()))?;
        Ok(algorithm)
    }
}

/// The algorithm that a job asks for.
pub(super) fn algorithm(spec: &JobSpec) -> Result<Algorithm, Failure> {
    let left = spec
        .parameters
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let mut given = Parameters {
        algorithm: &spec.algorithm,
        left,
    };
    let seed = spec.seed;
    let algorithm = match spec.algorithm.as_str() {
        "logistic_regression" => Algorithm::LogisticRegression {
            c: given.number("c", 1.0),
            iterations_max: given.count("iterations_max", 100)?,
        },
        "linear_regression" => Algorithm::LinearRegression {
            l2: given.number("l2", 0.0),
        },
        "decision_tree" => Algorithm::DecisionTree {
            depth_max: given.count("depth_max", 6)?,
            leaf_rows_min: given.count("leaf_rows_min", 20)?,
        },
        "random_forest" => Algorithm::RandomForest {
            trees: given.count("trees", 50)?,
            depth_max: given.count("depth_max", 8)?,
            row_share: given.number("row_share", 0.7),
            column_share: given.number("column_share", 0.5),
            seed,
        },
        "naive_bayes" => Algorithm::NaiveBayes {
            variance_smoothing: given.number("variance_smoothing", 1e-9),
        },
        "k_means" => Algorithm::KMeans {
            clusters: given.count("clusters", 8)?,
            iterations_max: given.count("iterations_max", 100)?,
            seed,
        },
        unknown => {
            return Err(Failure::invalid(
                "algorithm",
                format!("`{unknown}` is not one of {ALGORITHMS}"),
            ));
        }
    };
    given.finish(algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(algorithm: &str, parameters: &[(&str, f64)]) -> JobSpec {
        JobSpec {
            dataset: "d".to_owned(),
            dataset_version: 1,
            algorithm: algorithm.to_owned(),
            parameters: parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect(),
            seed: 7,
            exclude: Vec::new(),
            model: "m".to_owned(),
            alias: None,
        }
    }

    #[test]
    fn an_unknown_algorithm_is_refused_with_the_known_ones() {
        let refused = algorithm(&spec("gradient_magic", &[]))
            .expect_err("no such algorithm")
            .to_string();
        assert!(
            refused.contains("gradient_magic") && refused.contains("logistic_regression"),
            "{refused}"
        );
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        let refused = algorithm(&spec("k_means", &[("depth_max", 3.0)]))
            .expect_err("not of k-means")
            .to_string();
        assert!(refused.contains("parameters.depth_max"), "{refused}");
    }

    #[test]
    fn a_count_must_be_whole_and_in_range() {
        assert!(algorithm(&spec("decision_tree", &[("depth_max", 2.5)])).is_err());
        assert!(algorithm(&spec("decision_tree", &[("depth_max", 0.0)])).is_err());
        assert!(algorithm(&spec("decision_tree", &[("depth_max", 4.0)])).is_ok());
    }
}
