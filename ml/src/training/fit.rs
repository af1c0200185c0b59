//! The stage of training in which parameters are found: in one round of partials or in many.
//!
//! Invariant: a step that fails leaves nothing half done; the caller drops the copy it stepped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::algorithm::Algorithm;
use crate::error::{Error, Result};
use crate::linear::GramSums;
use crate::logistic::{Descent, Ending, LogisticSums};
use crate::model::parameters::Parameters;
use crate::preprocess::Preprocessor;

use super::TrainingSpec;
use super::reduce::{merge_in_order, unexpected};
use super::task::{Partial, Task};

/// How far the search for parameters has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Fit {
    /// One round of Gram matrices.
    Gram { l2: f64 },
    /// One round per trial point.
    Descent(Descent),
    /// One round on one node.
    Local,
}

/// What the search found.
pub(super) struct Found {
    pub(super) parameters: Parameters,
    pub(super) metrics: BTreeMap<String, f64>,
}

impl Fit {
    pub(super) fn new(algorithm: &Algorithm, columns: usize) -> Fit {
        match algorithm {
            Algorithm::LinearRegression { l2 } => Fit::Gram { l2: *l2 },
            Algorithm::LogisticRegression { c, iterations_max } => {
                Fit::Descent(Descent::new(*c, *iterations_max, columns))
            }
            Algorithm::DecisionTree { .. }
            | Algorithm::RandomForest { .. }
            | Algorithm::NaiveBayes { .. }
            | Algorithm::KMeans { .. } => Fit::Local,
        }
    }

    pub(super) fn task(&self, spec: TrainingSpec, preprocessor: Preprocessor) -> Task {
        match self {
            Fit::Gram { .. } => Task::Gram { spec, preprocessor },
            Fit::Descent(descent) => Task::Gradient {
                spec,
                preprocessor,
                round: descent.iterations(),
                point: descent.trial(),
            },
            Fit::Local => Task::Local { spec, preprocessor },
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Fit::Gram { .. } => "gram",
            Fit::Descent(_) => "gradient",
            Fit::Local => "local",
        }
    }

    pub(super) fn descent(&self) -> Option<&Descent> {
        match self {
            Fit::Descent(descent) => Some(descent),
            Fit::Gram { .. } | Fit::Local => None,
        }
    }

    /// Takes in a round of partials; the outcome once there is one.
    pub(super) fn step(&mut self, partials: Vec<Partial>) -> Result<Option<Found>> {
        match self {
            Fit::Gram { l2 } => step_gram(*l2, partials).map(Some),
            Fit::Descent(descent) => step_descent(descent, partials),
            Fit::Local => step_local(partials).map(Some),
        }
    }
}

fn step_gram(l2: f64, partials: Vec<Partial>) -> Result<Found> {
    let take = |partial| match partial {
        Partial::Gram(sums) => Ok(sums),
        other => Err(unexpected("gram", &other)),
    };
    let sums = merge_in_order(partials, take, |sums: &mut GramSums, next| sums.merge(&next))?;
    Ok(Found {
        parameters: Parameters::Linear(sums.solve(l2)?),
        metrics: BTreeMap::new(),
    })
}

fn step_descent(descent: &mut Descent, partials: Vec<Partial>) -> Result<Option<Found>> {
    let due = descent.iterations();
    let take = |partial| match partial {
        Partial::Gradient { round, sums } if round == due => Ok(sums),
        Partial::Gradient { round, .. } => Err(Error::StalePartial {
            expected: due,
            actual: round,
        }),
        other => Err(unexpected("gradient", &other)),
    };
    let sums = merge_in_order(partials, take, |sums: &mut LogisticSums, next| sums.merge(&next))?;
    descent.step(sums)?;
    let Some(ending) = descent.ending() else {
        return Ok(None);
    };
    let converged = match ending {
        Ending::Converged | Ending::Stalled => 1.0,
        Ending::OutOfIterations => 0.0,
    };
    let metrics = BTreeMap::from([
        ("converged".to_owned(), converged),
        ("iterations".to_owned(), f64::from(descent.iterations())),
        ("objective".to_owned(), descent.objective().unwrap_or(0.0)),
    ]);
    Ok(Some(Found {
        parameters: Parameters::Logistic(descent.coefficients()),
        metrics,
    }))
}

fn step_local(partials: Vec<Partial>) -> Result<Found> {
    match partials.into_iter().next() {
        Some(Partial::Local(fit)) => Ok(Found {
            parameters: fit.parameters,
            metrics: fit.metrics,
        }),
        Some(other) => Err(unexpected("local", &other)),
        None => Err(Error::TooFew {
            what: "partials",
            actual: 0,
            needed: 1,
        }),
    }
}
