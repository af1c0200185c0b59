//! Keys of the replicated map as bytes whose order is the order of the keys.
//!
//! `[variant u8]` and then the fields, each in the memcomparable form of [`memcomparable`]. Variant numbers are on disk
//! and never change; new variants get new numbers, in the order in which [`covey_state::Key`] declares them.

pub mod memcomparable;

mod decode;
mod encode;

pub use decode::decode;
pub use encode::encode;

/// The numbers of the variants of [`covey_state::Key`], and of what its fields are made of.
mod tag {
    pub(super) const CLOCK: u8 = 0;
    pub(super) const REQUEST: u8 = 1;
    pub(super) const REQUEST_AGE: u8 = 2;
    pub(super) const PRODUCER_FLOOR: u8 = 3;
    pub(super) const CLUSTER: u8 = 4;
    pub(super) const NODE: u8 = 5;
    pub(super) const PLACEMENT: u8 = 6;
    pub(super) const ENTITY: u8 = 7;
    pub(super) const VIEW: u8 = 8;
    pub(super) const SERVICE: u8 = 9;
    pub(super) const DEPLOYMENT: u8 = 10;
    pub(super) const MONITOR: u8 = 11;
    pub(super) const PIPELINE: u8 = 12;
    pub(super) const NAMESPACE: u8 = 13;
    pub(super) const SCHEMA: u8 = 14;
    pub(super) const SCHEMA_HEAD: u8 = 15;
    pub(super) const DEAD_LETTER: u8 = 16;
    pub(super) const MODEL: u8 = 17;
    pub(super) const MODEL_VERSION: u8 = 18;
    pub(super) const ALIAS: u8 = 19;
    pub(super) const ALIAS_MOVE: u8 = 20;
    pub(super) const DATASET: u8 = 21;
    pub(super) const JOB: u8 = 22;
    pub(super) const DRIFT_WINDOW: u8 = 23;
    pub(super) const DRIFT_FLUSH: u8 = 24;
    pub(super) const DRIFT_REPORT: u8 = 25;
    pub(super) const ALERT: u8 = 26;
    pub(super) const PREDICTION: u8 = 27;
    pub(super) const OUTCOME: u8 = 28;
    pub(super) const PIPELINE_RUN: u8 = 29;
    pub(super) const LATEST: u8 = 30;
    pub(super) const HISTORY: u8 = 31;
    pub(super) const TILE: u8 = 32;
    pub(super) const DRIFT_BOOK: u8 = 33;
    pub(super) const DRIFT_OPEN: u8 = 34;
    pub(super) const PREDICTION_AGE: u8 = 35;
    pub(super) const OPEN_JOB: u8 = 36;
    pub(super) const OPEN_RUN: u8 = 37;
    pub(super) const PLAIN: u8 = 38;

    pub(super) const REQUEST_UNIQUE: u8 = 0;
    pub(super) const REQUEST_PRODUCER: u8 = 1;

    pub(super) const PARTS_END: u8 = 0;
    pub(super) const PART_INT64: u8 = 1;
    pub(super) const PART_STRING: u8 = 2;

    pub(super) const HOP_FIVE_MINUTES: u8 = 0;
    pub(super) const HOP_HOUR: u8 = 1;
    pub(super) const HOP_DAY: u8 = 2;
}
