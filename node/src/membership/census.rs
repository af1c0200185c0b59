//! What the leader of the control group observes of the cluster: which nodes it hears of, and what the groups weigh.
//!
//! Time is the leader's own and never enters a decision of the state machine. A new leader begins anew: to it every node
//! has just been heard of, and weights count only when it has watched for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use covey_proto::node::v1 as node_v1;
use covey_state::topology::{NodeState, Weight};
use covey_state::{GroupId, NodeId};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Membership;
use super::report::Reports;
use crate::api::Caller;

/// How often everybody is asked.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How long a node gets to answer.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// After this long without an answer a node should not lead.
const SILENT_AFTER: Duration = Duration::from_secs(8);
/// How long a leader watches before what it has measured counts.
const WARM_AFTER: Duration = Duration::from_secs(30);
/// Older samples fade over this time.
const FADE: Duration = Duration::from_secs(60);

/// What is known of the cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// How long each node has not been heard of.
    pub unheard: BTreeMap<NodeId, Duration>,
    /// Nodes that should not lead: not heard of for a while, or their clocks are doubted.
    pub silent: BTreeSet<NodeId>,
    /// Nodes whose replicas are to be rebuilt elsewhere.
    pub dead: BTreeSet<NodeId>,
    /// What groups weigh, where that has been watched for long enough.
    pub weights: BTreeMap<GroupId, Weight>,
}

/// The census of this node, which is empty unless it leads the control group. Clones share it.
#[derive(Clone)]
pub struct Census {
    tally: Arc<Mutex<Option<Tally>>>,
    dead_after: Duration,
}

/// What one leadership has observed.
#[derive(Debug)]
struct Tally {
    begun: Instant,
    sampled: Instant,
    heard: BTreeMap<NodeId, Instant>,
    /// Nodes whose clocks are doubted.
    doubted: BTreeSet<NodeId>,
    groups: BTreeMap<GroupId, Watched>,
    /// Reads that each replica has counted.
    reads: BTreeMap<(NodeId, GroupId), u64>,
}

/// What has been observed of one group.
#[derive(Debug, Default, Clone, Copy)]
struct Watched {
    applied: Option<u64>,
    bytes: u64,
    per_second: f64,
}

impl Census {
    /// An empty census. Nodes count as dead when they were not heard of for `dead_after`.
    pub fn new(dead_after: Duration) -> Self {
        Self {
            tally: Arc::default(),
            dead_after,
        }
    }

    /// What is known now; nothing on a node that does not lead the control group.
    pub fn observed(&self) -> Option<Observed> {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally
            .as_ref()
            .map(|tally| tally.observed(Instant::now(), self.dead_after))
    }

    fn take(&self, reports: &Reports, present: &[NodeId]) {
        let now = Instant::now();
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally
            .get_or_insert_with(|| Tally::new(now))
            .take(reports, present, now);
    }

    fn forget(&self) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Tally {
    fn new(now: Instant) -> Self {
        Self {
            begun: now,
            sampled: now,
            heard: BTreeMap::new(),
            doubted: BTreeSet::new(),
            groups: BTreeMap::new(),
            reads: BTreeMap::new(),
        }
    }

    /// Adds what everybody said at one moment; `present` are the nodes that take part.
    fn take(&mut self, reports: &Reports, present: &[NodeId], now: Instant) {
        for node in present {
            let heard = self.heard.entry(*node).or_insert(now);
            if reports.has(*node) {
                *heard = now;
            }
        }
        self.heard.retain(|node, _| present.contains(node));
        self.doubted = reports.doubted().collect();
        let elapsed = now.saturating_duration_since(self.sampled).as_secs_f64();
        self.sampled = now;
        let age = now.saturating_duration_since(self.begun);
        let mut seen: BTreeMap<GroupId, (u64, u64, u64)> = BTreeMap::new();
        for (node, replica) in reports.replicas() {
            let group = GroupId::new(replica.group);
            let before = self.reads.insert((node, group), replica.reads);
            // A counter that has fallen began again with its node.
            let reads = before.map_or(0, |before| {
                replica.reads.checked_sub(before).unwrap_or(replica.reads)
            });
            let (applied, bytes, sum) = seen.entry(group).or_default();
            *applied = replica.applied_index.max(*applied);
            *bytes = replica.bytes.max(*bytes);
            *sum += reads;
        }
        for (group, (applied, bytes, reads)) in seen {
            let watched = self.groups.entry(group).or_default();
            let entries = watched.applied.map_or(0, |before| applied.saturating_sub(before));
            watched.applied = Some(applied);
            watched.bytes = bytes;
            if elapsed > 0.0 {
                let rate = (entries + reads) as f64 / elapsed;
                // At first the mean of all samples, later one that forgets.
                let share = elapsed / age.min(FADE).as_secs_f64().max(elapsed);
                watched.per_second += (rate - watched.per_second) * share;
            }
        }
    }

    fn observed(&self, now: Instant, dead_after: Duration) -> Observed {
        let unheard: BTreeMap<NodeId, Duration> = self
            .heard
            .iter()
            .map(|(node, heard)| (*node, now.saturating_duration_since(*heard)))
            .collect();
        let longer = |limit: Duration| -> BTreeSet<NodeId> {
            let nodes = unheard.iter().filter(|(_, unheard)| **unheard >= limit);
            nodes.map(|(node, _)| *node).collect()
        };
        let warm = now.saturating_duration_since(self.begun) >= WARM_AFTER;
        let weight = |(group, watched): (&GroupId, &Watched)| {
            let load = watched.per_second.max(0.0).round() as u64;
            (
                *group,
                Weight {
                    bytes: watched.bytes,
                    load,
                },
            )
        };
        Observed {
            silent: &longer(SILENT_AFTER.min(dead_after)) | &self.doubted,
            dead: longer(dead_after),
            weights: self.groups.iter().filter(|_| warm).map(weight).collect(),
            unheard,
        }
    }
}

impl Observed {
    /// As it goes over the wire.
    pub fn to_wire(&self) -> node_v1::Census {
        let nodes = self.unheard.iter().map(|(node, unheard)| node_v1::census::Heard {
            node: node.to_string(),
            unheard_ms: u64::try_from(unheard.as_millis()).unwrap_or(u64::MAX),
            silent: self.silent.contains(node),
            dead: self.dead.contains(node),
        });
        let groups = self
            .weights
            .iter()
            .map(|(group, weight)| node_v1::census::Weighed {
                group: group.get(),
                bytes: weight.bytes,
                load: weight.load,
            });
        node_v1::Census {
            nodes: nodes.collect(),
            groups: groups.collect(),
        }
    }

    /// As it came over the wire; a node whose name cannot be read is left out.
    pub fn of_wire(wire: node_v1::Census) -> Self {
        let mut observed = Self::default();
        for heard in wire.nodes {
            let Ok(node) = heard.node.parse::<NodeId>() else {
                continue;
            };
            observed
                .unheard
                .insert(node, Duration::from_millis(heard.unheard_ms));
            if heard.silent {
                observed.silent.insert(node);
            }
            if heard.dead {
                observed.dead.insert(node);
            }
        }
        for weighed in wire.groups {
            let weight = Weight {
                bytes: weighed.bytes,
                load: weighed.load,
            };
            observed.weights.insert(GroupId::new(weighed.group), weight);
        }
        observed
    }
}

impl Membership {
    /// Asks everybody again and again for as long as this node leads the control group.
    pub(super) async fn keep_census(self) {
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.context.ledger.leads(GroupId::CONTROL) {
                self.census.forget();
                continue;
            }
            let copy = self.context.catalog.current();
            let present = copy
                .nodes
                .values()
                .filter(|node| node.state != NodeState::Removed);
            let present: Vec<NodeId> = present.map(|node| node.id).collect();
            let reports = Reports::gather(&self.context, &Caller::internal("census"), &copy, ASK_LIMIT).await;
            self.census.take(&reports, &present);
        }
    }
}

#[cfg(test)]
mod tests {
    use covey_proto::v1::list_groups_reply::Replica;

    use super::*;

    const N1: NodeId = NodeId::new(1);
    const N2: NodeId = NodeId::new(2);
    const G1: GroupId = GroupId::new(1);

    fn replica(applied_index: u64, reads: u64) -> Replica {
        Replica {
            group: 1,
            applied_index,
            reads,
            bytes: 7,
            ..Replica::default()
        }
    }

    #[test]
    fn a_node_is_silent_first_and_dead_later_and_heard_of_again_when_it_answers() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        let (both, one) = (
            Reports::of([(N1, vec![]), (N2, vec![])]),
            Reports::of([(N1, vec![])]),
        );
        tally.take(&both, &[N1, N2], start);
        let dead_after = Duration::from_secs(60);
        for (second, silent, dead) in [(4, false, false), (10, true, false), (61, true, true)] {
            let now = start + Duration::from_secs(second);
            tally.take(&one, &[N1, N2], now);
            let observed = tally.observed(now, dead_after);
            assert_eq!(
                (observed.silent.contains(&N2), observed.dead.contains(&N2)),
                (silent, dead)
            );
            assert!(!observed.silent.contains(&N1));
        }
        let now = start + Duration::from_secs(70);
        tally.take(&both, &[N1, N2], now);
        assert_eq!(tally.observed(now, dead_after).silent, BTreeSet::new());
    }

    #[test]
    fn load_is_entries_and_reads_per_second_and_counts_only_after_a_while() {
        let start = Instant::now();
        let mut tally = Tally::new(start);
        for second in 0..=60 {
            // Node 1 is restarted in the middle, and its counter begins again.
            let reads = if second < 30 {
                second * 10
            } else {
                (second - 30) * 10
            };
            let reports = Reports::of([(N1, vec![replica(second * 100, reads)])]);
            let now = start + Duration::from_secs(second);
            tally.take(&reports, &[N1], now);
            let weights = tally.observed(now, Duration::from_secs(300)).weights;
            assert_eq!(weights.contains_key(&G1), second >= 30);
        }
        let weights = tally
            .observed(start + Duration::from_secs(60), Duration::from_secs(300))
            .weights;
        assert!((105..=111).contains(&weights[&G1].load), "{weights:?}");
        assert_eq!(weights[&G1].bytes, 7);
    }
}
