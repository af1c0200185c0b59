//! From a key to its group. The arithmetic is `covey-state`'s, so that a state machine and a router can never differ.

use covey_state::{GroupId, slot};

use crate::error::Error;

/// The slot of a key: stable for ever, below 2^14.
pub fn slot_of(key: &[u8]) -> u16 {
    slot::slot_of(key)
}

/// Slots dealt out over the data groups of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotMap {
    groups: u64,
}

impl SlotMap {
    /// A map over `groups` data groups.
    ///
    /// # Errors
    /// [`Error::Config`] unless `groups` is a power of two, at least one and at most the number of slots.
    pub fn new(groups: u64) -> Result<Self, Error> {
        if groups.is_power_of_two() && groups <= u64::from(slot::SLOTS) {
            return Ok(Self { groups });
        }
        Err(Error::Config {
            reason: format!("groups = {groups} is not a power of two up to {}", slot::SLOTS),
        })
    }

    /// How many data groups there are.
    pub fn groups(&self) -> u64 {
        self.groups
    }

    /// The group that holds a slot.
    pub fn group_of(&self, slot: u16) -> GroupId {
        slot::group_of_slot(slot, self.groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_gets_the_same_number_of_slots() {
        let map = SlotMap::new(8).unwrap();
        let mut counts = [0; 9];
        for slot in 0..slot::SLOTS {
            counts[map.group_of(slot).get() as usize] += 1;
        }
        assert_eq!(counts[0], 0, "the control group holds no keys");
        assert!(counts[1..].iter().all(|count| *count == slot::SLOTS / 8));
    }

    #[test]
    fn a_number_of_groups_that_is_no_power_of_two_is_refused() {
        for groups in [0, 3, 1 << 15] {
            assert!(SlotMap::new(groups).is_err(), "{groups}");
        }
    }
}
