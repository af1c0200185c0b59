//! A register: read, write, compare-and-set.

use crate::checker::Model;

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
