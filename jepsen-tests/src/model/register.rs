//! A register: read, write, compare-and-set.

use std::collections::BTreeMap;

use crate::checker::{History, Model, Operation};

/// A register that holds a number; 0 before anything was written.
#[derive(Debug, Clone, Copy, Default)]
pub struct CasRegister;

/// What a register is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterCall {
    /// What it holds.
    Read,
    /// To hold this number.
    Write(u64),
    /// To hold another number if it holds the expected one.
    CompareAndSet {
        /// What it must hold.
        expected: u64,
        /// What it is to hold.
        new: u64,
    },
}

/// What a register answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterAnswer {
    /// It holds this number.
    Value(u64),
    /// It does as asked.
    Done,
    /// It does not hold what was expected, and did not change.
    Mismatch,
}

impl CasRegister {
    /// The same history with fewer open ends, so that the checker has less to try. The verdict stays the same where every
    /// value is written by one operation only.
    ///
    /// A write or compare-and-set without an outcome whose value somebody has seen took effect before the end of that
    /// operation; who compared with a value and set another that was seen has seen it too. One whose value nobody has seen
    /// can only matter to a compare-and-set that did not find what it expected; where there is none of these, it is left
    /// out.
    #[must_use]
    pub fn settled(history: History<Self>) -> History<Self> {
        let mismatch =
            |operation: &Operation<_, _>| matches!(operation.end, Some((RegisterAnswer::Mismatch, _)));
        let mismatch = history.iter().any(mismatch);
        let seen = seen(&history);
        let settle = |operation: Operation<RegisterCall, RegisterAnswer>| {
            let value = match (operation.call, &operation.end) {
                (_, Some(_)) | (RegisterCall::Read, None) => return operation,
                (RegisterCall::Write(value) | RegisterCall::CompareAndSet { new: value, .. }, None) => value,
            };
            match seen.get(&value) {
                Some(at) => {
                    Operation::answered(operation.call, operation.called_at, RegisterAnswer::Done, *at)
                }
                None if mismatch => operation,
                None => operation.left_out(),
            }
        };
        history.into_iter().map(settle).collect()
    }
}

/// The values that somebody has seen, and the first moment by which that was so.
fn seen(history: &History<CasRegister>) -> BTreeMap<u64, u64> {
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    let mut see = |value: u64, at: u64| {
        let first = seen.entry(value).or_insert(u64::MAX);
        let earlier = at < *first;
        *first = at.min(*first);
        earlier.then_some((value, at))
    };
    let mut open: BTreeMap<u64, u64> = BTreeMap::new();
    let mut news = Vec::new();
    for operation in history {
        match (operation.call, &operation.end) {
            (RegisterCall::Read, Some((RegisterAnswer::Value(value), at))) => news.extend(see(*value, *at)),
            (RegisterCall::CompareAndSet { expected, .. }, Some((RegisterAnswer::Done, at))) => {
                news.extend(see(expected, *at));
            }
            (RegisterCall::CompareAndSet { expected, new }, None) => {
                open.insert(new, expected);
            }
            _ => {}
        }
    }
    // Along the open operations that compared with a value in order to set one that was seen.
    while let Some((value, at)) = news.pop() {
        news.extend(open.get(&value).and_then(|expected| see(*expected, at)));
    }
    seen
}

impl Model for CasRegister {
    type State = u64;
    type Call = RegisterCall;
    type Answer = RegisterAnswer;

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, call: &RegisterCall, answer: Option<&RegisterAnswer>) -> Option<u64> {
        use RegisterAnswer::{Done, Mismatch, Value};
        match (call, answer) {
            (RegisterCall::Read, None) => Some(*state),
            (RegisterCall::Read, Some(Value(seen))) => (seen == state).then_some(*state),
            (RegisterCall::Write(value), None | Some(Done)) => Some(*value),
            (RegisterCall::CompareAndSet { expected, new }, None) => {
                Some(if expected == state { *new } else { *state })
            }
            (RegisterCall::CompareAndSet { expected, new }, Some(Done)) => {
                (expected == state).then_some(*new)
            }
            (RegisterCall::CompareAndSet { expected, .. }, Some(Mismatch)) => {
                (expected != state).then_some(*state)
            }
            (RegisterCall::Read, Some(Done | Mismatch))
            | (RegisterCall::Write(_), Some(Value(_) | Mismatch))
            | (RegisterCall::CompareAndSet { .. }, Some(Value(_))) => None,
        }
    }
}
