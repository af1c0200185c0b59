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
                | Event::VotersAsked { .. }
                | Event::Placed { .. }
                | Event::LetGo { .. }
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

#[cfg(test)]
mod tests {
    use covey_state::NodeId;

    use super::*;
    use crate::event::Durable;
    use crate::ledger::{Counters, Fact};
    use crate::moment::Moment;

    /// A page that is told events, and a log that they stand in.
    #[derive(Default)]
    struct Story {
        page: WindowsRecounted,
        /// What a good state has counted.
        state: Ledger,
        entries: u64,
    }

    impl Story {
        fn tell(&mut self, event: Event) -> Result<(), String> {
            let scene = Scene {
                now: Moment::START,
                events: &[event],
                nodes: &[],
                skew: 0.0,
                replication: 3,
            };
            self.page.check(&scene)
        }

        fn ask(&mut self, request: &str, counts: &Counts) {
            let (request, counts) = (request.to_owned(), counts.clone());
            self.tell(Event::Asked { request, counts }).unwrap();
        }

        fn apply(&mut self, request: &str, counts: &Counts) -> Result<(), String> {
            self.entries += 1;
            self.tell(Event::Applied(Applied {
                node: NodeId::new(1),
                index: self.entries,
                term: 1,
                entry: 0,
                answer: 0,
                request: request.to_owned(),
                made: None,
                counts: Some(counts.clone()),
            }))
        }

        fn acknowledge(&mut self, request: &str, accepted: Option<u64>) -> Result<(), String> {
            self.tell(Event::Counted(Counted {
                request: request.to_owned(),
                accepted,
                answered: Moment::from_ms(1),
            }))
        }

        /// A node starts with this.
        fn start(&mut self, applied: u64, ledger: Ledger) -> Result<(), String> {
            self.tell(Event::Started {
                node: NodeId::new(2),
                incarnation: 1,
                durable: Durable {
                    applied,
                    ledger,
                    ..Durable::default()
                },
            })
        }

        fn read(&mut self, index: u64, ledger: Ledger) -> Result<(), String> {
            self.tell(Event::Recounted(Recounted {
                node: NodeId::new(1),
                consistency: Consistency::Linearizable,
                index,
                ledger,
                invoked: Moment::from_ms(2),
            }))
        }
    }

    fn push(amounts: [i64; 2]) -> (Vec<Fact>, Counts) {
        let facts = amounts.map(|amount| Fact {
            key: "ash".to_owned(),
            at: amount,
            amount,
        });
        (facts.to_vec(), Counts::Rows(facts.to_vec()))
    }

    fn flush(sequence: u64) -> Counts {
        Counts::Flush(Flush {
            node: 7,
            mark: (1, sequence),
            counters: Counters::from([("rows".to_owned(), sequence)]),
        })
    }

    /// One push in entry 1 and, as entry 2, its repeat; the flushes 1 and 2 in entries 3 and 4, and 1 again in entry 5.
    fn story() -> Story {
        let mut story = Story::default();
        let (rows, pushed) = push([3, 4]);
        for (request, counts) in [
            ("push", &pushed),
            ("push", &pushed),
            ("first", &flush(1)),
            ("second", &flush(2)),
            ("first again", &flush(1)),
        ] {
            story.ask(request, counts);
            story.apply(request, counts).unwrap();
        }
        story.acknowledge("push", Some(2)).unwrap();
        story.acknowledge("first again", None).unwrap();
        rows.iter().for_each(|row| story.state.add_row(row));
        story
            .state
            .add_counters(&Counters::from([("rows".to_owned(), 3)]));
        story.state.count_windows();
        story
    }

    #[test]
    fn what_was_asked_for_counts_once() {
        let mut story = story();
        let state = story.state.clone();
        story.read(5, state.clone()).unwrap();
        story.start(5, state).unwrap();
        story.start(0, Ledger::default()).unwrap();
    }

    #[test]
    fn a_state_that_has_counted_anything_else_is_found() {
        let mut story = story();
        let good = story.state.clone();
        let mut spoil = |words: &str, change: fn(&mut Ledger)| {
            let mut spoilt = good.clone();
            change(&mut spoilt);
            let found = story.start(5, spoilt.clone()).unwrap_err();
            assert!(found.contains(words), "{found}");
            assert!(story.read(5, spoilt).is_err());
        };
        spoil("row", |state| drop(state.rows.pop_first()));
        spoil("row", |state| {
            state.rows.values_mut().for_each(|times| *times += 1);
        });
        spoil("window", |state| drop(state.windows.pop_first()));
        spoil("window", |state| {
            state.windows.values_mut().for_each(|sum| *sum += 1);
        });
        spoil("drift counter", |state| drop(state.counters.pop_first()));
        spoil("drift counter", |state| {
            state.counters.values_mut().for_each(|number| *number += 1);
        });
        spoil("TILES", |state| state.broken.push("TILES".to_owned()));
    }

    #[test]
    fn a_state_that_is_behind_its_position_or_ahead_of_it_is_found() {
        let mut story = story();
        let state = story.state.clone();
        assert!(story.start(3, state).is_err());
        assert!(story.start(5, Ledger::default()).is_err());
    }

    #[test]
    fn nothing_is_counted_that_nobody_asked_for() {
        let mut story = story();
        let (_, counts) = push([5, 6]);
        assert!(story.apply("stranger", &counts).is_err());
        assert!(story.apply("push", &counts).is_err());
    }

    #[test]
    fn what_was_acknowledged_is_in() {
        let mut story = story();
        story.ask("lost", &push([5, 6]).1);
        assert!(story.acknowledge("lost", Some(2)).is_err());
        assert!(story.acknowledge("push", Some(1)).is_err());
        story.ask("late", &flush(3));
        story.apply("late", &flush(3)).unwrap();
        story.acknowledge("late", None).unwrap();
        story.ask(
            "too late",
            &Counts::Flush(Flush {
                node: 7,
                mark: (0, 9),
                counters: Counters::default(),
            }),
        );
        let early = story.page.asked["too late"].clone();
        story.apply("too late", &early).unwrap();
        assert!(story.acknowledge("too late", None).is_err());
        // The last acknowledged entry is the sixth.
        let behind = story.state.clone();
        assert!(story.read(5, behind).unwrap_err().contains("acknowledged before"));
    }
}
