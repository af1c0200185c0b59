//! Worlds that must hold, and that a seed always makes the same world.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

use std::process::Command;
use std::time::{Duration, Instant};

/// The worlds that every `make test` runs; `make sim` runs as many as one likes.
const SEEDS: u64 = 60;

/// A test machine that is too slow for all of them stops here.
const PATIENCE: Duration = Duration::from_secs(70);

/// So many must have run for the test to say anything.
const SEEDS_MIN: u64 = 10;

/// What the process of a seed says, if its world holds.
fn held(seed: u64) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_covey-sim"));
    let output = command
        .args(["run", "--seed", &seed.to_string()])
        .output()
        .unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{words}");
    words
}

/// The hash of everything that happened.
fn trace(words: &str) -> &str {
    words.rsplit(' ').next().unwrap()
}

#[test]
fn a_seed_makes_the_same_world_every_time() {
    for seed in 1..=3 {
        let (one, other) = (held(seed), held(seed));
        assert_eq!(trace(&one), trace(&other), "seed {seed}");
    }
}

#[test]
fn the_first_seeds_hold() {
    let began = Instant::now();
    let ran = (1..=SEEDS).take_while(|seed| {
        held(*seed);
        began.elapsed() < PATIENCE
    });
    let ran = ran.count() as u64;
    assert!(ran >= SEEDS_MIN, "only {ran} seeds in {PATIENCE:?}");
}
