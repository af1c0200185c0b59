//! Many Raft groups on one host: the log, the transport, the router, membership and reads.
//!
//! A [`Host`] keeps this node's replicas of any number of groups. Entries and answers are opaque bytes: the
//! application gives a [`StateMachine`] that decides each committed entry and stages its effect: [`PlanMachine`], in
//! Covey. The consensus library (openraft) is in no public signature, nor on any disk or wire.
//!
//! Invariants: an acknowledged entry is synced on a quorum; state and the position it was applied to reach disk in
//! one batch; a log is purged only below what is durable in the state; a storage fault stops one group on this node
//! and nothing else; every queue has a limit in [`HostConfig`], and a full one is an error with a name.

pub mod carrier;
pub mod config;
pub mod error;
pub mod host;
pub mod identity;
pub mod machine;
pub mod metrics;
pub mod plan_machine;
pub mod probation;
pub mod read;
pub mod slots;
pub mod status;
pub mod steps;
pub mod tenure;
pub mod verify;

mod admission;
mod backoff;
mod blocking;
mod codec;
mod cohort;
mod consensus;
mod contact;
mod damage;
mod flush;
mod forward;
mod freshness;
mod leadership;
mod log_store;
mod marks;
mod members;
mod pace;
mod proposals;
mod replica;
mod round;
mod service;
mod snapshot;
mod state_store;
mod transport;

#[cfg(test)]
mod storage_suite;

pub use carrier::{Carrier, Reply};
pub use config::HostConfig;
pub use error::Error;
pub use host::{Host, PeerServer, Stores, Wipe};
pub use identity::{Identity, Peer};
pub use machine::{Ahead, Committed, LogPosition, StateMachine};
pub use plan_machine::PlanMachine;
pub use probation::Probation;
pub use read::{Consistency, ReadPoint};
pub use slots::{SlotMap, slot_of};
pub use status::{GroupStatus, Role};
pub use steps::{Members, Step, next_steps};
pub use tenure::Tenure;
pub use verify::{Finding, Verification};
