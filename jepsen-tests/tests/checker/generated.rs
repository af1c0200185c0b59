//! Histories of clients that use a right object at the same time: each operation takes effect at a moment between its call
//! and its return; some never return, and of these some never took effect.

use covey_jepsen::checker::{Model, Operation};
use covey_jepsen::model::{AppendList, CasRegister, ListAnswer, ListCall, RegisterAnswer, RegisterCall};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Operations of registers.
pub(crate) type RegisterHistory = Vec<Operation<RegisterCall, RegisterAnswer>>;
/// Operations of lists.
pub(crate) type ListHistory = Vec<Operation<ListCall, ListAnswer>>;

/// How large a history is, and how much of it stays open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) clients: usize,
    pub(crate) operations: usize,
    /// The chance that an outcome stays unknown.
    pub(crate) unknown: f64,
}

/// What a client is doing.
enum Doing<C, A> {
    Nothing,
    Called(C, u64),
    Done(C, u64, A),
}

/// A source of randomness that a seed determines.
pub(crate) fn random(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// A history of a register; every written value is another one.
pub(crate) fn register(seed: u64, shape: Shape) -> RegisterHistory {
    let mut fresh = 0;
    let next = |random: &mut Xoshiro256PlusPlus, state: &u64| match random.gen_range(0..4) {
        0 | 1 => RegisterCall::Read,
        2 => {
            fresh += 1;
            RegisterCall::Write(fresh)
        }
        _ => {
            fresh += 1;
            let expected = if random.gen_bool(0.7) {
                *state
            } else {
                random.gen_range(0..=fresh)
            };
            RegisterCall::CompareAndSet { expected, new: fresh }
        }
    };
    let answer = |state: &u64, call: &RegisterCall| match call {
        RegisterCall::Read => RegisterAnswer::Value(*state),
        RegisterCall::Write(_) => RegisterAnswer::Done,
        RegisterCall::CompareAndSet { expected, .. } if expected == state => RegisterAnswer::Done,
        RegisterCall::CompareAndSet { .. } => RegisterAnswer::Mismatch,
    };
    history(&CasRegister, (seed, shape), next, answer)
}

/// A history of a list; every appended number is another one.
pub(crate) fn list(seed: u64, shape: Shape) -> ListHistory {
    let mut fresh = 0;
    let next = |random: &mut Xoshiro256PlusPlus, _: &Vec<u64>| match random.gen_range(0..2) {
        0 => ListCall::Read,
        _ => {
            fresh += 1;
            ListCall::Append(fresh)
        }
    };
    let answer = |state: &Vec<u64>, call: &ListCall| match call {
        ListCall::Read => ListAnswer::Items(state.clone()),
        ListCall::Append(_) => ListAnswer::Done,
    };
    history(&AppendList, (seed, shape), next, answer)
}

fn history<M: Model>(
    model: &M,
    (seed, shape): (u64, Shape),
    mut next: impl FnMut(&mut Xoshiro256PlusPlus, &M::State) -> M::Call,
    answer: impl Fn(&M::State, &M::Call) -> M::Answer,
) -> Vec<Operation<M::Call, M::Answer>> {
    let mut random = random(seed);
    let mut state = model.initial();
    let mut clients: Vec<Doing<M::Call, M::Answer>> = (0..shape.clients).map(|_| Doing::Nothing).collect();
    let mut history = Vec::new();
    let mut begun = 0;
    let mut now = 0;
    while history.len() < shape.operations {
        now += 1;
        let client = random.gen_range(0..clients.len());
        let doing = std::mem::replace(&mut clients[client], Doing::Nothing);
        clients[client] = match doing {
            Doing::Nothing if begun < shape.operations => {
                begun += 1;
                Doing::Called(next(&mut random, &state), now)
            }
            Doing::Nothing => Doing::Nothing,
            Doing::Called(call, at) if random.gen_bool(shape.unknown / 2.0) => {
                history.push(Operation::unknown(call, at));
                Doing::Nothing
            }
            Doing::Called(call, at) => {
                let told = answer(&state, &call);
                state = model.step(&state, &call, Some(&told)).expect("a right answer");
                Doing::Done(call, at, told)
            }
            Doing::Done(call, at, _) if random.gen_bool(shape.unknown / 2.0) => {
                history.push(Operation::unknown(call, at));
                Doing::Nothing
            }
            Doing::Done(call, at, told) => {
                history.push(Operation::answered(call, at, told, now));
                Doing::Nothing
            }
        };
    }
    history
}

/// Changes some answers of reads to others that may or may not be right.
pub(crate) fn change_answers(history: &mut RegisterHistory, random: &mut Xoshiro256PlusPlus) {
    for operation in history {
        if let Some((RegisterAnswer::Value(value), _)) = &mut operation.end
            && random.gen_bool(0.4)
        {
            *value = random.gen_range(0..4);
        }
    }
}

/// Swaps, drops or forgets an item in one of the reads that see at least two.
pub(crate) fn change_lists(history: &mut ListHistory, random: &mut Xoshiro256PlusPlus) {
    let reads = history.iter_mut().filter_map(|operation| operation.end.as_mut());
    let mut seen: Vec<&mut Vec<u64>> = reads
        .filter_map(|(answer, _)| match answer {
            ListAnswer::Items(items) if items.len() >= 2 => Some(items),
            _ => None,
        })
        .collect();
    if seen.is_empty() {
        return;
    }
    let chosen = random.gen_range(0..seen.len());
    match random.gen_range(0..3) {
        0 => seen[chosen].swap(0, 1),
        1 => {
            seen[chosen].pop();
        }
        _ => {
            seen[chosen].remove(0);
        }
    }
}
