//! Keys of the log database: `[group u64][kind u8][index u64]`, big-endian, so that a log is one ascending run.

use covey_state::GroupId;

/// The length of every key.
pub(super) const KEY_BYTES: usize = 17;

/// What a key holds. The numbers are on disk and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The vote.
    Vote = 0,
    /// Through which index the log was purged, and the marker of the purge.
    Purged = 1,
    /// The commit marker.
    Committed = 2,
    /// An entry.
    Entry = 3,
    /// What a replica that began anew has to hear of first.
    Probation = 4,
    /// What was damaged in a log that was left out when the database was written anew.
    Damage = 5,
}

/// The first number after the kinds: an exclusive upper bound of all keys of a group.
const KINDS_END: u8 = 6;

impl Kind {
    /// How the marker is called in errors.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::Purged => "purge",
            Self::Committed => "commit",
            Self::Entry => "entry",
            Self::Probation => "probation",
            Self::Damage => "damage",
        }
    }
}

fn key(group: GroupId, kind: u8, index: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&group.get().to_be_bytes());
    key[8] = kind;
    key[9..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The key of a marker.
pub(super) fn marker_key(group: GroupId, kind: Kind) -> [u8; KEY_BYTES] {
    key(group, kind as u8, 0)
}

/// The key of an entry.
pub(super) fn entry_key(group: GroupId, index: u64) -> [u8; KEY_BYTES] {
    key(group, Kind::Entry as u8, index)
}

/// The exclusive upper bound of the entries of a group.
pub(super) fn entries_end(group: GroupId) -> [u8; KEY_BYTES] {
    key(group, Kind::Entry as u8 + 1, 0)
}

/// The first possible key of a group.
pub(super) fn group_start(group: GroupId) -> [u8; KEY_BYTES] {
    key(group, 0, 0)
}

/// The exclusive upper bound of the keys of a group.
pub(super) fn group_end(group: GroupId) -> [u8; KEY_BYTES] {
    key(group, KINDS_END, 0)
}

/// The group that a key belongs to.
pub(super) fn group_of(key: &[u8]) -> Option<GroupId> {
    let key: &[u8; KEY_BYTES] = key.try_into().ok()?;
    let group = key.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))?;
    Some(GroupId::new(group))
}

/// Whether a key is that of an entry.
pub(super) fn is_entry(key: &[u8; KEY_BYTES]) -> bool {
    key[8] == Kind::Entry as u8
}

/// The index in the key of an entry.
pub(super) fn index_of(key: &[u8]) -> Option<u64> {
    let key: &[u8; KEY_BYTES] = key.try_into().ok()?;
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_ascend_by_group_then_kind_then_index() {
        let (one, two) = (GroupId::new(1), GroupId::new(2));
        let ascending = [
            group_start(one),
            marker_key(one, Kind::Purged),
            marker_key(one, Kind::Committed),
            entry_key(one, 0),
            entry_key(one, 255),
            entry_key(one, 256),
            entry_key(one, u64::MAX),
            entries_end(one),
            group_end(one),
            group_start(two),
            group_end(GroupId::new(u64::MAX)),
        ];
        assert!(ascending.is_sorted_by(|a, b| a < b));
        assert_eq!(group_of(&entry_key(two, 9)), Some(two));
        assert!(is_entry(&entry_key(two, 9)) && !is_entry(&marker_key(two, Kind::Vote)));
        assert_eq!(index_of(&entry_key(two, 9)), Some(9));
    }
}
