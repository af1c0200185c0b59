//! The history of a view in one group, page by page: the examples that a training set is built around.
//!
//! A fact that was corrected (the same entity and event time again) is one example, as it was corrected last.

use std::ops::ControlFlow;

use covey_state::entity::EntityKey;
use covey_state::{Fault, Key, Record, Row, Timestamp, Value, View, ViewId};
use serde::{Deserialize, Serialize};

/// Rows of one page.
pub(crate) const PAGE_ROWS_MAX: usize = 20_000;

/// A page of a view's history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpinePage {
    /// The view.
    pub(crate) view: ViewId,
    /// The position of the column that holds an example's time; `None` for the event time.
    pub(crate) timestamp: Option<usize>,
    /// Examples with a time before this are left out.
    pub(crate) from: Timestamp,
    /// Examples with a time at or after this are left out.
    pub(crate) until: Timestamp,
    /// The positions of the columns to keep, in the order in which they come back.
    pub(crate) columns: Vec<usize>,
    /// The last key of the page before, `None` for the first page.
    pub(crate) after: Option<Key>,
}

/// One example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpineRow {
    /// The time that its features are read as of.
    pub(crate) at: Timestamp,
    /// The entity of the row.
    pub(crate) entity: EntityKey,
    /// When the row's fact was true.
    pub(crate) event_time: Timestamp,
    /// The columns asked for.
    pub(crate) values: Vec<Value>,
}

/// The examples of a page, in key order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct SpineRows {
    /// The examples.
    pub(crate) rows: Vec<SpineRow>,
    /// The key to go on after; `None` at the end.
    pub(crate) next: Option<Key>,
}

/// Reads one page; rows of the log after `through` are not seen.
pub(super) fn read_page(
    group: &dyn View,
    page: &SpinePage,
    through: Option<u64>,
) -> Result<SpineRows, Fault> {
    let start = Key::history_from(EntityKey(Vec::new()), ViewId::new(0), Timestamp::MAX);
    let from = page.after.as_ref().unwrap_or(&start);
    let mut found = SpineRows::default();
    // The fact of the row before: what follows under it is older and has been corrected.
    let mut fact: Option<(EntityKey, Timestamp)> = None;
    group.scan(from, &mut |key, record| {
        let (Key::History(entity, view, _), Record::Row(row)) = (&key, record) else {
            return ControlFlow::Break(());
        };
        let seen = through.is_none_or(|through| row.log_index <= through);
        if *view != page.view || !seen {
            return ControlFlow::Continue(());
        }
        let same = fact
            .as_ref()
            .is_some_and(|(of, at)| of == entity && *at == row.event_time);
        if same || page.after.as_ref() == Some(&key) {
            fact = Some((entity.clone(), row.event_time));
            return ControlFlow::Continue(());
        }
        fact = Some((entity.clone(), row.event_time));
        found.rows.extend(example(page, entity, row));
        if found.rows.len() < PAGE_ROWS_MAX {
            return ControlFlow::Continue(());
        }
        found.next = Some(key);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// The row as an example, if its time is among those asked for.
fn example(page: &SpinePage, entity: &EntityKey, row: Row) -> Option<SpineRow> {
    let at = match page.timestamp {
        None => row.event_time,
        Some(position) => match row.values.get(position) {
            Some(Value::Timestamp(at)) => *at,
            // A row without that time is no example yet.
            _ => return None,
        },
    };
    if at < page.from || at >= page.until {
        return None;
    }
    let value = |position: &usize| row.values.get(*position).cloned().unwrap_or(Value::Null);
    Some(SpineRow {
        at,
        entity: entity.clone(),
        event_time: row.event_time,
        values: page.columns.iter().map(value).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use covey_state::row::RowVersion;
    use covey_state::{Change, MemoryView};

    use super::*;
    use crate::features::group::replay::Replay;
    use crate::features::push::sample;

    fn page(from: i64, until: i64) -> SpinePage {
        let (from, until) = (Timestamp::from_micros(from), Timestamp::from_micros(until));
        SpinePage {
            view: ViewId::new(1),
            timestamp: None,
            from,
            until,
            columns: vec![0],
            after: None,
        }
    }

    fn wind(found: &SpineRows) -> Vec<(i64, Value)> {
        found
            .rows
            .iter()
            .map(|row| (row.at.micros(), row.values[0].clone()))
            .collect()
    }

    #[test]
    fn a_corrected_fact_is_one_example_as_it_was_corrected_last() {
        let mut replay = Replay::of(sample::weather());
        let jfk = || Value::String("JFK".to_owned());
        let values = |number| vec![Value::Float64(number), Value::Null];
        let first = replay.push(jfk(), 10, values(1.0));
        replay.push(jfk(), 10, values(2.0));
        replay.push(jfk(), 20, values(3.0));
        let found = |through| wind(&read_page(&replay.group, &page(0, 20), through).unwrap());
        assert_eq!(found(None), [(10, Value::Float64(2.0))]);
        assert_eq!(found(Some(first)), [(10, Value::Float64(1.0))]);
    }

    #[test]
    fn pages_neither_lose_a_row_nor_give_one_twice() {
        let mut group = MemoryView::default();
        let rows = 2 * PAGE_ROWS_MAX + 1;
        for number in 0..i64::try_from(rows).unwrap() {
            let event_time = Timestamp::from_micros(number / 2);
            let row = Row {
                schema_version: 1,
                event_time,
                created_time: event_time,
                log_index: 1,
                ordinal: 0,
                values: vec![Value::Int64(number)],
            };
            let version = RowVersion {
                event_time,
                created_time: event_time,
                log_index: 1,
                ordinal: 0,
            };
            let key = Key::History(EntityKey::integer(number % 2), ViewId::new(1), Reverse(version));
            group.apply(Change::Put(key, Record::Row(row)));
        }
        let mut asked = page(0, i64::MAX);
        let mut seen = Vec::new();
        loop {
            let found = read_page(&group, &asked, None).unwrap();
            seen.extend(
                found
                    .rows
                    .iter()
                    .map(|row| row.values[0].as_number().unwrap() as usize),
            );
            match found.next {
                None => break,
                after => asked.after = after,
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..rows).collect::<Vec<_>>());
    }
}
