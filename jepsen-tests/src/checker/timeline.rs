//! A history as a linked list of calls and returns in the order of their times, from which a placed operation is lifted
//! and to which it is put back, both in constant time.
//!
//! Invariant: entries are put back in the reverse order in which they were lifted, so the links of a lifted entry are
//! always the right ones.

use super::Operation;

/// The place before the first entry.
const HEAD: usize = 0;

/// A call or a return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Of the operation at this position in the history.
    Call(usize),
    /// Likewise.
    Return(usize),
}

/// The list. Places are numbered from 1 in the order of time.
#[derive(Debug)]
pub(super) struct Timeline {
    entries: Vec<Entry>,
    next: Vec<usize>,
    previous: Vec<usize>,
    /// For each operation the place of its return.
    returns: Vec<Option<usize>>,
    /// Returns that are in the list.
    open: usize,
}

impl Timeline {
    /// Where moments are equal, calls come before returns: such operations overlap.
    pub(super) fn of<C, A>(history: &[Operation<C, A>]) -> Self {
        let calls = history
            .iter()
            .enumerate()
            .map(|(number, operation)| (operation.called_at, 0, Entry::Call(number)));
        let ends = history.iter().enumerate().filter_map(|(number, operation)| {
            let (_, at) = operation.end.as_ref()?;
            Some(((*at).max(operation.called_at), 1, Entry::Return(number)))
        });
        let mut moments: Vec<(u64, u8, Entry)> = calls.chain(ends).collect();
        moments.sort_by_key(|(at, rank, _)| (*at, *rank));
        let mut returns = vec![None; history.len()];
        for (index, (_, _, entry)) in moments.iter().enumerate() {
            if let Entry::Return(number) = entry {
                returns[*number] = Some(index + 1);
            }
        }
        let places = moments.len() + 1;
        Self {
            entries: moments.into_iter().map(|(_, _, entry)| entry).collect(),
            next: (1..=places).map(|place| place % places).collect(),
            previous: (0..places)
                .map(|place| place.checked_sub(1).unwrap_or(places - 1))
                .collect(),
            open: returns.iter().flatten().count(),
            returns,
        }
    }

    /// Whether every operation that was answered has been lifted.
    pub(super) fn is_explained(&self) -> bool {
        self.open == 0
    }

    /// The first place, if there is any entry.
    pub(super) fn first(&self) -> Option<usize> {
        self.after(HEAD)
    }

    /// The place after this one.
    pub(super) fn after(&self, place: usize) -> Option<usize> {
        Some(self.next[place]).filter(|next| *next != HEAD)
    }

    /// What is at a place.
    pub(super) fn entry(&self, place: usize) -> Entry {
        self.entries[place - 1]
    }

    /// Takes the call at a place out, and its return.
    pub(super) fn lift(&mut self, place: usize, number: usize) {
        self.unlink(place);
        if let Some(end) = self.returns[number] {
            self.unlink(end);
            self.open -= 1;
        }
    }

    /// Puts the call that was at a place back, and its return.
    pub(super) fn put_back(&mut self, place: usize, number: usize) {
        if let Some(end) = self.returns[number] {
            self.link(end);
            self.open += 1;
        }
        self.link(place);
    }

    fn unlink(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = next;
        self.previous[next] = previous;
    }

    fn link(&mut self, place: usize) {
        let (previous, next) = (self.previous[place], self.next[place]);
        self.next[previous] = place;
        self.previous[next] = place;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(timeline: &Timeline) -> Vec<Entry> {
        std::iter::successors(timeline.first(), |place| timeline.after(*place))
            .map(|place| timeline.entry(place))
            .collect()
    }

    #[test]
    fn entries_are_in_order_and_come_back_where_they_were() {
        let history = [
            Operation::answered('a', 0, (), 5),
            Operation::answered('b', 5, (), 9),
            Operation::unknown('c', 6),
        ];
        let mut timeline = Timeline::of(&history);
        let all = [
            Entry::Call(0),
            Entry::Call(1),
            Entry::Return(0),
            Entry::Call(2),
            Entry::Return(1),
        ];
        assert_eq!(walk(&timeline), all);
        timeline.lift(2, 1);
        timeline.lift(1, 0);
        assert_eq!(walk(&timeline), [Entry::Call(2)]);
        assert!(timeline.is_explained());
        timeline.put_back(1, 0);
        timeline.put_back(2, 1);
        assert_eq!(walk(&timeline), all);
        assert!(!timeline.is_explained());
    }

    #[test]
    fn an_empty_history_has_no_entries() {
        let timeline = Timeline::of::<(), ()>(&[]);
        assert_eq!(walk(&timeline), []);
        assert!(timeline.is_explained());
    }
}
