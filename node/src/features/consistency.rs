//! How fresh a read over several groups must be.

use std::collections::BTreeMap;
use std::time::Duration;

use covey_cluster::{Consistency, ReadPoint};
use covey_proto::v1;
use covey_proto::v1::consistency::Kind;
use covey_state::GroupId;

/// How fresh a read over several groups must be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Freshness {
    /// Sees every write that was acknowledged before the read began.
    Linearizable,
    /// Sees at least these log positions; groups without one may be as stale as they are.
    AtLeast(BTreeMap<GroupId, u64>),
    /// May be stale by at most this long.
    Bounded(Duration),
    /// Whatever the answering replicas have.
    #[default]
    Local,
}

impl Freshness {
    /// What a request on the wire asks for; local if it does not say.
    pub(crate) fn from_wire(wire: Option<v1::Consistency>) -> Self {
        match wire.and_then(|consistency| consistency.kind) {
            None | Some(Kind::Local(_)) => Self::Local,
            Some(Kind::Linearizable(_)) => Self::Linearizable,
            Some(Kind::BoundedMs(millis)) => Self::Bounded(Duration::from_millis(millis)),
            Some(Kind::AtLeast(wanted)) => {
                let mut positions = BTreeMap::new();
                for position in wanted.positions {
                    let newest: &mut u64 = positions.entry(GroupId::new(position.group)).or_default();
                    *newest = position.index.max(*newest);
                }
                Self::AtLeast(positions)
            }
        }
    }

    /// What that means for one group.
    pub(crate) fn of(&self, group: GroupId) -> Consistency {
        match self {
            Self::Linearizable => Consistency::Linearizable,
            Self::AtLeast(positions) => positions
                .get(&group)
                .map_or(Consistency::Local, |index| Consistency::AtLeast(*index)),
            Self::Bounded(staleness) => Consistency::Bounded(*staleness),
            Self::Local => Consistency::Local,
        }
    }
}

/// What a read over several groups was answered from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ReadPoints {
    /// The log index of each group that was read.
    pub(crate) positions: BTreeMap<GroupId, u64>,
    /// The largest staleness of them.
    pub(crate) staleness: Duration,
}

impl ReadPoints {
    /// Adds one group's part.
    pub(crate) fn add(&mut self, point: &ReadPoint) {
        self.positions.insert(point.group, point.index);
        self.staleness = self.staleness.max(point.staleness);
    }

    /// The read point as it goes over the wire.
    pub(crate) fn into_wire(self) -> v1::ReadPoint {
        let position = |(group, index): (GroupId, u64)| v1::LogPosition {
            group: group.get(),
            index,
        };
        v1::ReadPoint {
            positions: self.positions.into_iter().map(position).collect(),
            staleness_micros: u64::try_from(self.staleness.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_of_ones_own_writes_waits_in_the_groups_written_to_and_in_no_other() {
        let position = |group, index| v1::LogPosition { group, index };
        let positions = vec![position(1, 7), position(1, 5)];
        let wanted = v1::consistency::AtLeast { positions };
        let freshness = Freshness::from_wire(Some(v1::Consistency {
            kind: Some(Kind::AtLeast(wanted)),
        }));
        assert_eq!(freshness.of(GroupId::new(1)), Consistency::AtLeast(7));
        assert_eq!(freshness.of(GroupId::new(2)), Consistency::Local);
    }

    #[test]
    fn a_request_that_does_not_say_reads_what_is_there() {
        assert_eq!(Freshness::from_wire(None), Freshness::Local);
    }
}
