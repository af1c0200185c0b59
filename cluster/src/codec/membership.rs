//! Members and memberships.

use std::collections::{BTreeMap, BTreeSet};

use covey_proto::peer::v1 as wire;
use covey_state::NodeId;

use super::{log_id, log_id_from, required};
use crate::consensus::{Address, Membership, StoredMembership};
use crate::error::Error;
use crate::identity::Peer;

pub(crate) fn member(peer: &Peer) -> wire::Member {
    wire::Member {
        node: peer.node.get(),
        peer_addr: peer.peer_addr.clone(),
        api_addr: peer.api_addr.clone(),
    }
}

pub(crate) fn peer(member: wire::Member) -> Peer {
    Peer {
        node: NodeId::new(member.node),
        peer_addr: member.peer_addr,
        api_addr: member.api_addr,
    }
}

pub(super) fn membership(membership: &Membership) -> wire::Membership {
    let set = |nodes: &BTreeSet<u64>| wire::VoterSet {
        nodes: nodes.iter().copied().collect(),
    };
    wire::Membership {
        configs: membership.get_joint_config().iter().map(set).collect(),
        members: membership
            .nodes()
            .map(|(id, address)| member(&address.of_node(*id)))
            .collect(),
    }
}

pub(super) fn membership_from(membership: wire::Membership) -> Result<Membership, Error> {
    if membership.configs.is_empty() && membership.members.is_empty() {
        return Ok(Membership::default());
    }
    let configs = membership
        .configs
        .into_iter()
        .map(|set| set.nodes.into_iter().collect())
        .collect();
    let nodes: BTreeMap<u64, Address> = membership
        .members
        .into_iter()
        .map(|member| (member.node, peer(member).into()))
        .collect();
    Membership::new(configs, nodes).map_err(|error| Error::decode("membership", error))
}

pub(crate) fn stored_membership(stored: &StoredMembership) -> wire::StoredMembership {
    wire::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id),
        membership: Some(membership(stored.membership())),
    }
}

pub(crate) fn stored_membership_from(stored: wire::StoredMembership) -> Result<StoredMembership, Error> {
    let members = required("stored membership", "membership", stored.membership)?;
    Ok(StoredMembership::new(
        stored.log_id.map(log_id_from),
        membership_from(members)?,
    ))
}
