//! Worlds that must hold, and that a seed always makes the same world.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

use std::process::Command;

/// The worlds that every `make test` runs; `make sim` runs as many as one likes.
const SEEDS: u64 = 200;

/// A test machine that is too slow for all of them begins no more after so many seconds.
const PATIENCE_SECONDS: u64 = 120;

/// So many must have run for the test to say anything.
const SEEDS_MIN: u64 = 20;

/// What the program says, if every world holds.
fn held(arguments: &[String]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_covey-sim"));
    let output = command.args(arguments).output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{words}");
    words
}

fn arguments(words: &str) -> Vec<String> {
    words.split(' ').map(str::to_owned).collect()
}

/// The hash of everything that happened.
fn trace(words: &str) -> &str {
    words.rsplit(' ').next().unwrap()
}

#[test]
fn a_seed_makes_the_same_world_every_time() {
    for seed in 1..=3 {
        let run = arguments(&format!("run --seed {seed}"));
        let (one, other) = (held(&run), held(&run));
        assert_eq!(trace(&one), trace(&other), "seed {seed}");
    }
}

#[test]
fn the_first_seeds_hold() {
    let words = held(&arguments(&format!(
        "many --seeds {SEEDS} --seconds {PATIENCE_SECONDS}"
    )));
    let ran: u64 = words.split(' ').next().unwrap().parse().unwrap();
    assert!(
        ran >= SEEDS_MIN,
        "only {ran} seeds in {PATIENCE_SECONDS} s: {words}"
    );
}
