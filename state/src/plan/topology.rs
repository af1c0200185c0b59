//! Decides the cluster's own description: its birth, its nodes and the placement of its groups.
//!
//! Invariants: there is one cluster; a node's id is given once and never again; a removed node stays removed and is
//! in no placement.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::command::NodeSpec;
use crate::id::{GroupId, NodeId};
use crate::key::Key;
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{check_text, check_token, conflict, ensure, invalid, wrong_state};
use crate::record::Record;
use crate::rejection::Rejection;
use crate::slot::SLOTS;
use crate::topology::{CLUSTER_VERSION, Cluster, Node, NodeState, Placement};
use crate::view::Fault;

/// The largest number of voters per group.
pub const REPLICATION_FACTOR_MAX: u32 = 7;
/// A refusal names at most this many groups.
const NAMED_GROUPS_MAX: usize = 8;
const FIRST_NODE: NodeId = NodeId::new(1);

/// The cluster that a founding command describes: data groups, then voters per group, in `shape`.
pub(super) fn founded(draft: &Draft<'_>, id: u128, name: &str, shape: (u64, u32)) -> Cluster {
    let (groups, replication_factor) = shape;
    Cluster {
        id,
        name: name.to_owned(),
        groups,
        replication_factor,
        version: CLUSTER_VERSION,
        next_node: FIRST_NODE.get() + 1,
        next_view: 1,
        created_at: draft.now,
    }
}

/// Makes the cluster, once.
pub(super) fn init(draft: &mut Draft<'_>, cluster: Cluster, first: &NodeSpec) -> Decided {
    if let Some(known) = draft.get::<Cluster>(&Key::Cluster)? {
        return Err(Rejection::Exists {
            kind: "cluster".to_owned(),
            name: known.name,
        }
        .into());
    }
    ensure(
        !cluster.name.is_empty() && cluster.name.len() <= 63,
        "name",
        || "a cluster's name has 1 to 63 bytes".to_owned(),
    )?;
    ensure(
        cluster.groups.is_power_of_two() && cluster.groups <= u64::from(SLOTS),
        "groups",
        || format!("{} is not a power of two from 1 to {SLOTS}", cluster.groups),
    )?;
    let factor = cluster.replication_factor;
    ensure(
        factor % 2 == 1 && factor <= REPLICATION_FACTOR_MAX,
        "replication_factor",
        || format!("{factor} is not an odd number from 1 to {REPLICATION_FACTOR_MAX}"),
    )?;
    check_spec(first)?;
    for group in 0..=cluster.groups {
        let placement = Placement {
            revision: 1,
            voters: BTreeSet::from([FIRST_NODE]),
            learners: BTreeSet::new(),
            preferred_leader: Some(FIRST_NODE),
        };
        draft.put(Key::Placement(GroupId::new(group)), placement);
    }
    let node = joined(draft, FIRST_NODE, first);
    draft.put(Key::Node(FIRST_NODE), node);
    draft.put(Key::Cluster, cluster);
    Ok(Answer::Node(FIRST_NODE))
}

/// The cluster, or the refusal that says that there is none yet.
pub(super) fn cluster(draft: &Draft<'_>) -> Result<Cluster, Stop> {
    draft.get(&Key::Cluster)?.ok_or_else(|| {
        wrong_state(
            "cluster",
            "-",
            "not initialised",
            "make it with `covey init` on one node first",
        )
        .into()
    })
}

/// Gives a joining node its id.
pub(super) fn register(draft: &mut Draft<'_>, spec: &NodeSpec) -> Decided {
    let mut cluster = cluster(draft)?;
    check_spec(spec)?;
    check_address_is_free(draft, spec, None)?;
    let id = NodeId::new(cluster.next_node);
    cluster.next_node += 1;
    let node = joined(draft, id, spec);
    draft.put(Key::Node(id), node);
    draft.put(Key::Cluster, cluster);
    Ok(Answer::Node(id))
}

/// Takes over a known node's new addresses, labels or binary.
pub(super) fn update(draft: &mut Draft<'_>, id: NodeId, spec: &NodeSpec) -> Decided {
    let node = present(draft, id)?;
    check_spec(spec)?;
    check_address_is_free(draft, spec, Some(id))?;
    let updated = Node {
        state: node.state,
        joined_at: node.joined_at,
        ..joined(draft, id, spec)
    };
    if updated != node {
        draft.put(Key::Node(id), updated);
    }
    Ok(Answer::Done)
}

/// Moves a node between taking part and leaving.
pub(super) fn set_state(draft: &mut Draft<'_>, id: NodeId, state: NodeState) -> Decided {
    let mut node = present(draft, id)?;
    if node.state == state {
        return Ok(Answer::Done);
    }
    match (node.state, state) {
        (NodeState::Active, NodeState::Draining | NodeState::Decommissioning)
        | (NodeState::Draining, NodeState::Active | NodeState::Decommissioning)
        | (NodeState::Decommissioning, NodeState::Active) => {}
        (NodeState::Decommissioning, NodeState::Removed) => check_holds_nothing(draft, id)?,
        (NodeState::Active | NodeState::Draining, NodeState::Removed) => {
            let hint = "decommission it and wait until it holds no replicas";
            return Err(wrong_state("node", &id.to_string(), node.state.to_string(), hint).into());
        }
        (NodeState::Decommissioning, NodeState::Draining) => {
            let hint = "make it active first, or let it finish leaving";
            return Err(wrong_state("node", &id.to_string(), node.state.to_string(), hint).into());
        }
        (NodeState::Active, NodeState::Active)
        | (NodeState::Draining, NodeState::Draining)
        | (NodeState::Decommissioning, NodeState::Decommissioning) => return Ok(Answer::Done),
        (NodeState::Removed, _) => return Err(Rejection::NodeRemoved(id).into()),
    }
    node.state = state;
    draft.put(Key::Node(id), node);
    Ok(Answer::Done)
}

/// Sets the desired members of a group.
pub(super) fn set_placement(
    draft: &mut Draft<'_>,
    group: GroupId,
    expected: u64,
    placement: &Placement,
) -> Decided {
    let cluster = cluster(draft)?;
    let name = group.to_string();
    if group.get() > cluster.groups {
        return Err(Rejection::NotFound {
            kind: "group".to_owned(),
            name,
        }
        .into());
    }
    let known = draft
        .get::<Placement>(&Key::Placement(group))?
        .unwrap_or_default();
    if known.revision != expected {
        let found = known.revision.to_string();
        return Err(conflict("placement", &name, expected.to_string(), found).into());
    }
    ensure(placement.voters.len() % 2 == 1, "placement.voters", || {
        format!("{} voters are not an odd number", placement.voters.len())
    })?;
    if let Some(both) = placement.voters.intersection(&placement.learners).next() {
        return Err(invalid("placement.learners", format!("{both} is a voter too")).into());
    }
    if let Some(leader) = placement.preferred_leader {
        let votes = placement.voters.contains(&leader);
        ensure(votes, "placement.preferred_leader", || {
            format!("{leader} is no voter")
        })?;
    }
    for node in placement.voters.iter().chain(&placement.learners) {
        present(draft, *node)?;
    }
    let decided = Placement {
        revision: known.revision,
        ..placement.clone()
    };
    if decided == known {
        return Ok(Answer::Number(known.revision));
    }
    let revision = known.revision + 1;
    draft.put(Key::Placement(group), Placement { revision, ..decided });
    Ok(Answer::Number(revision))
}

/// The node, if it exists and has not been removed.
pub(super) fn present(draft: &Draft<'_>, id: NodeId) -> Result<Node, Stop> {
    let node: Node = draft.need(&Key::Node(id), "node", &id.to_string())?;
    if node.state == NodeState::Removed {
        Err(Rejection::NodeRemoved(id).into())
    } else {
        Ok(node)
    }
}

fn joined(draft: &Draft<'_>, id: NodeId, spec: &NodeSpec) -> Node {
    Node {
        id,
        peer_addr: spec.peer_addr.clone(),
        api_addr: spec.api_addr.clone(),
        region: spec.region.clone(),
        zone: spec.zone.clone(),
        binary: spec.binary.clone(),
        state: NodeState::Active,
        joined_at: draft.now,
    }
}

fn check_spec(spec: &NodeSpec) -> Result<(), Rejection> {
    check_token("peer_addr", &spec.peer_addr)?;
    check_token("api_addr", &spec.api_addr)?;
    check_text("region", &spec.region)?;
    check_text("zone", &spec.zone)?;
    check_text("binary", &spec.binary)
}

fn check_address_is_free(draft: &Draft<'_>, spec: &NodeSpec, own: Option<NodeId>) -> Result<(), Stop> {
    let mut taken = false;
    draft.scan(&Key::Node(NodeId::new(0)), &mut |_, record| {
        let Record::Node(node) = record else {
            return ControlFlow::Break(());
        };
        taken |= node.peer_addr == spec.peer_addr && node.state != NodeState::Removed && own != Some(node.id);
        if taken {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if taken {
        let name = spec.peer_addr.clone();
        return Err(Rejection::Exists {
            kind: "node with peer address".to_owned(),
            name,
        }
        .into());
    }
    Ok(())
}

fn check_holds_nothing(draft: &Draft<'_>, id: NodeId) -> Result<(), Stop> {
    let groups = groups_of(draft, id)?;
    if groups.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = groups
        .iter()
        .take(NAMED_GROUPS_MAX)
        .map(GroupId::to_string)
        .collect();
    let more = if groups.len() > named.len() { ", …" } else { "" };
    let state = format!(
        "still a member of {} group(s): {}{more}",
        groups.len(),
        named.join(", ")
    );
    Err(wrong_state(
        "node",
        &id.to_string(),
        state,
        "wait until its replicas have moved",
    )
    .into())
}

fn groups_of(draft: &Draft<'_>, id: NodeId) -> Result<Vec<GroupId>, Fault> {
    let mut groups = Vec::new();
    draft.scan(&Key::Placement(GroupId::CONTROL), &mut |key, record| {
        let (Key::Placement(group), Record::Placement(placement)) = (key, record) else {
            return ControlFlow::Break(());
        };
        if placement.voters.contains(&id) || placement.learners.contains(&id) {
            groups.push(group);
        }
        ControlFlow::Continue(())
    })?;
    Ok(groups)
}
