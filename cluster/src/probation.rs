//! What a replica that begins anew on a node that may have been a member before has to hear of before it may vote.
//!
//! A group that moves away from a node and back leaves entries in its log that call that node a voter, perhaps the only
//! one. While the newcomer is brought up to date it passes through those entries, and for as long as one of them is
//! the last it has, it would take itself for that voter: it could elect itself, or help somebody else who has missed
//! as much. So it neither votes nor asks for votes until it has a membership that is newer than its own admission.
//!
//! Invariant: of two leaders that admit the same replica the one of the later term is believed.

use bytes::Bytes;

use crate::error::Error;

/// The end of the log of the leader that admits a replica, before the admission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probation {
    /// The leader's term.
    pub term: u64,
    /// The index of its last entry; memberships up to it are older than the admission.
    pub index: u64,
}

impl Probation {
    /// Until somebody says that it is to live: of a group that is being made, or of one whose leader has yet to admit it.
    pub const UNTIL_TOLD: Self = Self {
        term: 0,
        index: u64::MAX,
    };

    /// It was told so.
    pub(crate) const OVER: Self = Self {
        term: u64::MAX,
        index: 0,
    };

    /// Whether a replica whose newest membership stands at this index is still on probation.
    pub(crate) fn lasts(self, membership: Option<u64>) -> bool {
        self != Self::OVER && membership.is_none_or(|membership| membership <= self.index)
    }

    /// Whether it takes the place of what an earlier leader has said.
    pub(crate) const fn replaces(self, earlier: Self) -> bool {
        self.term > earlier.term
    }

    /// Its form on disk: term and index, big-endian.
    pub(crate) fn store(self) -> Bytes {
        [self.term.to_be_bytes(), self.index.to_be_bytes()]
            .concat()
            .into()
    }

    /// The probation in its form on disk.
    pub(crate) fn load(bytes: &[u8]) -> Result<Self, Error> {
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        match bytes.split_first_chunk() {
            Some((term, rest)) if rest.len() == size_of::<u64>() => Ok(Self {
                term: number(term),
                index: rest.first_chunk().map_or(0, number),
            }),
            Some(_) | None => Err(Error::decode(
                "probation",
                format!("it has {} bytes", bytes.len()),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBATION: Probation = Probation { term: 4, index: 105 };

    #[test]
    fn it_ends_with_the_first_membership_after_the_admission() {
        assert!(PROBATION.lasts(None));
        assert!(PROBATION.lasts(Some(105)));
        assert!(!PROBATION.lasts(Some(106)));
    }

    #[test]
    fn one_until_told_ends_with_no_membership_and_one_that_is_over_never_comes_again() {
        assert!(Probation::UNTIL_TOLD.lasts(Some(u64::MAX - 1)));
        assert!(!Probation::OVER.lasts(None) && !Probation::OVER.lasts(Some(0)));
        assert!(PROBATION.replaces(Probation::UNTIL_TOLD) && !PROBATION.replaces(Probation::OVER));
    }

    #[test]
    fn a_later_leader_is_believed_even_if_its_log_is_shorter() {
        let later = Probation { term: 5, index: 101 };
        assert!(later.replaces(PROBATION) && !PROBATION.replaces(later) && !PROBATION.replaces(PROBATION));
    }

    #[test]
    fn it_survives_the_disk_and_a_torn_one_is_refused() {
        assert_eq!(Probation::load(&PROBATION.store()).unwrap(), PROBATION);
        assert!(Probation::load(&PROBATION.store()[..9]).is_err());
    }
}
