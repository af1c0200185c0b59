//! Worlds that must hold, and that a seed always makes the same world.

use std::time::{Duration, Instant};

use covey_sim::run::{Voice, run};
use covey_sim::{Schedule, Summary};

/// The worlds that every `make test` runs; `make sim` runs as many as one likes.
const SEEDS: u64 = 40;

/// A test machine that is too slow for all of them stops here.
const PATIENCE: Duration = Duration::from_secs(80);

/// So many must have run for the test to say anything.
const SEEDS_MIN: u64 = 10;

fn held(seed: u64) -> Summary {
    let report = run(Schedule::of_seed(seed), Voice::Silent);
    report
        .outcome
        .unwrap_or_else(|failure| panic!("seed {seed}: {failure}"))
}

#[test]
fn a_seed_makes_the_same_world_every_time() {
    for seed in [1, 2] {
        assert_eq!(held(seed), held(seed), "seed {seed}");
    }
}

#[test]
fn the_first_seeds_hold() {
    let began = Instant::now();
    let mut seeds = 1..=SEEDS;
    let mut faults = 0;
    let ran = seeds.by_ref().take_while(|seed| {
        faults += held(*seed).faults;
        began.elapsed() < PATIENCE
    });
    let ran = ran.count() as u64;
    assert!(ran >= SEEDS_MIN, "only {ran} seeds in {PATIENCE:?}");
    assert!(
        faults > 5 * ran,
        "{faults} faults in {ran} worlds are too few to say anything"
    );
}
