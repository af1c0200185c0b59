//! Views of groups as they were at a mark, kept for a while so that replicas can be compared there.
//!
//! Every replica applies the same entries, so all of them are at the same state just after a mark, and each keeps a view
//! when it applies it. The view costs nothing when it is taken, but the database keeps what it shows. So there are few of
//! them, and nobody's lives long: a mark that is applied again after a restart goes the same way.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covey_state::GroupId;
use covey_storage::GroupView;
use tokio::time::Instant;

use crate::machine::LogPosition;

/// Views that a node keeps of one group.
const OF_GROUP_MAX: usize = 2;
/// Views that a node keeps.
const VIEWS_MAX: usize = 32;
/// How long a view is kept that nobody reads.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// How long a view is kept at the most.
const AGE_MAX: Duration = Duration::from_secs(3_600);

/// The views of a node.
#[derive(Default)]
pub(crate) struct Marks {
    /// In the order in which they were taken.
    held: Mutex<Vec<Held>>,
}

struct Held {
    position: LogPosition,
    view: GroupView,
    taken: Instant,
    read: Instant,
}

impl Marks {
    /// Keeps a view; the oldest one goes when there are too many.
    pub(crate) fn hold(&self, position: LogPosition, view: GroupView, now: Instant) {
        let mut held = self.lock();
        held.retain(|other| other.position != position);
        held.push(Held {
            position,
            view,
            taken: now,
            read: now,
        });
        let of_group = held.iter().filter(|held| held.position.group == position.group);
        let oldest = if of_group.count() > OF_GROUP_MAX {
            held.iter().position(|held| held.position.group == position.group)
        } else {
            (held.len() > VIEWS_MAX).then_some(0)
        };
        if let Some(oldest) = oldest {
            held.remove(oldest);
        }
    }

    /// The view at a mark, if it is kept.
    pub(crate) fn view(&self, position: LogPosition, now: Instant) -> Option<GroupView> {
        let mut held = self.lock();
        let held = held.iter_mut().find(|held| held.position == position)?;
        held.read = now;
        Some(held.view.clone())
    }

    /// Lets go of the views that were not read for a while or are old.
    pub(crate) fn sweep(&self, now: Instant) {
        let fresh = |since: Instant, limit| now.saturating_duration_since(since) < limit;
        self.lock()
            .retain(|held| fresh(held.read, IDLE_MAX) && fresh(held.taken, AGE_MAX));
    }

    /// Lets go of the views of a group.
    pub(crate) fn forget(&self, group: GroupId) {
        self.lock().retain(|held| held.position.group != group);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use covey_storage::{StateDb, StateDbConfig};

    use super::*;

    fn position(group: u64, index: u64) -> LogPosition {
        LogPosition {
            group: GroupId::new(group),
            term: 1,
            index,
        }
    }

    #[test]
    fn few_views_are_kept_and_none_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let db = StateDb::open(dir.path(), StateDbConfig::default()).unwrap();
        let view = || db.group(GroupId::new(1)).read();
        let marks = Marks::default();
        let start = Instant::now();
        let kept = |group, index, now| marks.view(position(group, index), now).is_some();
        for index in 1..=3 {
            marks.hold(position(1, index), view(), start);
        }
        assert_eq!([1, 2, 3].map(|index| kept(1, index, start)), [false, true, true]);
        for group in 2..=VIEWS_MAX as u64 + 1 {
            marks.hold(position(group, 7), view(), start);
        }
        assert!(!kept(1, 2, start) && !kept(1, 3, start) && kept(2, 7, start));
        assert!(kept(2, 7, start + IDLE_MAX / 2));
        let later = start + IDLE_MAX;
        marks.sweep(later);
        assert!(kept(2, 7, later) && !kept(3, 7, later));
        marks.forget(GroupId::new(2));
        assert!(!kept(2, 7, later));
        marks.hold(position(1, 4), view(), start);
        let in_an_hour = start + AGE_MAX;
        assert!(kept(1, 4, in_an_hour), "it is read all the time");
        marks.sweep(in_an_hour);
        assert!(!kept(1, 4, in_an_hour), "and is too old all the same");
    }
}
