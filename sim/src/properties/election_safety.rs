//! Nobody leads twice by one election: a leader that has started anew must have been elected anew.
//!
//! The consensus library orders votes by term and then by candidate, so a later candidate may win over an earlier one in
//! the same term, as it would in a later one. What is unique is the pair.

use std::collections::BTreeMap;

use covey_cluster::Role;
use covey_state::NodeId;

use super::{Property, Scene};

/// See the page's head.
#[derive(Default)]
pub(super) struct ElectionSafety {
    /// The start of the node that led in a term.
    leaders: BTreeMap<(u64, NodeId), u64>,
}

impl Property for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for node in scene.nodes.iter().filter(|node| node.status.role == Role::Leader) {
            let (term, start) = (node.status.term, node.incarnation);
            let first = *self.leaders.entry((term, node.node)).or_insert(start);
            if first != start {
                return Err(format!(
                    "{} leads in term {term} after its start {start} by the election of its start {first}",
                    node.node
                ));
            }
        }
        Ok(())
    }
}
