//! Whole clusters in one process: real stores, real connections on the loopback.

mod elections;
mod faults;
mod harness;
mod membership;
mod reads;
mod snapshots;
mod writes;
