//! From a key to its group: a stable hash into fixed slots, and slots dealt out over a power of two of groups.

use serde::{Deserialize, Serialize};

use crate::entity::{EntityKey, KeyPart};
use crate::id::GroupId;

/// Slots that keys are hashed into; also the largest number of data groups.
pub const SLOTS: u16 = 1 << 14;

/// Neighbouring data groups that slots are dealt out over: those of one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The number of the first group, at least 1.
    pub first: u64,
    /// How many they are, a power of two.
    pub groups: u64,
}

impl Span {
    /// The groups that a cluster of `groups` data groups is made with.
    pub const fn initial(groups: u64) -> Self {
        Self { first: 1, groups }
    }

    /// The number after that of the last group.
    pub const fn end(self) -> u64 {
        self.first + self.groups
    }

    /// Its groups in order.
    pub fn iter(self) -> impl Iterator<Item = GroupId> {
        (self.first..self.end()).map(GroupId::new)
    }

    /// Whether a group is one of them.
    pub const fn contains(self, group: GroupId) -> bool {
        self.first <= group.get() && group.get() < self.end()
    }

    /// The group of a slot.
    pub fn group_of_slot(self, slot: u16) -> GroupId {
        GroupId::new(self.first + u64::from(slot) % self.groups.max(1))
    }

    /// The group that holds all rows of an entity, whatever the view.
    pub fn group_of_entity(self, entity: &EntityKey) -> GroupId {
        self.group_of_slot(slot_of_entity(entity))
    }
}

/// The slot of some bytes.
pub fn slot_of(bytes: &[u8]) -> u16 {
    // CRC-32C spreads short keys well and is the same everywhere; the low bits are the best mixed.
    (crc32c::crc32c(bytes) % u32::from(SLOTS)) as u16
}

/// The data group of a slot; `groups` is the number of data groups that the cluster was made with, at least one.
pub fn group_of_slot(slot: u16, groups: u64) -> GroupId {
    Span::initial(groups).group_of_slot(slot)
}

/// The data group that holds everything named `name`: a model, a job, a dataset, a deployment's windows.
pub fn group_of_name(name: &str, groups: u64) -> GroupId {
    group_of_slot(slot_of(name.as_bytes()), groups)
}

fn slot_of_entity(entity: &EntityKey) -> u16 {
    let mut hash = 0;
    for part in &entity.0 {
        hash = match part {
            KeyPart::Int64(number) => crc32c::crc32c_append(hash, &number.to_be_bytes()),
            KeyPart::String(text) => crc32c::crc32c_append(hash, text.as_bytes()),
        };
        hash = crc32c::crc32c_append(hash, &[0xff]);
    }
    (hash % u32::from(SLOTS)) as u16
}
