//! Decides the cluster's own description: its birth and its nodes.
//!
//! Invariants: there is one cluster; a node's id is given once and never again; a removed node stays removed and is
//! in no placement; no node is let go that a group's voters or a namespace's policy cannot do without.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::command::NodeSpec;
use crate::id::{GroupId, NodeId};
use crate::key::Key;
use crate::placement::{feasible, largest_odd};
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{check_text, check_token, ensure, wrong_state};
use crate::plan::{namespace, placement};
use crate::record::Record;
use crate::rejection::Rejection;
use crate::slot::SLOTS;
use crate::topology::{CLUSTER_VERSION, Cluster, Node, NodeState, Placement};

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
        next_group: groups.saturating_add(1),
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
            preferred_leader: Some(FIRST_NODE),
            maker: Some(FIRST_NODE),
            ..Placement::default()
        };
        draft.put(Key::Placement(GroupId::new(group)), placement);
    }
    let node = joined(draft, FIRST_NODE, first);
    draft.put(Key::Node(FIRST_NODE), node);
    namespace::put_default(draft, cluster.groups);
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
        (NodeState::Active | NodeState::Draining, NodeState::Decommissioning) => {
            check_can_do_without(draft, &node)?;
        }
        (NodeState::Active, NodeState::Draining)
        | (NodeState::Draining | NodeState::Decommissioning, NodeState::Active) => {}
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
    let is_taken = |node: &Node| {
        node.peer_addr == spec.peer_addr && node.state != NodeState::Removed && own != Some(node.id)
    };
    let taken = nodes(draft)?.iter().any(is_taken);
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

/// Refuses to let a node go where groups would be left with fewer voters than they are to have and can have now, or
/// where a namespace's policy can be kept with it and not without it.
fn check_can_do_without(draft: &Draft<'_>, leaving: &Node) -> Result<(), Stop> {
    let cluster = cluster(draft)?;
    let staying = |state| matches!(state, NodeState::Active | NodeState::Draining);
    let with: Vec<Node> = nodes(draft)?
        .into_iter()
        .filter(|node| staying(node.state))
        .collect();
    let without: Vec<Node> = with
        .iter()
        .filter(|node| node.id != leaving.id)
        .cloned()
        .collect();
    let refuse = |state: String, hint: &str| wrong_state("node", &leaving.id.to_string(), state, hint);
    for namespace in namespace::all(draft)? {
        let wanted = namespace.policy.voters(cluster.replication_factor as usize);
        let voters = |nodes: &[Node]| largest_odd(wanted.min(nodes.len()));
        let (now, then) = (voters(&with), voters(&without));
        if then < now {
            let state = format!("needed: without it each group would have {then} of {now} voters");
            return Err(refuse(state, "add a node first").into());
        }
        let keeps = |nodes: &[Node]| feasible(&namespace.policy, nodes.iter());
        if let (Ok(()), Err(reason)) = (keeps(&with), keeps(&without)) {
            let state = format!("needed by namespace `{}`: {reason}", namespace.name);
            return Err(refuse(state, "add a node first, or change the namespace's policy").into());
        }
    }
    Ok(())
}

/// All nodes, removed ones too.
pub(super) fn nodes(draft: &Draft<'_>) -> Result<Vec<Node>, Stop> {
    let mut nodes = Vec::new();
    draft.scan(&Key::Node(NodeId::new(0)), &mut |_, record| {
        let Record::Node(node) = record else {
            return ControlFlow::Break(());
        };
        nodes.push(node);
        ControlFlow::Continue(())
    })?;
    Ok(nodes)
}

fn check_holds_nothing(draft: &Draft<'_>, id: NodeId) -> Result<(), Stop> {
    let groups = placement::groups_of(draft, id)?;
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
