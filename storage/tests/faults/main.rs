//! What happens when a durable step fails. Fail points belong to the whole process, so each test sets up a scenario,
//! which keeps the others waiting.

// Clippy takes only functions marked as tests for tests; what they call is test code too.
#![allow(clippy::unwrap_used)]

mod commit;
mod install;
mod kill;
mod rewrite;
#[path = "../storage/sample.rs"]
#[allow(dead_code)] // The other test program uses the rest.
mod sample;
