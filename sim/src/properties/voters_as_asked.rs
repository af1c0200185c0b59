//! Who votes in a committed membership, on either side of a change that is half done, is a set of voters that somebody
//! asked for, so never fewer nodes; and each membership has a set in common with the one before it, so that no majority
//! of the one can decide without the other.

use std::collections::BTreeSet;

use super::{Observed, Property, Scene, Side, memberships};
use crate::event::Event;

/// See the page's head.
#[derive(Default)]
pub(super) struct VotersAsAsked {
    asked: BTreeSet<Side>,
    /// The first entry that was not looked at yet, on whichever node knows first that it is committed.
    next: u64,
    /// The sides of the last membership up to there; none after a gap.
    sides: BTreeSet<Side>,
}

impl Property for VotersAsAsked {
    fn name(&self) -> &'static str {
        "voters are who was asked for"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for event in scene.events {
            if let Event::VotersAsked { voters } = event {
                self.asked.insert(voters.clone());
            }
        }
        for node in scene.nodes {
            self.follow(node)?;
        }
        Ok(())
    }
}

impl VotersAsAsked {
    /// Looks at the entries that nobody had known to be committed.
    fn follow(&mut self, node: &Observed) -> Result<(), String> {
        let Some(end) = node.status.committed_index.filter(|end| *end >= self.next) else {
            return Ok(());
        };
        let (whole, found) = memberships(node, self.next, end)?;
        if !whole {
            // A snapshot has brought what is not in the log, and a membership may have been in it.
            self.sides.clear();
        }
        for (index, sides) in found {
            self.meet(index, sides)?;
        }
        self.next = end + 1;
        Ok(())
    }

    fn meet(&mut self, index: u64, sides: BTreeSet<Side>) -> Result<(), String> {
        if let Some(stranger) = sides.iter().find(|side| !self.asked.contains(*side)) {
            return Err(format!(
                "entry {index} has {stranger:?} vote, which nobody asked for"
            ));
        }
        if sides.is_empty() || (!self.sides.is_empty() && self.sides.is_disjoint(&sides)) {
            return Err(format!(
                "entry {index} has {sides:?} vote after {:?}: a majority of each may not meet",
                self.sides
            ));
        }
        self.sides = sides;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sides;
    use super::*;

    #[test]
    fn voters_change_through_both_sides_and_only_to_whom_somebody_asked_for() {
        let mut page = VotersAsAsked {
            asked: sides([&[1, 2, 3], &[1, 2], &[3, 4]]),
            ..VotersAsAsked::default()
        };
        assert!(page.meet(1, sides([&[1, 2, 3]])).is_ok());
        assert!(page.meet(2, sides([&[1, 2, 3], &[1, 2]])).is_ok());
        assert!(page.meet(3, sides([&[1, 2]])).is_ok());
        let words = page.meet(4, sides([&[1]])).unwrap_err();
        assert!(words.contains("nobody asked for"), "{words}");
        let words = page.meet(4, sides([&[3, 4]])).unwrap_err();
        assert!(words.contains("may not meet"), "{words}");
    }
}
