//! The refused rows of a view that one group keeps.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use covey_state::record::DeadLetter;
use covey_state::{Fault, Key, Record, View, ViewId};
use serde::{Deserialize, Serialize};

/// A refused row, and where it stands in its group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoundLetter {
    /// The log index of its command, and its position in it.
    pub(crate) place: (u64, u32),
    /// The row and the reason.
    pub(crate) letter: DeadLetter,
}

/// The newest `limit` refused rows of the view, newest last.
pub(super) fn newest(group: &dyn View, view: ViewId, limit: usize) -> Result<Vec<FoundLetter>, Fault> {
    let mut kept: VecDeque<FoundLetter> = VecDeque::new();
    group.scan(
        &Key::DeadLetter(view, 0, 0),
        &mut |key, record| match (key, record) {
            (Key::DeadLetter(of, index, ordinal), Record::DeadLetter(letter)) if of == view => {
                kept.push_back(FoundLetter {
                    place: (index, ordinal),
                    letter,
                });
                if kept.len() > limit {
                    kept.pop_front();
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        },
    )?;
    Ok(kept.into())
}
