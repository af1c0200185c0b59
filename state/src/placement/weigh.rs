//! What groups weigh: their observed bytes and load, made calm and put into one number.
//!
//! Invariant: a weight that was used and is close to the observed one is used again, so noise never reaches the planner.

use std::collections::BTreeMap;

use super::{Group, Problem};
use crate::id::GroupId;
use crate::topology::{Placement, Weight};

/// What a group without bytes and load costs: so many that a quarter of it is a whole number.
pub(super) const BASE: u64 = 1_000;
/// Terms are rounded down to multiples of this, so that small differences make none.
const STEP: u64 = BASE / 4;
/// A mean of fewer bytes than this counts as this: an almost empty cluster is placed by counts.
const BYTES_MIN: u64 = 64 << 20;
/// The same for entries and reads per second.
const LOAD_MIN: u64 = 200;
/// A term is at most this many times the base.
const TERM_MAX: u64 = 64;

/// Whether two weights differ so little that nothing is to move for it.
pub fn is_close(one: Weight, other: Weight) -> bool {
    let close = |a: u64, b: u64, noise: u64| a.abs_diff(b) <= a.max(b) / 4 + noise;
    close(one.bytes, other.bytes, BYTES_MIN / 4) && close(one.load, other.load, LOAD_MIN / 4)
}

/// The groups of a problem with the weights that count.
pub(super) fn groups<'a>(problem: &'a Problem, previous: &BTreeMap<GroupId, Placement>) -> Vec<Group<'a>> {
    let weighed: Vec<(Placement, Weight)> = problem
        .groups
        .iter()
        .map(|(id, demand)| {
            let before = previous.get(id).cloned().unwrap_or_default();
            let known = Some(before.weight).filter(|known| is_close(*known, demand.weight));
            (before, known.unwrap_or(demand.weight))
        })
        .collect();
    let count = weighed.len().max(1) as u64;
    let sum = |part: fn(&Weight) -> u64| {
        weighed
            .iter()
            .map(|(_, weight)| part(weight) / count)
            .sum::<u64>()
    };
    let bytes_mean = sum(|weight| weight.bytes).max(BYTES_MIN);
    let load_mean = sum(|weight| weight.load).max(LOAD_MIN);
    problem
        .groups
        .iter()
        .zip(weighed)
        .map(|((id, demand), (before, weight))| {
            let (bytes, load) = (term(weight.bytes, bytes_mean), term(weight.load, load_mean));
            Group {
                id: *id,
                policy: &demand.policy,
                weight,
                replica: BASE + bytes + load / 2 / STEP * STEP,
                lead: BASE + load,
                before,
            }
        })
        .collect()
}

/// How many bases something costs next to the mean of its kind.
fn term(amount: u64, mean: u64) -> u64 {
    let exact = u128::from(amount) * u128::from(BASE) / u128::from(mean);
    let bounded = exact.min(u128::from(BASE * TERM_MAX));
    u64::try_from(bounded).unwrap_or(BASE * TERM_MAX) / STEP * STEP
}
