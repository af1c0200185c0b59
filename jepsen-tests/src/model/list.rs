//! A list to which numbers are appended and which is read as a whole.

use crate::checker::Model;

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
