//! The refused rows of a view that one group keeps.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use covey_state::record::DeadLetter;
use covey_state::{Fault, Key, Record, Value, View, ViewId};
use serde::{Deserialize, Serialize};

/// A refused row, and where it stands in its group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoundLetter {
    /// The log index of its command, and its position in it.
    pub(crate) place: (u64, u32),
    /// The row and the reason.
    pub(crate) letter: DeadLetter,
}

/// Bytes of values in one answer, roughly; the newest letter is in it however large it is.
const BYTES_MAX: usize = 1 << 20;

/// The newest refused rows of the view, at most `limit` and [`BYTES_MAX`] of them, newest last.
pub(super) fn newest(group: &dyn View, view: ViewId, limit: usize) -> Result<Vec<FoundLetter>, Fault> {
    let mut kept: VecDeque<FoundLetter> = VecDeque::new();
    let mut bytes = 0;
    group.scan(
        &Key::DeadLetter(view, 0, 0),
        &mut |key, record| match (key, record) {
            (Key::DeadLetter(of, index, ordinal), Record::DeadLetter(letter)) if of == view => {
                bytes += size(&letter);
                kept.push_back(FoundLetter {
                    place: (index, ordinal),
                    letter,
                });
                while kept.len() > limit || (kept.len() > 1 && bytes > BYTES_MAX) {
                    bytes -= kept.pop_front().map_or(0, |found| size(&found.letter));
                }
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break(()),
        },
    )?;
    Ok(kept.into())
}

fn size(letter: &DeadLetter) -> usize {
    let values = letter.row.key.iter().chain(&letter.row.values);
    let bytes = |value: &Value| match value {
        Value::String(text) => text.len(),
        Value::Null | Value::Bool(_) | Value::Int64(_) | Value::Float64(_) | Value::Timestamp(_) => 8,
    };
    letter.reason.len() + values.map(bytes).sum::<usize>()
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn large_letters_do_not_fill_a_nodes_memory() {
        let mut replay = Replay::of(sample::weather());
        for letter in 0..3 {
            let large = char::from(b'a' + letter).to_string().repeat(BYTES_MAX / 2);
            replay.push(Value::String(large), 10, vec![Value::Float64(1.0), Value::Null]);
        }
        let found = newest(&replay.group, ViewId::new(1), 100).unwrap();
        assert_eq!(found.len(), 1, "two would be more than {BYTES_MAX} bytes");
        assert!(found[0].letter.row.key[0].to_string().contains('c'));
    }
}
