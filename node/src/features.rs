//! The feature store above consensus: rows on their way in, vectors on their way out, and training sets.
//!
//! What is decided exactly is decided by the groups; here names become positions, requests become one command or one
//! query per group, and answers become columns again. Online vectors and training sets take the same path
//! ([`lookup`]), so that what was served is what is trained on.

pub(crate) mod catalog;
pub(crate) mod consistency;
pub(crate) mod dataset;
pub(crate) mod dead_letters;
pub(crate) mod frames;
pub(crate) mod group;
pub(crate) mod installer;
pub(crate) mod lookup;
pub(crate) mod online;
pub(crate) mod push;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod service_plan;
