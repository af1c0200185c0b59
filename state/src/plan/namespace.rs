//! Decides namespaces: which groups they have and what those are to survive.
//!
//! Invariants: the spans of namespaces lie side by side from group 1 on and never change; a policy is accepted only where
//! the active nodes suffice for it.

use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::id::{GroupId, NodeId};
use crate::key::Key;
use crate::namespace::{DEFAULT_NAMESPACE, Namespace, Policy};
use crate::placement::feasible;
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{check_name, ensure, invalid, wrong_state};
use crate::plan::{placement, topology};
use crate::record::Record;
use crate::rejection::Rejection;
use crate::slot::{SLOTS, Span};
use crate::topology::{Cluster, NodeState, Placement};

/// The namespace that a cluster is made with.
pub(super) fn put_default(draft: &mut Draft<'_>, groups: u64) {
    let namespace = Namespace {
        name: DEFAULT_NAMESPACE.to_owned(),
        span: Span::initial(groups),
        policy: Policy::Anywhere,
        created_at: draft.now,
    };
    draft.put(Key::Namespace(namespace.name.clone()), namespace);
}

/// Makes a namespace, or changes what its groups are to survive.
pub(super) fn put(draft: &mut Draft<'_>, name: &str, policy: &Policy, groups: Option<u64>) -> Decided {
    let cluster = topology::cluster(draft)?;
    check_name("name", name)?;
    let place = Key::Namespace(name.to_owned());
    let known = draft.get::<Namespace>(&place)?;
    if let Some((known, groups)) = known
        .as_ref()
        .zip(groups)
        .filter(|(known, groups)| known.span.groups != *groups)
    {
        let reason = format!(
            "{groups}, but namespace `{name}` has {} for ever",
            known.span.groups
        );
        return Err(invalid("groups", reason).into());
    }
    if known.as_ref().is_none_or(|known| known.policy != *policy) {
        let nodes = topology::nodes(draft)?;
        feasible(policy, nodes.iter()).map_err(|reason| invalid("policy", reason))?;
    }
    let namespace = match known {
        Some(known) if known.policy == *policy => return Ok(Answer::Done),
        Some(known) => Namespace {
            policy: policy.clone(),
            ..known
        },
        None => {
            let span = begin(draft, cluster, policy, groups.unwrap_or(1))?;
            let (name, policy) = (name.to_owned(), policy.clone());
            Namespace {
                name,
                span,
                policy,
                created_at: draft.now,
            }
        }
    };
    draft.put(place, namespace);
    Ok(Answer::Done)
}

/// Gives out the next groups, each to a node of its own that is to make it.
fn begin(draft: &mut Draft<'_>, cluster: Cluster, policy: &Policy, groups: u64) -> Result<Span, Stop> {
    let span = Span {
        first: cluster.next_group,
        groups,
    };
    ensure(
        groups.is_power_of_two() && groups <= u64::from(SLOTS),
        "groups",
        || format!("{groups} is not a power of two from 1 to {SLOTS}"),
    )?;
    if span.end() > u64::from(SLOTS) + 1 {
        let what = "data groups of all namespaces".to_owned();
        return Err(Rejection::Limit {
            what,
            limit: u64::from(SLOTS),
        }
        .into());
    }
    let fit = |region: &str| policy.home().is_none_or(|home| home == region);
    let nodes = topology::nodes(draft)?;
    let makers = nodes
        .iter()
        .filter(|node| node.state == NodeState::Active && fit(&node.region));
    let makers: Vec<NodeId> = makers.map(|node| node.id).collect();
    if makers.is_empty() {
        return Err(wrong_state(
            "cluster",
            &cluster.name,
            "without an active node",
            "undrain a node first",
        )
        .into());
    }
    for (group, maker) in span.iter().zip(makers.into_iter().cycle()) {
        placement::appoint(draft, group, maker);
    }
    draft.put(
        Key::Cluster,
        Cluster {
            next_group: span.end(),
            ..cluster
        },
    );
    Ok(span)
}

/// The namespace of that name, all of whose groups have been made.
pub(super) fn usable(draft: &Draft<'_>, name: &str) -> Result<Namespace, Stop> {
    let namespace: Namespace = draft.need(&Key::Namespace(name.to_owned()), "namespace", name)?;
    for group in namespace.span.iter() {
        let placement: Placement = draft.need(&Key::Placement(group), "group", &group.to_string())?;
        if !placement.is_made() {
            let hint = "wait a moment and try again";
            return Err(wrong_state("namespace", name, "being made", hint).into());
        }
    }
    Ok(namespace)
}

/// What a group is to survive. The control group is everybody's.
pub(super) fn policy_of(draft: &Draft<'_>, group: GroupId) -> Result<Policy, Stop> {
    let named = all(draft)?
        .into_iter()
        .find(|namespace| namespace.span.contains(group));
    Ok(named.map(|namespace| namespace.policy).unwrap_or_default())
}

/// All namespaces.
pub(super) fn all(draft: &Draft<'_>) -> Result<Vec<Namespace>, Stop> {
    let mut namespaces = Vec::new();
    draft.scan(&Key::Namespace(String::new()), &mut |_, record| {
        let Record::Namespace(namespace) = record else {
            return ControlFlow::Break(());
        };
        namespaces.push(namespace);
        ControlFlow::Continue(())
    })?;
    Ok(namespaces)
}
