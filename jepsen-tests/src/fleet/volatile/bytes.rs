//! The bytes of a file, as they are seen and as they would survive.

use rand::Rng;

/// What a power cut took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lost {
    /// Bytes that had been written and not synced.
    pub(crate) bytes: u64,
    /// Files of whose last writes a part stayed.
    pub(crate) torn: u64,
    /// Names that had been made, moved or removed and not synced.
    pub(crate) names: u64,
}

/// The bytes of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bytes {
    /// What readers see.
    pub(super) now: Vec<u8>,
    /// What a power cut leaves.
    pub(super) synced: Vec<u8>,
    /// Up to here both are the same, if they differ at all.
    pub(super) same: Option<usize>,
}

impl Bytes {
    /// From here on both may differ.
    pub(super) fn differ_from(&mut self, offset: usize) {
        let offset = offset.min(self.now.len());
        self.same = Some(self.same.map_or(offset, |same| same.min(offset)));
    }

    /// Makes what readers see durable.
    pub(super) fn sync(&mut self) {
        if let Some(same) = self.same.take() {
            self.synced.truncate(same);
            self.synced.extend_from_slice(&self.now[self.synced.len()..]);
        }
    }

    /// Goes back to what was synced; of bytes that were appended since, any prefix may stay.
    pub(super) fn lose_power(&mut self, random: &mut impl Rng, lost: &mut Lost) {
        let Some(same) = self.same.take() else { return };
        let is_append = same >= self.synced.len();
        let tail = self.now.len().saturating_sub(same);
        let kept = if is_append { random.gen_range(0..=tail) } else { 0 };
        lost.bytes += (tail - kept) as u64;
        if kept > 0 {
            lost.torn += 1;
            self.synced
                .extend_from_slice(&self.now[self.synced.len()..same + kept]);
        }
        self.now = self.synced.clone();
    }
}
