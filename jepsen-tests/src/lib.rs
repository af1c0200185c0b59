//! Real faults on real Covey processes, and a check of everything that clients were told meanwhile.
//!
//! [`checker`] is of use on its own: it decides whether a history of operations on an object is linearizable, for any
//! [`checker::Model`]. The rest is what `covey-jepsen` runs; it knows Covey by its binary and its public interface only.

pub mod checker;
pub mod model;

pub mod fault;
pub mod history;
pub mod judge;
pub mod workload;

pub mod bug;
pub mod evidence;
pub mod fleet;
pub mod run;

mod client;
mod divergence;
mod nemesis;
mod waiting;
