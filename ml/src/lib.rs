//! Models and their mathematics: preprocessing, exact distributed training, self-describing artifacts,
//! quality metrics, reference profiles and drift statistics.
//!
//! This crate is pure: no clock, environment, files, network or threads of its own, and no unseeded
//! randomness; data come in as `Frame`s and go out as plain values. The same input gives the same bytes on
//! every node and, because transcendental functions come from `libm` and sums are taken in a written order,
//! on every machine. The exceptions (linfa's trees) say so.
//!
//! Reading order: `frame`, `feature`, `preprocess`, `linear`, `logistic`, `algorithm`, `training`, `model`;
//! then `metrics`, `profile`, `drift`.

pub mod algorithm;
pub mod drift;
pub mod error;
pub mod evaluation;
pub mod feature;
pub mod frame;
pub mod linear;
pub mod local;
pub mod logistic;
pub mod metrics;
pub mod model;
pub mod preprocess;
pub mod profile;
pub mod sketch;
pub mod symmetric;
pub mod training;

pub use algorithm::{Algorithm, Output};
pub use drift::score::{DriftReport, FeatureDrift, Thresholds, Verdict, score};
pub use error::{Error, Result};
pub use feature::{FeatureKind, FeatureSpec};
pub use frame::{Column, ColumnValues, Frame, ValueKind};
pub use model::{Artifact, Model, sha256_hex};
pub use profile::ReferenceProfile;
pub use profile::counts::ProfileCounts;
pub use training::task::{Partial, Task};
pub use training::trainer::{Progress, Trainer};
pub use training::{Trained, TrainingSpec, train};
