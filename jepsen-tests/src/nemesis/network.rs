//! Faults of the network between nodes; that between clients and nodes stays whole.

use std::time::Duration;

use anyhow::Result;
use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{Effect, part_of};
use crate::fault::{FaultKind, Step};
use crate::fleet::{Cut, Fleet};
use crate::waiting::pause;

/// Drops packets for a while; it took effect if some were dropped.
pub(super) async fn cut(
    fleet: &Fleet,
    step: &Step,
    victim: usize,
    random: &mut Xoshiro256PlusPlus,
) -> Result<Effect> {
    let numbers: Vec<usize> = (1..=fleet.size()).collect();
    let (what, cuts) = match step.kind {
        FaultKind::OneWay => one_way(&numbers, victim, random.r#gen()),
        FaultKind::Bridge => bridge(&numbers, victim),
        FaultKind::Loss => loss(&numbers, random.gen_range(0.1..0.4)),
        _ => partition(&numbers, victim, random),
    };
    let name = format!("fault{}", step.number);
    let made = fleet.network().cut(&name, &cuts).await;
    if made.is_ok() {
        pause(Duration::from_millis(step.lasts_ms)).await;
    }
    let dropped = fleet.network().mend(&name, &cuts).await;
    made?;
    let dropped = dropped?;
    let mut nodes: Vec<usize> = cuts.iter().map(|cut| cut.at).collect();
    nodes.sort_unstable();
    nodes.dedup();
    Ok(Effect {
        nodes,
        what: format!("{what}, for {} ms", step.lasts_ms),
        shown: format!("{dropped} packets dropped"),
        took: dropped > 0,
    })
}

fn partition(numbers: &[usize], victim: usize, random: &mut Xoshiro256PlusPlus) -> (String, Vec<Cut>) {
    let mut one = part_of(numbers, random);
    if !one.contains(&victim) && one.len() == 1 {
        one = vec![victim];
    }
    let other: Vec<usize> = numbers
        .iter()
        .copied()
        .filter(|number| !one.contains(number))
        .collect();
    (format!("{one:?} | {other:?}"), between(&one, &other))
}

fn one_way(numbers: &[usize], victim: usize, to_others: bool) -> (String, Vec<Cut>) {
    let others = numbers.iter().copied().filter(|number| *number != victim);
    let cut = |(at, from)| Cut { at, from, share: 1.0 };
    if to_others {
        let cuts = others.map(|other| cut((other, victim)));
        (format!("nothing from {victim} to the others"), cuts.collect())
    } else {
        let cuts = others.map(|other| cut((victim, other)));
        (format!("nothing from the others to {victim}"), cuts.collect())
    }
}

fn bridge(numbers: &[usize], middle: usize) -> (String, Vec<Cut>) {
    let rest: Vec<usize> = numbers
        .iter()
        .copied()
        .filter(|number| *number != middle)
        .collect();
    let (one, other) = rest.split_at(rest.len() / 2);
    (
        format!("{one:?} | {other:?}, {middle} sees both"),
        between(one, other),
    )
}

fn loss(numbers: &[usize], share: f64) -> (String, Vec<Cut>) {
    let pairs = numbers.iter().flat_map(|at| {
        numbers
            .iter()
            .filter(move |from| *from != at)
            .map(move |from| (*at, *from))
    });
    let cuts = pairs.map(|(at, from)| Cut { at, from, share });
    (
        format!("{:.0} of 100 packets lost", share * 100.0),
        cuts.collect(),
    )
}

/// Both directions between two sets.
fn between(one: &[usize], other: &[usize]) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for a in one {
        for b in other {
            cuts.push(Cut {
                at: *a,
                from: *b,
                share: 1.0,
            });
            cuts.push(Cut {
                at: *b,
                from: *a,
                share: 1.0,
            });
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn pairs(cuts: &[Cut]) -> Vec<(usize, usize)> {
        let mut pairs: Vec<(usize, usize)> = cuts.iter().map(|cut| (cut.at, cut.from)).collect();
        pairs.sort_unstable();
        pairs
    }

    #[test]
    fn a_partition_leaves_no_way_between_its_parts_and_all_ways_within() {
        for seed in 0..50 {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            let (what, cuts) = partition(&[1, 2, 3, 4, 5], 3, &mut random);
            let found = pairs(&cuts);
            assert!(!found.is_empty() && found.len() < 20, "{what}");
            assert!(
                found.iter().all(|(at, from)| found.contains(&(*from, *at))),
                "{what}"
            );
        }
    }

    #[test]
    fn a_bridge_still_sees_everybody() {
        let (_, cuts) = bridge(&[1, 2, 3], 2);
        assert_eq!(pairs(&cuts), [(1, 3), (3, 1)]);
    }

    #[test]
    fn one_way_is_one_way() {
        assert_eq!(pairs(&one_way(&[1, 2, 3], 2, true).1), [(1, 2), (3, 2)]);
        assert_eq!(pairs(&one_way(&[1, 2, 3], 2, false).1), [(2, 1), (2, 3)]);
    }
}
