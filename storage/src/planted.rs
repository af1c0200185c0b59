//! Bugs put back on purpose, one at a time, to see that the simulation and the tests find them.
//!
//! Only a build with the feature `planted-bugs` has them; in every other one [`is_planted`] is false and compiled away.

#[cfg(all(feature = "planted-bugs", not(debug_assertions)))]
compile_error!("`planted-bugs` is for tests: a release must not have it");

use std::fmt;
use std::str::FromStr;
#[cfg(feature = "planted-bugs")]
use std::sync::OnceLock;

/// A bug that can be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The committer tells everybody that their jobs are durable before it has synced them.
    AckBeforeFsync,
    /// A vote is given and not stored.
    ForgetVote,
    /// A replica that starts again takes in the last entry of its state once more.
    ApplyTwiceAfterRestart,
    /// A node that starts again votes at once, though a leader may still rely on it.
    LeaseAfterRestart,
    /// A batch of changes is stored without the position that it brings the state to.
    DropAppliedIndex,
    /// A snapshot lacks the answers that were given to requests.
    SnapshotWithoutDedup,
    /// A leader answers linearizable reads without asking anybody whether it still leads.
    SkipReadIndex,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AckBeforeFsync,
        Self::ForgetVote,
        Self::ApplyTwiceAfterRestart,
        Self::LeaseAfterRestart,
        Self::DropAppliedIndex,
        Self::SnapshotWithoutDedup,
        Self::SkipReadIndex,
    ];
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::ForgetVote => "forget-vote",
            Self::ApplyTwiceAfterRestart => "apply-twice-after-restart",
            Self::LeaseAfterRestart => "lease-after-restart",
            Self::DropAppliedIndex => "drop-applied-index",
            Self::SnapshotWithoutDedup => "snapshot-without-dedup",
            Self::SkipReadIndex => "skip-read-index",
        })
    }
}

/// A name that is no bug's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no bug that can be planted")]
pub struct UnknownBug(String);

impl FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(text: &str) -> Result<Self, UnknownBug> {
        let found = Self::ALL.into_iter().find(|bug| bug.to_string() == text);
        found.ok_or_else(|| UnknownBug(text.to_owned()))
    }
}

/// What was planted in this process.
#[cfg(feature = "planted-bugs")]
static PLANTED: OnceLock<Bug> = OnceLock::new();

/// Puts a bug back for as long as the process runs; only the first call does.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Bug) {
    PLANTED.get_or_init(|| bug);
}

/// Whether a bug was put back.
#[cfg(feature = "planted-bugs")]
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(&bug)
}

/// Whether a bug was put back: never in this build.
#[cfg(not(feature = "planted-bugs"))]
pub const fn is_planted(_: Bug) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_is_planted_by_itself() {
        for bug in Bug::ALL {
            assert_eq!(bug.to_string().parse(), Ok(bug));
            assert!(!is_planted(bug));
        }
        assert!("none".parse::<Bug>().is_err());
    }
}
