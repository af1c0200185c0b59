//! linfa's Gaussian naive Bayes, read out through its serialised form because its fields are private.
//!
//! Invariant: both classes are present; every variance is above 0 because smoothing is.

use linfa::ParamGuard;
use linfa::traits::Fit;
use linfa_bayes::GaussianNb;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::model::parameters::{GaussianClass, Parameters};

use super::Labelled;

/// The serialised form of linfa's model: class to its statistics.
#[derive(Deserialize)]
struct Serialised {
    class_info: Classes,
}

#[derive(Deserialize)]
struct Classes {
    #[serde(rename = "false")]
    negative: ClassInfo,
    #[serde(rename = "true")]
    positive: ClassInfo,
}

#[derive(Deserialize)]
struct ClassInfo {
    prior: f64,
    theta: Vector,
    sigma: Vector,
}

/// The serialised form of an ndarray vector.
#[derive(Deserialize)]
struct Vector {
    data: Vec<f64>,
}

pub(super) fn fit(data: &Labelled, variance_smoothing: f64) -> Result<Parameters> {
    let refused = |reason: String| Error::Fit {
        algorithm: "naive_bayes",
        reason,
    };
    let settings = GaussianNb::<f64, bool>::params().var_smoothing(variance_smoothing);
    let settings = settings.check().map_err(|error| refused(error.to_string()))?;
    let fitted = settings.fit(data).map_err(|error| refused(error.to_string()))?;
    let text = serde_json::to_string(&fitted).map_err(|error| refused(error.to_string()))?;
    let read: Serialised = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
    let Classes { negative, positive } = read.class_info;
    Ok(Parameters::NaiveBayes {
        negative: class(negative),
        positive: class(positive),
    })
}

fn class(info: ClassInfo) -> GaussianClass {
    let spread = |variance: &f64| libm::log(2.0 * std::f64::consts::PI * variance);
    let constant = libm::log(info.prior) - info.sigma.data.iter().map(spread).sum::<f64>() / 2.0;
    GaussianClass {
        constant,
        means: info.theta.data,
        variances: info.sigma.data,
    }
}
