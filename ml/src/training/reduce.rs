//! Merging partials: first to last, always, so that sums of floats come out the same.
//!
//! Invariant: a partial of another task ends the merge with an error that names both tasks.

use crate::error::{Error, Result};

use super::task::Partial;

/// Takes what is wanted out of each partial and adds it to that of the partials before.
pub(super) fn merge_in_order<T>(
    partials: Vec<Partial>,
    take: impl Fn(Partial) -> Result<T>,
    add: impl Fn(&mut T, T) -> Result<()>,
) -> Result<T> {
    let mut taken = partials.into_iter().map(take);
    let none = Error::TooFew {
        what: "partials",
        actual: 0,
        needed: 1,
    };
    let mut merged = taken.next().ok_or(none)??;
    for next in taken {
        add(&mut merged, next?)?;
    }
    Ok(merged)
}

/// The refusal of a partial that answers another task.
pub(super) fn unexpected(expected: &'static str, actual: &Partial) -> Error {
    Error::UnexpectedPartial {
        expected,
        actual: actual.name(),
    }
}
