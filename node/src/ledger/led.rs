//! The groups that this node leads, and which of them have something new: what drives the actors that carry on with
//! the jobs and runs of a group.

use std::collections::BTreeMap;

use covey_state::GroupId;

use super::Ledger;

/// Looks after which all led groups count as moved: what an actor was doing for one may have been interrupted.
const LOOKS_PER_FULL_PASS: u64 = 25;

/// What one actor has seen of the groups that this node leads. A group that has not moved costs one comparison.
pub struct LedGroups {
    ledger: Ledger,
    looks: u64,
    seen: BTreeMap<GroupId, u64>,
}

impl LedGroups {
    /// Nothing has been seen yet.
    pub fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            looks: 0,
            seen: BTreeMap::new(),
        }
    }

    /// The data groups that this node leads and that have applied something since the last look.
    pub fn look(&mut self) -> Vec<GroupId> {
        self.looks += 1;
        if self.looks.is_multiple_of(LOOKS_PER_FULL_PASS) {
            self.seen.clear();
        }
        let mut moved = Vec::new();
        for group in self.ledger.data_groups() {
            if !self.ledger.leads(group) {
                self.seen.remove(&group);
                continue;
            }
            let Some(applied) = self.ledger.applied(group).map(|applied| *applied.borrow()) else {
                continue;
            };
            if self.seen.insert(group, applied) != Some(applied) {
                moved.push(group);
            }
        }
        moved
    }
}
