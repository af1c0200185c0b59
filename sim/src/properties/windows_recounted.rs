//! What a state has counted is the recount of the requests that it has taken in: every row of an acknowledged push and
//! every acknowledged drift counter once, and nothing that nobody asked for.
//!
//! A state is held against the recount up to its own position: whenever a node starts, whenever a client reads, and on
//! every node at the end. A request counts where it stands first. A flush counts unless one of the same node with a
//! greater mark stands before it.

use std::collections::BTreeMap;

use covey_cluster::Consistency;

use super::{Floors, Property, Scene};
use crate::event::{Applied, Counted, Event, Recounted};
use crate::ledger::{Counts, Flush, Ledger};

/// See the page's head.
#[derive(Default)]
pub(super) struct WindowsRecounted {
    /// What each request asks to be counted.
    asked: BTreeMap<String, Counts>,
    /// What each entry counts.
    entries: BTreeMap<u64, Counts>,
    /// The entry that counts a request.
    places: BTreeMap<String, u64>,
    /// The last entry that was acknowledged to count.
    acknowledged: Floors,
}

/// All entries are in one log.
const LOG: &str = "log";

impl Property for WindowsRecounted {
    fn name(&self) -> &'static str {
        "windows equal a recount"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for event in scene.events {
            match event {
                Event::Asked { request, counts } => {
                    self.asked.insert(request.clone(), counts.clone());
                }
                Event::Applied(applied) => self.take_in(applied)?,
                Event::Counted(counted) => self.acknowledge(counted)?,
                Event::Started { node, durable, .. } => {
                    self.compare(durable.applied, &durable.ledger)
                        .map_err(|words| format!("{node} starts with what it should not: {words}"))?;
                }
                Event::Recounted(read) => self.check_read(read)?,
                Event::Stopped { .. }
                | Event::Forgot { .. }
                | Event::Granted { .. }
                | Event::Appended(_)
                | Event::Read(_) => {}
            }
        }
        Ok(())
    }
}

impl WindowsRecounted {
    fn take_in(&mut self, applied: &Applied) -> Result<(), String> {
        let Some(counts) = &applied.counts else {
            return Ok(());
        };
        if self.asked.get(&applied.request) != Some(counts) {
            return Err(format!("{applied:?} is not what anybody asked for"));
        }
        if !self.places.contains_key(&applied.request) {
            self.places.insert(applied.request.clone(), applied.index);
            self.entries.insert(applied.index, counts.clone());
        }
        Ok(())
    }

    fn acknowledge(&mut self, counted: &Counted) -> Result<(), String> {
        let Some(place) = self.places.get(&counted.request) else {
            return Err(format!("{counted:?} has never been taken in"));
        };
        let is_in = match self.entries.get(place) {
            Some(Counts::Rows(rows)) => counted.accepted == Some(rows.len() as u64),
            Some(Counts::Flush(flush)) => self.counts(flush),
            None => false,
        };
        if !is_in {
            return Err(format!("{counted:?} is not counted"));
        }
        self.acknowledged.note(LOG, counted.answered, *place);
        Ok(())
    }

    /// Whether some entry counts this flush.
    fn counts(&self, flush: &Flush) -> bool {
        self.flushes(u64::MAX)
            .any(|counted| (counted.node, counted.mark) == (flush.node, flush.mark))
    }

    /// The flushes that count, up to an entry.
    fn flushes(&self, through: u64) -> impl Iterator<Item = &Flush> {
        let mut marks: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        self.entries
            .range(..=through)
            .filter_map(move |(_, counts)| match counts {
                Counts::Flush(flush) if marks.get(&flush.node) < Some(&flush.mark) => {
                    marks.insert(flush.node, flush.mark);
                    Some(flush)
                }
                Counts::Flush(_) | Counts::Rows(_) => None,
            })
    }

    /// Holds what was read of a state against the recount up to its position.
    fn compare(&self, through: u64, found: &Ledger) -> Result<(), String> {
        let mut expected = Ledger::default();
        for (_, counts) in self.entries.range(..=through) {
            if let Counts::Rows(rows) = counts {
                rows.iter().for_each(|row| expected.add_row(row));
            }
        }
        self.flushes(through)
            .for_each(|flush| expected.add_counters(&flush.counters));
        expected.count_windows();
        let difference = found.difference(&expected);
        difference.map_or(Ok(()), |words| Err(format!("at entry {through} {words}")))
    }

    fn check_read(&self, read: &Recounted) -> Result<(), String> {
        let floor = self.acknowledged.before(LOG, read.invoked);
        if read.consistency == Consistency::Linearizable && read.index < floor {
            return Err(format!("{read:?} although entry {floor} was acknowledged before"));
        }
        self.compare(read.index, &read.ledger)
            .map_err(|words| format!("{} shows what it should not: {words}", read.node))
    }
}
