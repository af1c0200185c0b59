//! Nodes, their states, and what a node says when it joins.

use covey_state::command::NodeSpec;
use covey_state::topology::{Node, NodeState};

use super::InvalidField;
use crate::v1;

/// The state behind an enum number in `field`.
pub fn node_state(number: i32, field: &str) -> Result<NodeState, InvalidField> {
    match v1::NodeState::try_from(number) {
        Ok(v1::NodeState::Active) => Ok(NodeState::Active),
        Ok(v1::NodeState::Draining) => Ok(NodeState::Draining),
        Ok(v1::NodeState::Decommissioning) => Ok(NodeState::Decommissioning),
        Ok(v1::NodeState::Removed) => Ok(NodeState::Removed),
        Ok(v1::NodeState::Unspecified) => Err(InvalidField::new(field, "no state is given")),
        Err(_) => Err(InvalidField::new(
            field,
            format!("`{number}` is not a known state"),
        )),
    }
}

impl From<NodeState> for v1::NodeState {
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Active => Self::Active,
            NodeState::Draining => Self::Draining,
            NodeState::Decommissioning => Self::Decommissioning,
            NodeState::Removed => Self::Removed,
        }
    }
}

/// The node as it is declared; whether it is reachable and what it holds is added by whoever looks.
impl From<Node> for v1::Node {
    fn from(node: Node) -> Self {
        Self {
            id: node.id.to_string(),
            peer_addr: node.peer_addr,
            api_addr: node.api_addr,
            region: node.region,
            zone: node.zone,
            binary: node.binary,
            state: v1::NodeState::from(node.state).into(),
            joined_at_micros: node.joined_at.micros(),
            reachable: false,
            replicas: 0,
            leaders: 0,
        }
    }
}

impl From<v1::JoinRequest> for NodeSpec {
    fn from(request: v1::JoinRequest) -> Self {
        Self {
            peer_addr: request.peer_addr,
            api_addr: request.api_addr,
            region: request.region,
            zone: request.zone,
            binary: request.binary,
        }
    }
}

impl From<NodeSpec> for v1::JoinRequest {
    fn from(spec: NodeSpec) -> Self {
        Self {
            peer_addr: spec.peer_addr,
            api_addr: spec.api_addr,
            region: spec.region,
            zone: spec.zone,
            binary: spec.binary,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_the_way_to_the_wire_and_back() {
        for state in [
            NodeState::Active,
            NodeState::Draining,
            NodeState::Decommissioning,
            NodeState::Removed,
        ] {
            assert_eq!(node_state(v1::NodeState::from(state).into(), "state"), Ok(state));
        }
        assert!(node_state(0, "state").is_err());
    }
}
