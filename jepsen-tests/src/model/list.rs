//! A list to which numbers are appended and which is read as a whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::checker::{History, Model, Operation};

/// A list, empty at first.
#[derive(Debug, Clone, Copy, Default)]
pub struct AppendList;

/// What a list is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListCall {
    /// All of it.
    Read,
    /// To have this number at its end.
    Append(u64),
}

/// What a list answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListAnswer {
    /// All of it, oldest first.
    Items(Vec<u64>),
    /// It does as asked.
    Done,
}

impl AppendList {
    /// The same history with fewer open ends, so that the checker has less to try. The verdict stays the same where every
    /// item is appended by one operation only.
    ///
    /// An append without an outcome that a read has seen took effect before the end of that read. One that no read has
    /// seen may be left out: reads show all items, so no read comes after it, and no other answer depends on it.
    #[must_use]
    pub fn settled(history: History<Self>) -> History<Self> {
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        for (answer, ended_at) in history.iter().filter_map(|operation| operation.end.as_ref()) {
            if let ListAnswer::Items(items) = answer {
                for item in items.iter().collect::<BTreeSet<_>>() {
                    let first = seen.entry(*item).or_insert(*ended_at);
                    *first = (*first).min(*ended_at);
                }
            }
        }
        let settle = |operation: Operation<ListCall, ListAnswer>| {
            let (ListCall::Append(item), None) = (operation.call, &operation.end) else {
                return operation;
            };
            match seen.get(&item) {
                Some(at) => Operation::answered(operation.call, operation.called_at, ListAnswer::Done, *at),
                None => operation.left_out(),
            }
        };
        history.into_iter().map(settle).collect()
    }
}

impl Model for AppendList {
    type State = Vec<u64>;
    type Call = ListCall;
    type Answer = ListAnswer;

    fn initial(&self) -> Vec<u64> {
        Vec::new()
    }

    fn step(&self, state: &Vec<u64>, call: &ListCall, answer: Option<&ListAnswer>) -> Option<Vec<u64>> {
        match (call, answer) {
            (ListCall::Read, None) => Some(state.clone()),
            (ListCall::Read, Some(ListAnswer::Items(seen))) => (seen == state).then(|| state.clone()),
            (ListCall::Append(item), None | Some(ListAnswer::Done)) => {
                let mut longer = state.clone();
                longer.push(*item);
                Some(longer)
            }
            (ListCall::Read, Some(ListAnswer::Done)) | (ListCall::Append(_), Some(ListAnswer::Items(_))) => {
                None
            }
        }
    }
}
