//! The binary `covey`: parses the command line, does what it says, exits with a code that means something.

#![allow(
    unreachable_pub,
    reason = "nothing outside links a binary, so `pub` says what other modules may use"
)]

/// With many small writes a node spent a tenth of its time in the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// RocksDB takes its memory from the system's allocator. That keeps an arena for every few threads and gives little of it back,
/// so that a node that writes would grow to twice what it uses; with two arenas it does not.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn bound_arenas() {
    const ARENAS: libc::c_int = 2;
    // Larger pieces, memtables above all, go back at once. To set the limit also keeps it from growing.
    const RETURNED_FROM: libc::c_int = 128 << 10;
    #[allow(unsafe_code, reason = "the standard library has no such setting")]
    // SAFETY: both settings take any positive number, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED_FROM);
    }
}

/// Ends the process at once, as a power cut would, when a test has switched the point on.
macro_rules! fault {
    ($point:literal) => {
        fail::fail_point!($point, |_| {
            #[allow(
                clippy::disallowed_methods,
                reason = "an orderly stop is what the test is not about"
            )]
            std::process::abort();
        })
    };
}

mod api;
mod artifacts;
mod bench;
mod catalog;
mod cli;
mod clock;
mod config;
mod context;
mod demo;
mod drift;
mod error;
mod features;
mod identity;
mod ledger;
mod membership;
mod metrics;
mod node_peer;
mod peers;
mod pipelines;
#[cfg(feature = "planted-bugs")]
mod planted;
mod registry;
mod run;
mod serving;
mod training;
mod verify;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    bound_arenas();
    // Fail points are there in tests only; elsewhere this does nothing.
    let _armed = fail::FailScenario::setup();
    #[cfg(feature = "planted-bugs")]
    if let Err(error) = planted::from_environment() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    cli::main()
}
