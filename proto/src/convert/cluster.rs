//! Nodes, their states, and what a node says when it joins.

use std::collections::BTreeSet;

use covey_state::NodeId;
use covey_state::command::NodeSpec;
use covey_state::namespace::{Namespace, Policy};
use covey_state::placement::Move;
use covey_state::topology::{Node, NodeState, Placement};

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
            unheard_ms: 0,
            dead: false,
            clock_ahead_ms: 0,
            clock_doubted: false,
        }
    }
}

/// What a namespace is to survive, from its two fields on the wire.
pub fn policy(home: String, survive: i32) -> Result<Policy, InvalidField> {
    match (v1::Survival::try_from(survive), home.is_empty()) {
        (Ok(v1::Survival::Unspecified), true) => Ok(Policy::Anywhere),
        (Ok(v1::Survival::Unspecified), false) => {
            let reason =
                format!("missing: say whether a zone or a region of home `{home}` is to be survived");
            Err(InvalidField::new("survive", reason))
        }
        (Ok(v1::Survival::Zone), false) => Ok(Policy::SurviveZone { home }),
        (Ok(v1::Survival::Region), false) => Ok(Policy::SurviveRegion { home }),
        (Ok(v1::Survival::Zone | v1::Survival::Region), true) => {
            Err(InvalidField::new("home", "missing: name the home region"))
        }
        (Err(_), _) => Err(InvalidField::new(
            "survive",
            format!("`{survive}` is not a known goal"),
        )),
    }
}

/// The goal of a policy on the wire.
pub fn survival(policy: &Policy) -> v1::Survival {
    match policy {
        Policy::Anywhere => v1::Survival::Unspecified,
        Policy::SurviveZone { .. } => v1::Survival::Zone,
        Policy::SurviveRegion { .. } => v1::Survival::Region,
    }
}

/// The namespace as it is declared; whether it is made and kept is added by whoever looks.
impl From<Namespace> for v1::Namespace {
    fn from(namespace: Namespace) -> Self {
        Self {
            name: namespace.name,
            first_group: namespace.span.first,
            groups: namespace.span.groups,
            home: namespace.policy.home().unwrap_or_default().to_owned(),
            survive: survival(&namespace.policy).into(),
            made: false,
            broken: String::new(),
        }
    }
}

impl From<Placement> for v1::Placement {
    fn from(placement: Placement) -> Self {
        let names = |nodes: BTreeSet<NodeId>| nodes.iter().map(NodeId::to_string).collect();
        Self {
            revision: placement.revision,
            voters: names(placement.voters),
            learners: names(placement.learners),
            preferred_leader: placement
                .preferred_leader
                .map(|node| node.to_string())
                .unwrap_or_default(),
            bytes: placement.weight.bytes,
            load: placement.weight.load,
            replicas_pinned: placement.pins.replicas,
            leader_pinned: placement.pins.leader,
            made: placement.maker.is_some(),
        }
    }
}

impl From<Move> for v1::rebalance_reply::Move {
    fn from(each: Move) -> Self {
        let name = |node: Option<NodeId>| node.map(|node| node.to_string()).unwrap_or_default();
        Self {
            group: each.group.get(),
            what: each.what.to_owned(),
            from: name(each.from),
            to: name(each.to),
            why: each.why.to_string(),
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

    #[test]
    fn every_policy_survives_the_way_to_the_wire_and_back_and_half_of_one_is_refused() {
        let home = || "eu".to_owned();
        for known in [
            Policy::Anywhere,
            Policy::SurviveZone { home: home() },
            Policy::SurviveRegion { home: home() },
        ] {
            let wire = (
                known.home().unwrap_or_default().to_owned(),
                survival(&known).into(),
            );
            assert_eq!(policy(wire.0, wire.1), Ok(known));
        }
        assert!(policy(home(), 0).is_err());
        assert!(policy(String::new(), 1).is_err());
        assert!(policy(home(), 9).is_err());
    }
}
