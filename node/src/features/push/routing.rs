//! From the rows of a request to one command per group and thousand rows. Pure.
//!
//! Invariant: the parts depend on the request alone, never on the view's schema or on the load, so that a retry is cut
//! at the same places and each part meets its own remembered answer.

use covey_state::command::IncomingRow;
use covey_state::entity::{EntityKey, KeyPart};
use covey_state::slot::Span;
use covey_state::{DataType, GroupId, Value};

use crate::features::rows::TableRows;

/// Rows in one command.
pub(crate) const COMMAND_ROWS_MAX: usize = 1_000;
/// Bytes of rows in one command, by [`row_sizes`]; a single row that is larger goes alone.
pub(crate) const COMMAND_BYTES_MAX: usize = 1 << 20;

/// Rows that go to one group in one command.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// The group.
    pub(crate) group: GroupId,
    /// The part's number within the request.
    pub(crate) number: u32,
    /// For each row its number in the request.
    pub(crate) origins: Vec<usize>,
    /// The rows.
    pub(crate) rows: Vec<IncomingRow>,
}

/// The entity key of some values, or `None` where they are not of the declared types.
pub(crate) fn entity_key<'a>(
    values: impl ExactSizeIterator<Item = &'a Value>,
    data_types: impl Iterator<Item = DataType>,
) -> Option<EntityKey> {
    let mut parts = Vec::with_capacity(values.len());
    for (value, data_type) in values.zip(data_types) {
        parts.push(match (value, data_type) {
            (Value::Int64(number), DataType::Int64) => KeyPart::Int64(*number),
            (Value::String(text), DataType::String) => KeyPart::String(text.clone()),
            _ => return None,
        });
    }
    Some(EntityKey(parts))
}

/// What each row of a request weighs, whatever the schema says.
pub(crate) fn row_sizes(table: &TableRows) -> Vec<usize> {
    let size = |value: &Value| match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Int64(_) | Value::Float64(_) | Value::Timestamp(_) => 9,
        Value::String(text) => 5 + text.len(),
    };
    (0..table.len())
        .map(|row| table.columns().iter().map(|column| size(&column[row])).sum())
        .collect()
}

/// Cuts rows into parts: group by group in ascending order, in each the rows in request order.
///
/// A row whose key cannot be formed has no group of its own; the group `keyless` keeps it as a dead letter.
pub(crate) fn cut(
    rows: Vec<IncomingRow>,
    sizes: &[usize],
    group_of: impl Fn(&IncomingRow) -> Option<GroupId>,
    keyless: GroupId,
) -> Vec<Part> {
    let mut routed: Vec<(GroupId, usize, IncomingRow)> = rows
        .into_iter()
        .enumerate()
        .map(|(origin, row)| (group_of(&row).unwrap_or(keyless), origin, row))
        .collect();
    routed.sort_by_key(|(group, origin, _)| (*group, *origin));
    let mut parts: Vec<Part> = Vec::new();
    let mut bytes = 0;
    for (group, origin, row) in routed {
        let fits = |part: &Part| {
            part.group == group
                && part.rows.len() < COMMAND_ROWS_MAX
                && bytes + sizes[origin] <= COMMAND_BYTES_MAX
        };
        if !parts.last().is_some_and(fits) {
            let number = u32::try_from(parts.len())
                .expect("a request has fewer parts than rows, and those are bounded");
            parts.push(Part {
                group,
                number,
                origins: Vec::new(),
                rows: Vec::new(),
            });
            bytes = 0;
        }
        bytes += sizes[origin];
        let part = parts.last_mut().expect("there is a part to put the row into");
        part.origins.push(origin);
        part.rows.push(row);
    }
    parts
}

/// The group of a row's entity among those of `span`, if its key can be formed.
pub(crate) fn group_of_row(row: &IncomingRow, data_types: &[DataType], span: Span) -> Option<GroupId> {
    let key = entity_key(row.key.iter(), data_types.iter().copied())?;
    Some(span.group_of_entity(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use covey_state::Timestamp;

    fn row(key: i64) -> IncomingRow {
        let at = Timestamp::from_micros(key);
        IncomingRow {
            key: vec![Value::Int64(key)],
            event_time: at,
            created_time: at,
            values: Vec::new(),
        }
    }

    fn by_parity(row: &IncomingRow) -> Option<GroupId> {
        match row.key[0] {
            Value::Int64(number) => Some(GroupId::new(if number % 2 == 0 { 1 } else { 2 })),
            _ => None,
        }
    }

    #[test]
    fn rows_are_cut_by_group_and_keep_their_order() {
        let parts = cut((0..5).map(row).collect(), &[1; 5], by_parity, GroupId::new(9));
        let shape: Vec<_> = parts
            .iter()
            .map(|part| (part.group.get(), part.number, part.origins.clone()))
            .collect();
        assert_eq!(shape, [(1, 0, vec![0, 2, 4]), (2, 1, vec![1, 3])]);
    }

    #[test]
    fn a_part_is_bounded_in_rows_and_in_bytes() {
        let many = cut(
            (0..2_500).map(|n| row(n * 2)).collect(),
            &[1; 2_500],
            by_parity,
            GroupId::new(9),
        );
        assert_eq!(
            many.iter().map(|part| part.rows.len()).collect::<Vec<_>>(),
            [1_000, 1_000, 500]
        );
        let heavy = cut(
            (0..3).map(|n| row(n * 2)).collect(),
            &[COMMAND_BYTES_MAX; 3],
            by_parity,
            GroupId::new(9),
        );
        assert_eq!(
            heavy.iter().map(|part| part.number).collect::<Vec<_>>(),
            [0, 1, 2]
        );
    }

    #[test]
    fn a_retry_is_cut_at_the_same_places_though_the_schema_has_grown() {
        let grown = |key| IncomingRow {
            values: vec![Value::Null; 40],
            ..row(key)
        };
        let sizes = vec![700; 2_000];
        let places = |parts: Vec<Part>| -> Vec<_> {
            parts
                .into_iter()
                .map(|part| (part.group, part.number, part.origins))
                .collect()
        };
        let first = cut((0..2_000).map(row).collect(), &sizes, by_parity, GroupId::new(9));
        let again = cut(
            (0..2_000).map(grown).collect(),
            &sizes,
            by_parity,
            GroupId::new(9),
        );
        assert_eq!(places(first), places(again));
    }

    #[test]
    fn a_row_without_a_key_goes_to_the_group_that_keeps_such_rows() {
        let keyless = IncomingRow {
            key: vec![Value::Null],
            ..row(1)
        };
        let parts = cut(vec![keyless], &[1], by_parity, GroupId::new(9));
        assert_eq!(parts[0].group, GroupId::new(9));
    }

    #[test]
    fn a_key_needs_the_declared_types() {
        let values = [Value::Int64(1), Value::String("x".into())];
        let key = entity_key(values.iter(), [DataType::Int64, DataType::String].into_iter());
        assert_eq!(
            key,
            Some(EntityKey(vec![KeyPart::Int64(1), KeyPart::String("x".into())]))
        );
        assert_eq!(entity_key(values.iter(), [DataType::String; 2].into_iter()), None);
    }
}
