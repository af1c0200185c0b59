//! From a key to its group: a stable hash into fixed slots, and slots dealt out over a power of two of groups.

use crate::entity::{EntityKey, KeyPart};
use crate::id::GroupId;

/// Slots that keys are hashed into; also the largest number of data groups.
pub const SLOTS: u16 = 1 << 14;

/// The slot of some bytes.
pub fn slot_of(bytes: &[u8]) -> u16 {
    // CRC-32C spreads short keys well and is the same everywhere; the low bits are the best mixed.
    (crc32c::crc32c(bytes) % u32::from(SLOTS)) as u16
}

/// The data group of a slot; `groups` is the cluster's number of data groups, at least one.
pub fn group_of_slot(slot: u16, groups: u64) -> GroupId {
    GroupId::new(1 + u64::from(slot) % groups.max(1))
}

/// The data group that holds everything named `name`: a model, a job, a dataset, a deployment's windows.
pub fn group_of_name(name: &str, groups: u64) -> GroupId {
    group_of_slot(slot_of(name.as_bytes()), groups)
}

/// The data group that holds all rows of an entity, whatever the view.
pub fn group_of_entity(entity: &EntityKey, groups: u64) -> GroupId {
    let mut hash = 0;
    for part in &entity.0 {
        hash = match part {
            KeyPart::Int64(number) => crc32c::crc32c_append(hash, &number.to_be_bytes()),
            KeyPart::String(text) => crc32c::crc32c_append(hash, text.as_bytes()),
        };
        hash = crc32c::crc32c_append(hash, &[0xff]);
    }
    group_of_slot((hash % u32::from(SLOTS)) as u16, groups)
}
