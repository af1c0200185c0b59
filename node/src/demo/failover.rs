//! How long the cluster could not write after a kill: until every group that held rows before has acknowledged a write
//! that was sent after it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use covey_proto::v1;

/// Waits for every group's first write after a kill.
#[derive(Debug)]
pub(super) struct Failover {
    killed_at: Instant,
    silent: BTreeSet<u64>,
}

impl Failover {
    /// Groups that have acknowledged writes, and the moment of the kill.
    pub(super) fn new(groups: impl IntoIterator<Item = u64>, killed_at: Instant) -> Self {
        Self {
            killed_at,
            silent: groups.into_iter().collect(),
        }
    }

    /// Takes note of an acknowledged write: when it was sent, when it was acknowledged, by which groups. Gives the time
    /// since the kill when it is the one that all have waited for.
    pub(super) fn acknowledged(
        &mut self,
        (sent, acknowledged): (Instant, Instant),
        positions: &[v1::LogPosition],
    ) -> Option<Duration> {
        if sent < self.killed_at || self.silent.is_empty() {
            return None;
        }
        positions.iter().for_each(|position| {
            self.silent.remove(&position.group);
        });
        self.silent
            .is_empty()
            .then(|| acknowledged.duration_since(self.killed_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_the_last_group_has_taken_a_write_that_was_sent_after_the_kill() {
        let killed = Instant::now();
        let later = |ms| killed + Duration::from_millis(ms);
        let groups = |groups: &[u64]| -> Vec<v1::LogPosition> {
            let position = |group: &u64| v1::LogPosition {
                group: *group,
                index: 7,
            };
            groups.iter().map(position).collect()
        };
        let before = killed.checked_sub(Duration::from_millis(1)).unwrap();
        let mut failover = Failover::new([1, 2, 3], killed);
        assert_eq!(
            failover.acknowledged((before, later(9)), &groups(&[1, 2, 3])),
            None
        );
        assert_eq!(
            failover.acknowledged((later(1), later(20)), &groups(&[1, 3])),
            None
        );
        assert_eq!(
            failover.acknowledged((later(2), later(30)), &groups(&[2])),
            Some(Duration::from_millis(30))
        );
        assert_eq!(failover.acknowledged((later(3), later(40)), &groups(&[2])), None);
    }
}
