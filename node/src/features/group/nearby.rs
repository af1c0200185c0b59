//! Records near each other, kept while many moments of one entity are read.
//!
//! The moments of a training set lie close together: their windows share most tiles, and their rows are neighbours in
//! history. What one read has scanned is kept for the next, which goes best from the newest moment to the oldest.
//!
//! Invariant: it shows exactly what the view beneath shows. What is kept is a range that was scanned without a gap; a
//! scan that begins outside starts a new one, and a scan that runs off its end reads on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use covey_state::window::Hop;
use covey_state::{Fault, Key, Record, View};

/// Records that are read beneath in one go.
const CHUNK_RECORDS: usize = 64;
/// Records that are kept; a scan that finds more starts anew.
const KEPT_RECORDS_MAX: usize = 50_000;

/// A view of one group that remembers the history and the tiles that it has shown.
pub(super) struct Nearby<'a> {
    beneath: &'a dyn View,
    /// History has no hop.
    kept: RefCell<BTreeMap<Option<Hop>, Kept>>,
}

impl<'a> Nearby<'a> {
    /// A view that remembers nothing yet.
    pub(super) fn new(beneath: &'a dyn View) -> Self {
        Self {
            beneath,
            kept: RefCell::default(),
        }
    }
}

impl View for Nearby<'_> {
    fn get(&self, key: &Key) -> Result<Option<Record>, Fault> {
        self.beneath.get(key)
    }

    fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Record>>, Fault> {
        self.beneath.get_many(keys)
    }

    fn scan(&self, from: &Key, visit: &mut dyn FnMut(Key, Record) -> ControlFlow<()>) -> Result<(), Fault> {
        self.glance(from, &mut |key, record| visit(key.clone(), record.clone()))
    }

    fn glance(
        &self,
        from: &Key,
        visit: &mut dyn FnMut(&Key, &Record) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let (shelf, start) = match from {
            Key::History(..) => (None, from.clone()),
            Key::Tile(entity, view, hop, start) => {
                // The next windows begin a little earlier, so the first read begins earlier still.
                let chunk = i64::try_from(CHUNK_RECORDS).unwrap_or(0);
                let start = start.plus_micros(-chunk * hop.micros());
                (Some(*hop), Key::Tile(entity.clone(), *view, *hop, start))
            }
            _ => return self.beneath.glance(from, visit),
        };
        let mut kept = self.kept.borrow_mut();
        let kept = kept.entry(shelf).or_default();
        if !kept.covers(from) || kept.records.len() > KEPT_RECORDS_MAX {
            *kept = Kept::from(start);
        }
        kept.glance(self.beneath, from, visit)
    }
}

/// All records of a range of keys.
#[derive(Default)]
struct Kept {
    /// The range's first key; its last one is that of the last record.
    first: Option<Key>,
    /// Whether there is nothing after the last record.
    is_complete: bool,
    /// In key order.
    records: Vec<(Key, Record)>,
}

impl Kept {
    fn from(start: Key) -> Self {
        Self {
            first: Some(start),
            ..Self::default()
        }
    }

    fn covers(&self, key: &Key) -> bool {
        let last = self.records.last().map(|(last, _)| last);
        self.first.as_ref().is_some_and(|first| first <= key) && last.is_some_and(|last| key <= last)
    }

    fn glance(
        &mut self,
        beneath: &dyn View,
        from: &Key,
        visit: &mut dyn FnMut(&Key, &Record) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let mut next = self.records.partition_point(|(key, _)| key < from);
        loop {
            for (key, record) in &self.records[next..] {
                // What was read ahead of the scan's beginning is not part of it.
                if key >= from && visit(key, record).is_break() {
                    return Ok(());
                }
            }
            if self.is_complete {
                return Ok(());
            }
            next = self.records.len();
            self.read_on(beneath)?;
        }
    }

    /// Reads the next records beneath, in one go.
    fn read_on(&mut self, beneath: &dyn View) -> Result<(), Fault> {
        let known = self.records.last().map(|(last, _)| last.clone());
        let Some(start) = known.as_ref().or(self.first.as_ref()).cloned() else {
            return Ok(());
        };
        let records = &mut self.records;
        let mut found = 0;
        beneath.scan(&start, &mut |key, record| {
            if known.as_ref() == Some(&key) {
                return ControlFlow::Continue(());
            }
            records.push((key, record));
            found += 1;
            if found < CHUNK_RECORDS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        self.is_complete = found < CHUNK_RECORDS;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use covey_state::entity::EntityKey;
    use covey_state::read::{self, AsOf};
    use covey_state::window::{HOUR, MINUTE};
    use covey_state::{Timestamp, Value, ViewId};

    use super::*;
    use crate::features::group::replay::Replay;
    use crate::features::push::sample;

    #[test]
    fn reads_through_it_equal_reads_beneath_in_any_order() {
        let mut replay = Replay::of(sample::weather());
        // A fixed sequence that jumps about, so that rows come late, close together and far apart.
        let step = |number: i64| (number * 7_919) % 4_001;
        for number in 0..1_500 {
            let airport = ["EWR", "JFK", "LGA"][usize::try_from(step(number) % 3).unwrap()];
            let values = vec![Value::Float64(step(number + 1) as f64), Value::Null];
            replay.push(
                Value::String(airport.to_owned()),
                5 * HOUR + step(number) * MINUTE,
                values,
            );
        }
        let nearby = Nearby::new(&replay.group);
        let upwards = (0..300).map(|number| number * 14);
        for minutes in upwards.clone().chain(upwards.rev()).chain((0..300).map(step)) {
            let at = Timestamp::from_micros(5 * HOUR + minutes * MINUTE + 1);
            for (airport, through) in [("JFK", None), ("LGA", Some(800))] {
                let entity = EntityKey::text(airport);
                let row = |view: &dyn View| {
                    read::latest_row(view, &entity, ViewId::new(1), Some(at), through).unwrap()
                };
                let windows = |view: &dyn View| {
                    read::aggregates(view, &sample::weather(), &entity, AsOf { at, through }, &[0]).unwrap()
                };
                assert_eq!(row(&nearby), row(&replay.group));
                assert_eq!(windows(&nearby), windows(&replay.group));
            }
        }
    }
}
