//! A counter: how many things there are, and the sum of them.

use crate::checker::Model;

/// A counter, at 0 first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counter;

/// What a counter is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterCall {
    /// How many there are and what they add up to.
    Read,
    /// To count one more thing of this size.
    Add(i64),
}

/// What a counter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterAnswer {
    /// What it has counted.
    Total {
        /// How many there are.
        count: u64,
        /// What they add up to.
        sum: i64,
    },
    /// It does as asked.
    Done,
}

impl Model for Counter {
    /// How many, and their sum.
    type State = (u64, i64);
    type Call = CounterCall;
    type Answer = CounterAnswer;

    fn initial(&self) -> (u64, i64) {
        (0, 0)
    }

    fn step(
        &self,
        state: &(u64, i64),
        call: &CounterCall,
        answer: Option<&CounterAnswer>,
    ) -> Option<(u64, i64)> {
        match (call, answer) {
            (CounterCall::Read, None) => Some(*state),
            (CounterCall::Read, Some(CounterAnswer::Total { count, sum })) => {
                ((*count, *sum) == *state).then_some(*state)
            }
            (CounterCall::Add(size), None | Some(CounterAnswer::Done)) => Some((state.0 + 1, state.1 + size)),
            (CounterCall::Read, Some(CounterAnswer::Done))
            | (CounterCall::Add(_), Some(CounterAnswer::Total { .. })) => None,
        }
    }
}
