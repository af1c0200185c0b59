//! The nodes as the planner sees them: who may be given something, who keeps what it has, who gives it up.

use std::collections::BTreeMap;

use super::Problem;
use crate::id::NodeId;
use crate::topology::{Node, NodeState};

/// What a node may be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    /// It takes replicas and leads.
    Open,
    /// It keeps its replicas, takes no more and leads nothing: draining or silent.
    Keeps,
    /// It gives its replicas up where others can take them: decommissioning or dead.
    Leaves,
}

/// The nodes that are there.
pub(super) struct Fleet<'a> {
    nodes: BTreeMap<NodeId, (&'a Node, Stance)>,
    open: Vec<NodeId>,
}

impl<'a> Fleet<'a> {
    /// The nodes of a problem; removed ones are not there.
    pub(super) fn new(problem: &'a Problem) -> Self {
        let mut nodes = BTreeMap::new();
        for node in &problem.nodes {
            let silent = problem.silent.contains(&node.id);
            let stance = match node.state {
                NodeState::Removed => continue,
                NodeState::Decommissioning => Stance::Leaves,
                NodeState::Active | NodeState::Draining if problem.dead.contains(&node.id) => Stance::Leaves,
                NodeState::Active if !silent => Stance::Open,
                NodeState::Active | NodeState::Draining => Stance::Keeps,
            };
            nodes.insert(node.id, (node, stance));
        }
        let is_open = |(_, (_, stance)): &(&NodeId, &(&Node, Stance))| *stance == Stance::Open;
        let open = nodes.iter().filter(is_open).map(|(id, _)| *id).collect();
        Self { nodes, open }
    }

    /// A node that is there.
    pub(super) fn get(&self, id: NodeId) -> Option<&'a Node> {
        self.nodes.get(&id).map(|(node, _)| *node)
    }

    /// What a node may be asked to do, if it is there.
    pub(super) fn stance(&self, id: NodeId) -> Option<Stance> {
        self.nodes.get(&id).map(|(_, stance)| *stance)
    }

    /// Whether a node takes replicas and leads.
    pub(super) fn is_open(&self, id: NodeId) -> bool {
        self.stance(id) == Some(Stance::Open)
    }

    /// The nodes that take replicas and lead, in order.
    pub(super) fn open(&self) -> &[NodeId] {
        &self.open
    }

    /// Every node that is there, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Node> {
        self.nodes.values().map(|(node, _)| *node)
    }
}
