//! What this node knows about asking other nodes: how much it has asked of each, and who did not answer lately.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covey_state::NodeId;
use rand::Rng;
use tokio::time::Instant;

/// A node that did not answer is asked last for this long.
const AVOIDED_FOR: Duration = Duration::from_secs(2);

/// Requests to other nodes.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    nodes: Mutex<BTreeMap<NodeId, Asked>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    in_flight: u32,
    avoided_until: Option<Instant>,
}

/// A request that is on its way; dropping it takes it off the count.
pub(super) struct InFlight<'a> {
    traffic: &'a Traffic,
    node: NodeId,
}

impl Traffic {
    /// The node to ask: of two at random, the one with fewer requests on the way; those that failed lately come last.
    pub(super) fn choose(&self, candidates: &[NodeId]) -> Option<NodeId> {
        let now = Instant::now();
        let nodes = self.lock();
        let of = |node: &NodeId| nodes.get(node).copied().unwrap_or_default();
        let well = |node: &&NodeId| of(node).avoided_until.is_none_or(|until| until <= now);
        let healthy: Vec<NodeId> = candidates.iter().filter(well).copied().collect();
        let pool = if healthy.is_empty() { candidates } else { &healthy };
        let first = pick(pool)?;
        let second = pick(pool)?;
        Some(if of(&second).in_flight < of(&first).in_flight {
            second
        } else {
            first
        })
    }

    /// Counts a request to a node.
    pub(super) fn begin(&self, node: NodeId) -> InFlight<'_> {
        self.lock().entry(node).or_default().in_flight += 1;
        InFlight { traffic: self, node }
    }

    /// The node did not answer.
    pub(super) fn avoid(&self, node: NodeId) {
        self.lock().entry(node).or_default().avoided_until = Some(Instant::now() + AVOIDED_FOR);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Asked>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pick(pool: &[NodeId]) -> Option<NodeId> {
    (!pool.is_empty()).then(|| pool[rand::thread_rng().gen_range(0..pool.len())])
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(asked) = self.traffic.lock().get_mut(&self.node) {
            asked.in_flight -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_failed_is_asked_only_when_there_is_no_other() {
        let traffic = Traffic::default();
        let (one, two) = (NodeId::new(1), NodeId::new(2));
        traffic.avoid(one);
        for _ in 0..50 {
            assert_eq!(traffic.choose(&[one, two]), Some(two));
        }
        assert_eq!(traffic.choose(&[one]), Some(one));
        assert_eq!(traffic.choose(&[]), None);
    }

    #[test]
    fn the_busier_of_two_is_asked_less() {
        let traffic = Traffic::default();
        let (one, two) = (NodeId::new(1), NodeId::new(2));
        let on_the_way: Vec<InFlight<'_>> = (0..5).map(|_| traffic.begin(one)).collect();
        let asked = (0..200)
            .filter(|_| traffic.choose(&[one, two]) == Some(one))
            .count();
        assert!(asked < 100, "{asked} of 200 went to the busy node");
        drop(on_the_way);
        assert_eq!(traffic.lock()[&one].in_flight, 0);
    }
}
