//! At most one node leads in a term.

use std::collections::BTreeMap;

use covey_cluster::Role;
use covey_state::NodeId;

use super::{Property, Scene};

/// See the page's head.
#[derive(Default)]
pub(super) struct ElectionSafety {
    leaders: BTreeMap<u64, NodeId>,
}

impl Property for ElectionSafety {
    fn name(&self) -> &'static str {
        "election safety"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for node in scene.nodes.iter().filter(|node| node.status.role == Role::Leader) {
            let term = node.status.term;
            let leader = *self.leaders.entry(term).or_insert(node.node);
            if leader != node.node {
                return Err(format!("{leader} and {} lead in term {term}", node.node));
            }
        }
        Ok(())
    }
}
