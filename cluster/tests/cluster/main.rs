//! Whole clusters in one process: real stores, real connections on the loopback.

// Clippy takes only functions marked as tests for tests; what they call is test code too.
#![allow(clippy::unwrap_used)]

mod churn;
mod elections;
mod faults;
mod harness;
mod kills;
mod leases;
mod membership;
mod pressure;
mod proxy;
mod pulse;
mod readmission;
mod reads;
mod slow_link;
mod snapshots;
mod verify;
mod writes;
