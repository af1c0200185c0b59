//! A simulated world that tries to make Covey break a promise.
//!
//! The production host, transport, committer, stores and state machine of several nodes run in one thread, and time,
//! network, disk and randomness come from one seed. Faults follow a [`Schedule`]; after every step the
//! [`properties`] are checked, and at the end everything is mended and the cluster must heal.
//!
//! Invariant: a world depends on its schedule alone, so a run of the same schedule gives the same trace.

pub mod event;
pub mod ledger;
pub mod moment;
pub mod properties;
pub mod run;
pub mod schedule;
pub mod shrink;

mod chance;
mod disk;
mod entropy;
mod machine;
mod network;
mod node;
mod trace;
mod workload;
mod world;

pub use network::Weather;
pub use run::{Report, run};
pub use schedule::Schedule;
pub use workload::Tally;
pub use world::{Failure, Summary};
