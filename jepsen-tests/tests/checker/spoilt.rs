//! Right histories, spoilt in the ways in which databases fail. Each must be found, wherever in the history it is.

use covey_jepsen::checker::{Limits, Operation, Verdict, check};
use covey_jepsen::model::{AppendList, CasRegister, ListAnswer, ListCall, RegisterAnswer, RegisterCall};
use rand::Rng;
use rand::seq::SliceRandom;

use crate::generated::{self, ListHistory, RegisterHistory, Shape};

const SEEDS: u64 = 200;
/// In how many of them at least there was something to spoil.
const SPOILT_MIN: usize = 100;

const SHAPE: Shape = Shape {
    clients: 5,
    operations: 80,
    unknown: 0.04,
};

/// Spoils the register histories of all seeds and shows that each spoilt one, and no other, is found.
fn every_spoilt_register_is_found(spoil: impl Fn(&mut RegisterHistory, u64) -> Option<()>) {
    let mut spoilt = 0;
    for seed in 0..SEEDS {
        let mut history = generated::register(seed, SHAPE);
        let changed = spoil(&mut history, seed).is_some();
        spoilt += usize::from(changed);
        let verdict = check(&CasRegister, &history, Limits::default());
        match verdict {
            Verdict::Linearizable => assert!(!changed, "seed {seed} was not found"),
            Verdict::Violation(_) => assert!(changed, "seed {seed} was not spoilt"),
            Verdict::Unknown(why) => panic!("seed {seed}: {why}"),
        }
    }
    assert!(spoilt >= SPOILT_MIN, "only {spoilt} were spoilt");
}

fn ended(operation: &Operation<RegisterCall, RegisterAnswer>) -> u64 {
    operation.end.as_ref().map_or(u64::MAX, |(_, at)| *at)
}

/// A read, and a value that was there before an acknowledged write which was the last before the read.
fn overwritten(history: &RegisterHistory, seed: u64) -> Option<(usize, usize, u64)> {
    let mut candidates = Vec::new();
    for (write, overwriting) in history.iter().enumerate() {
        let RegisterCall::Write(_) = overwriting.call else {
            continue;
        };
        let before = history
            .iter()
            .find_map(|earlier| match (&earlier.call, &earlier.end) {
                (RegisterCall::Read, Some((RegisterAnswer::Value(value), at)))
                    if *at < overwriting.called_at =>
                {
                    Some(*value)
                }
                _ => None,
            });
        let later = history.iter().enumerate().filter(|(_, read)| {
            let is_read = read.call == RegisterCall::Read && read.end.is_some();
            is_read && read.called_at > ended(overwriting)
        });
        candidates.extend(later.filter_map(|(read, _)| Some((read, write, before?))));
    }
    candidates.choose(&mut generated::random(seed)).copied()
}

#[test]
fn a_stale_read() {
    every_spoilt_register_is_found(|history, seed| {
        let (read, _, value) = overwritten(history, seed)?;
        history[read].end.as_mut()?.0 = RegisterAnswer::Value(value);
        Some(())
    });
}

#[test]
fn an_acknowledged_write_that_is_lost() {
    every_spoilt_register_is_found(|history, seed| {
        // Until the end of some later read, every read shows what was there before.
        let (read, write, value) = overwritten(history, seed)?;
        let (from, until) = (history[write].called_at, ended(&history[read]));
        for (number, operation) in history.iter_mut().enumerate() {
            let in_between = operation.called_at > from && number != write;
            if let Some((RegisterAnswer::Value(seen), at)) = &mut operation.end
                && in_between
                && *at <= until
            {
                *seen = value;
            }
        }
        Some(())
    });
}

#[test]
fn a_compare_and_set_that_succeeds_twice() {
    every_spoilt_register_is_found(|history, seed| {
        let successful: Vec<(u64, u64)> = history
            .iter()
            .filter_map(|operation| match (&operation.call, &operation.end) {
                (RegisterCall::CompareAndSet { expected, .. }, Some((RegisterAnswer::Done, at))) => {
                    Some((*expected, *at))
                }
                _ => None,
            })
            .collect();
        let (expected, at) = *successful.choose(&mut generated::random(seed))?;
        let second = RegisterCall::CompareAndSet { expected, new: 1_000 };
        history.push(Operation::answered(second, at + 1, RegisterAnswer::Done, at + 2));
        Some(())
    });
}

#[test]
fn a_value_that_nobody_wrote() {
    every_spoilt_register_is_found(|history, seed| {
        let reads = history.iter_mut().filter_map(|operation| operation.end.as_mut());
        let mut values: Vec<&mut RegisterAnswer> = reads
            .map(|(answer, _)| answer)
            .filter(|answer| matches!(answer, RegisterAnswer::Value(_)))
            .collect();
        let chosen = generated::random(seed).gen_range(0..values.len());
        *values[chosen] = RegisterAnswer::Value(1_000);
        Some(())
    });
}

fn items(operation: &mut Operation<ListCall, ListAnswer>) -> Option<&mut Vec<u64>> {
    match &mut operation.end {
        Some((ListAnswer::Items(items), _)) => Some(items),
        _ => None,
    }
}

/// Spoils one of the reads that see at least two items and are not the first to do so.
fn every_spoilt_list_is_found(spoil: impl Fn(&mut Vec<u64>)) {
    let mut spoilt = 0;
    for seed in 0..SEEDS {
        let mut history: ListHistory = generated::list(seed, SHAPE);
        let mut long: Vec<&mut Vec<u64>> = history
            .iter_mut()
            .filter_map(items)
            .filter(|items| items.len() >= 2)
            .collect();
        if long.len() < 2 {
            continue;
        }
        let chosen = generated::random(seed).gen_range(1..long.len());
        // The same items are in another read, in the right order.
        if long[chosen].len() > long[chosen - 1].len() && chosen + 1 == long.len() {
            continue;
        }
        spoil(long[chosen]);
        spoilt += 1;
        let verdict = check(&AppendList, &AppendList::settled(history), Limits::default());
        assert!(
            matches!(verdict, Verdict::Violation(_)),
            "seed {seed}: {verdict:?}"
        );
    }
    assert!(spoilt >= SPOILT_MIN, "only {spoilt} were spoilt");
}

#[test]
fn appends_in_another_order_than_others_saw() {
    every_spoilt_list_is_found(|items| {
        let last = items.len() - 1;
        items.swap(last - 1, last);
    });
}

#[test]
fn an_append_that_is_there_twice() {
    every_spoilt_list_is_found(|items| items.insert(1, items[0]));
}

#[test]
fn an_append_that_is_gone_again() {
    every_spoilt_list_is_found(|items| {
        items.remove(0);
    });
}
