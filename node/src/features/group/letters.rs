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

#[cfg(test)]
mod tests {
    use covey_state::Value;

    use super::*;
    use crate::features::group::replay::Replay;
    use crate::features::push::sample;

    #[test]
    fn the_newest_letters_are_kept_in_the_order_in_which_they_came() {
        let mut replay = Replay::of(sample::weather());
        for number in 0..3 {
            replay.push(Value::Int64(number), 10, vec![Value::Float64(1.0), Value::Null]);
        }
        let found = newest(&replay.group, ViewId::new(1), 2).unwrap();
        let keys: Vec<_> = found
            .iter()
            .map(|found| found.letter.row.key[0].clone())
            .collect();
        assert_eq!(keys, [Value::Int64(1), Value::Int64(2)]);
        assert!(
            found[0]
                .letter
                .reason
                .contains("join key `origin` must be string"),
            "{}",
            found[0].letter.reason
        );
    }
}
