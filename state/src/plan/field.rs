//! Checks of single fields, with the refusals that name them.

use crate::rejection::Rejection;

/// The longest name.
pub const NAME_LENGTH_MAX: usize = 63;
/// The longest description, reason or address, in bytes.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Values are quoted in refusals up to this many characters.
const QUOTED_MAX: usize = 80;

/// The refusal of a field.
pub(super) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Rejection {
    Rejection::Invalid {
        field: field.into(),
        reason: reason.into(),
    }
}

/// The refusal of a thing that is in a state that does not allow what is asked.
pub(super) fn wrong_state(
    kind: &str,
    name: &str,
    state: impl Into<String>,
    hint: impl Into<String>,
) -> Rejection {
    Rejection::WrongState {
        kind: kind.to_owned(),
        name: name.to_owned(),
        state: state.into(),
        hint: hint.into(),
    }
}

/// The refusal of a thing that has changed meanwhile.
pub(super) fn conflict(
    kind: &str,
    name: &str,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> Rejection {
    Rejection::Conflict {
        kind: kind.to_owned(),
        name: name.to_owned(),
        expected: expected.into(),
        found: found.into(),
    }
}

/// Refuses what is not true.
pub(super) fn ensure(holds: bool, field: &str, reason: impl FnOnce() -> String) -> Result<(), Rejection> {
    if holds {
        Ok(())
    } else {
        Err(invalid(field, reason()))
    }
}

/// Refuses more than `limit` of something.
pub(super) fn within(count: usize, limit: usize, what: &str) -> Result<(), Rejection> {
    if count <= limit {
        Ok(())
    } else {
        Err(Rejection::Limit {
            what: what.to_owned(),
            limit: limit as u64,
        })
    }
}

/// A name: a lower-case letter, then lower-case letters, digits, `-` and single `_`.
///
/// Two underscores in a row are refused because features are called `view__feature`.
pub(super) fn check_name(field: &str, name: &str) -> Result<(), Rejection> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase());
    let goes_on_well = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
    ensure(
        starts_well && goes_on_well && name.len() <= NAME_LENGTH_MAX,
        field,
        || {
            format!(
                "`{}` is not a name: it must start with a lower-case letter, go on with lower-case letters, digits, \
             `_` and `-`, and have at most {NAME_LENGTH_MAX} characters",
                quoted(name)
            )
        },
    )?;
    ensure(!name.contains("__"), field, || {
        format!("`{name}` has two underscores in a row, which separate view and feature in feature names")
    })
}

/// Names of the times that every row carries besides its columns.
const TIMES: [&str; 2] = ["event_time", "created_time"];

/// Whether a name can be that of a column or a join key: rows and files have the times under names of their own.
pub(super) fn check_column_name(field: &str, name: &str) -> Result<(), Rejection> {
    check_name(field, name)?;
    ensure(!TIMES.contains(&name), field, || {
        format!("`{name}` is the name of one of the times that every row carries")
    })
}

/// An id or an address: anything short and printable without spaces.
pub(super) fn check_token(field: &str, token: &str) -> Result<(), Rejection> {
    let printable = token.chars().all(|c| c.is_ascii_graphic());
    ensure(
        !token.is_empty() && token.len() <= 255 && printable,
        field,
        || {
            format!(
                "`{}` must be 1 to 255 printable characters without spaces",
                quoted(token)
            )
        },
    )
}

/// Text for people.
pub(super) fn check_text(field: &str, text: &str) -> Result<(), Rejection> {
    ensure(text.len() <= TEXT_BYTES_MAX, field, || {
        format!(
            "{} bytes are more than the {TEXT_BYTES_MAX} that are kept",
            text.len()
        )
    })
}

/// A number that is neither NaN nor infinite.
pub(super) fn check_finite(field: &str, number: f64) -> Result<(), Rejection> {
    ensure(number.is_finite(), field, || {
        format!("{number} is not a finite number")
    })
}

/// The beginning of a text that may be long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
