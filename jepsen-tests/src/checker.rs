//! A linearizability checker: is there one order of all operations that explains every answer and respects real time?
//!
//! The algorithm is that of Wing and Gong with Lowe's memory, as in Porcupine: walk the history as a linked list of calls
//! and returns; put a call next if the model allows its answer in the present state; go back when a return is met whose
//! call has no place yet; never try the same set of placed operations in the same state twice. Sources: J. Wing and
//! C. Gong, *Testing and Verifying Concurrent Objects* (1993); G. Lowe, *Testing for linearizability* (2017); A. Athalye,
//! *Porcupine*. Objects are independent of each other, so a history is checked key by key ([`check_each`]).
//!
//! Invariants: an operation whose outcome is unknown may take effect at any time after its call, or never; a check that
//! runs out of time or memory says [`Verdict::Unknown`], which is never taken for a pass.
//!
//! ```
//! use covey_jepsen::checker::{Limits, Operation, Verdict, check};
//! use covey_jepsen::model::{CasRegister, RegisterAnswer, RegisterCall};
//!
//! let history = [
//!     Operation::answered(RegisterCall::Write(1), 0, RegisterAnswer::Done, 10),
//!     // Begins after the write has ended and does not see it.
//!     Operation::answered(RegisterCall::Read, 20, RegisterAnswer::Value(0), 30),
//! ];
//! let verdict = check(&CasRegister, &history, Limits::default());
//! assert!(matches!(verdict, Verdict::Violation(violation) if violation.stuck_at == 1));
//! ```

mod placed;
mod search;
mod timeline;

use std::collections::BTreeMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// What an object does when one client at a time uses it.
pub trait Model {
    /// What the object holds.
    type State: Clone + Eq + Hash;
    /// What a client asks.
    type Call;
    /// What it is told.
    type Answer;

    /// What the object holds before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after `call` in `state`, or `None` if it cannot have been answered like that.
    ///
    /// Without an answer (the outcome is unknown) it is the state that the call leaves if it takes effect now; such a call
    /// always has one.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;
}

/// One operation of a client. Times are of one monotonic clock, in any unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation<C, A> {
    /// What was asked.
    pub call: C,
    /// When, at the latest, it had not been sent yet.
    pub called_at: u64,
    /// The answer and when it had come; `None` if the outcome is unknown.
    pub end: Option<(A, u64)>,
}

impl<C, A> Operation<C, A> {
    /// An operation that was answered.
    pub fn answered(call: C, called_at: u64, answer: A, ended_at: u64) -> Self {
        Self {
            call,
            called_at,
            end: Some((answer, ended_at)),
        }
    }

    /// An operation of which nobody knows whether it took effect, or when it will.
    pub fn unknown(call: C, called_at: u64) -> Self {
        Self {
            call,
            called_at,
            end: None,
        }
    }

    /// The same operation where it cannot matter: one that is called after everything else and never ends. So it keeps its
    /// position in the history.
    pub(crate) fn left_out(self) -> Self {
        Self {
            called_at: u64::MAX,
            end: None,
            ..self
        }
    }
}

/// The operations of one object of a model, in any order.
pub type History<M> = Vec<Operation<<M as Model>::Call, <M as Model>::Answer>>;

/// How much a check may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The time that it may take; for [`check_each`], all keys together.
    pub time: Duration,
    /// The pairs of placed operations and state that it may remember, for one key.
    pub states: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            states: 2_000_000,
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable,
    /// There is none.
    Violation(Violation),
    /// It is not known whether there is one.
    Unknown(Exhausted),
}

impl Verdict {
    /// Whether there is such an order. Not knowing is not passing.
    pub fn passes(&self) -> bool {
        matches!(self, Self::Linearizable)
    }
}

/// The longest order that was found before the check had to give up; positions are those in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The operations that have a place, in that order.
    pub order: Vec<usize>,
    /// The answered operation that has none after them, though it ended before any that could still come.
    pub stuck_at: usize,
}

/// What a check ran out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// [`Limits::time`].
    #[error("the check ran out of time")]
    Time,
    /// [`Limits::states`].
    #[error("the check ran out of states to remember")]
    States,
}

/// Checks the history of one object.
pub fn check<M: Model>(model: &M, history: &[Operation<M::Call, M::Answer>], limits: Limits) -> Verdict {
    check_until(model, history, (deadline(limits), limits.states))
}

/// Checks the histories of objects that are independent of each other; gives the verdict on each.
pub fn check_each<M: Model, K: Ord + Clone>(
    model: &M,
    histories: &BTreeMap<K, History<M>>,
    limits: Limits,
) -> BTreeMap<K, Verdict> {
    let deadline = deadline(limits);
    histories
        .iter()
        .map(|(key, history)| {
            (
                key.clone(),
                check_until(model, history, (deadline, limits.states)),
            )
        })
        .collect()
}

/// A limit beyond what the clock can tell is a year, which is as good as none.
fn deadline(limits: Limits) -> Instant {
    let year = Duration::from_secs(365 * 86_400);
    Instant::now() + limits.time.min(year)
}

fn check_until<M: Model>(
    model: &M,
    history: &[Operation<M::Call, M::Answer>],
    (deadline, states): (Instant, usize),
) -> Verdict {
    search::Search::new(model, history, states).run(deadline)
}
