//! What the stores promise, on real files.

// Clippy takes only functions marked as tests for tests; what they call is test code too.
#![allow(clippy::unwrap_used)]

mod artifacts;
mod corruption;
mod flipped_tail;
mod install;
mod keys;
mod log_crash;
mod log_rewrite;
mod raftdb;
mod sample;
mod statedb;
mod sums;
mod torn_tail;
