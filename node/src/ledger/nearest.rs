//! Which replica answers a read: the one on this node where it may, else the nearest.
//!
//! Near is, in this order: the same zone, the same region, and of the rest whoever has answered quickest lately. Who leads
//! is asked first only where the leader has to be asked anyway.

use std::collections::BTreeSet;
use std::time::Duration;

use covey_cluster::Consistency;
use covey_state::topology::{Node, NodeState};
use covey_state::{GroupId, NodeId};
use tokio::time::Instant;

use super::Ledger;

impl Ledger {
    /// Whether the replica on this node may answer a read of this consistency. One that is still being filled does not know
    /// how little it has, so it does not answer reads that take what is there.
    pub async fn serves(&self, group: GroupId, consistency: Consistency) -> bool {
        if !self.hosts(group) {
            return false;
        }
        match consistency {
            Consistency::Linearizable | Consistency::AtLeast(_) | Consistency::Bounded(_) => true,
            Consistency::Local => {
                let here = self.parts.host.read(group, consistency, Instant::now()).await;
                here.is_ok()
            }
        }
    }

    /// The other nodes that hold the group, in the order in which they are asked for a read of this consistency.
    pub fn nearest(&self, group: GroupId, consistency: Consistency) -> Vec<NodeId> {
        let catalog = self.parts.catalog.current();
        let placed = catalog.placements.get(&group);
        let mut holders: BTreeSet<NodeId> = placed.into_iter().flat_map(|placed| placed.members()).collect();
        // During a move those who vote still have the data, and those who are to vote may not have it yet.
        holders.extend(self.members(group));
        let here = catalog.nodes.get(&self.parts.node);
        let leader = match consistency {
            Consistency::Linearizable => placed.and_then(|placed| placed.preferred_leader),
            Consistency::AtLeast(_) | Consistency::Bounded(_) | Consistency::Local => None,
        };
        let mut ranked: Vec<(Rank, NodeId)> = holders
            .into_iter()
            .filter(|node| *node != self.parts.node)
            .map(|node| {
                let known = catalog.nodes.get(&node);
                let round_trip = self.parts.peers.round_trip(node);
                (Rank::of(here, known, (leader == Some(node), round_trip)), node)
            })
            .collect();
        ranked.sort();
        ranked.into_iter().map(|(_, node)| node).collect()
    }
}

/// How early a node is asked: smaller is earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    does_not_lead: bool,
    leaves: bool,
    other_region: bool,
    other_zone: bool,
    round_trip: Duration,
}

impl Rank {
    /// The rank of a node as seen from `here`, given whether it leads and how long it took to answer.
    fn of(here: Option<&Node>, node: Option<&Node>, (leads, round_trip): (bool, Duration)) -> Self {
        let same = |part: fn(&Node) -> &str| {
            here.zip(node)
                .is_some_and(|(here, node)| part(here) == part(node))
        };
        let same_region = same(|node| &node.region);
        Self {
            does_not_lead: !leads,
            leaves: node
                .is_none_or(|node| matches!(node.state, NodeState::Decommissioning | NodeState::Removed)),
            other_region: !same_region,
            other_zone: !(same_region && same(|node| &node.zone)),
            // Within a zone the differences are noise.
            round_trip: if same_region { Duration::ZERO } else { round_trip },
        }
    }
}

#[cfg(test)]
mod tests {
    use covey_state::Timestamp;

    use super::*;

    fn node(region: &str, zone: &str) -> Node {
        Node {
            id: NodeId::new(1),
            peer_addr: String::new(),
            api_addr: String::new(),
            region: region.to_owned(),
            zone: zone.to_owned(),
            binary: String::new(),
            state: NodeState::Active,
            joined_at: Timestamp::default(),
        }
    }

    #[test]
    fn the_same_zone_comes_before_the_same_region_and_that_before_the_quickest_of_the_others() {
        let here = node("eu", "a");
        let rank = |region, zone, millis| {
            Rank::of(
                Some(&here),
                Some(&node(region, zone)),
                (false, Duration::from_millis(millis)),
            )
        };
        let ordered = [
            rank("eu", "a", 90),
            rank("eu", "b", 1),
            rank("us", "a", 40),
            rank("ap", "a", 120),
        ];
        assert!(ordered.is_sorted_by(|one, two| one < two), "{ordered:?}");
        let leader = Rank::of(
            Some(&here),
            Some(&node("ap", "a")),
            (true, Duration::from_millis(120)),
        );
        assert!(leader < ordered[0]);
    }
}
