//! Decides the placement of groups: by compare-and-set, so that of two planners one is told that it was late.
//!
//! Invariants: a placement is sound by itself; until a group has been made its only voter is the node that is to make
//! it; what an operator pins keeps the policy of the group as well as what it replaces. (The planner lets go of a pin when
//! it has to move the group.)

use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::id::{GroupId, NodeId};
use crate::key::Key;
use crate::namespace::Policy;
use crate::placement::score;
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{conflict, ensure, invalid, wrong_state};
use crate::plan::{namespace, topology};
use crate::record::Record;
use crate::topology::{Node, NodeState, Placement};
use crate::view::Fault;

/// Sets the desired members of a group.
pub(super) fn set(draft: &mut Draft<'_>, group: GroupId, expected: u64, placement: &Placement) -> Decided {
    let known = existing(draft, group)?;
    if known.revision != expected {
        let (name, found) = (group.to_string(), known.revision.to_string());
        return Err(conflict("placement", &name, expected.to_string(), found).into());
    }
    check_sound(draft, placement)?;
    if !known.is_made() {
        ensure(placement.voters.len() == 1, "placement.voters", || {
            format!("group {group} has not been made yet, so only the node that is to make it votes")
        })?;
    }
    check_pinned(draft, group, &known, placement)?;
    let decided = Placement {
        revision: known.revision,
        maker: known.maker,
        ..placement.clone()
    };
    if decided == known {
        return Ok(Answer::Number(known.revision));
    }
    let revision = known.revision + 1;
    draft.put(Key::Placement(group), Placement { revision, ..decided });
    Ok(Answer::Number(revision))
}

/// Notes that a group has been made; only its one voter can have done that. Another node is told that it was not it, so that
/// it does not let what it has begun live.
pub(super) fn found(draft: &mut Draft<'_>, group: GroupId, node: NodeId) -> Decided {
    let known = existing(draft, group)?;
    match known.maker.or(known.voters.first().copied()) {
        Some(maker) if maker == node => {}
        other => {
            let maker = other.map_or_else(String::new, |node| node.to_string());
            return Err(conflict("maker of group", &group.to_string(), node.to_string(), maker).into());
        }
    }
    if known.is_made() {
        return Ok(Answer::Number(known.revision));
    }
    let revision = known.revision + 1;
    draft.put(
        Key::Placement(group),
        Placement {
            revision,
            maker: Some(node),
            ..known
        },
    );
    Ok(Answer::Number(revision))
}

/// The placement of a group that exists.
fn existing(draft: &Draft<'_>, group: GroupId) -> Result<Placement, Stop> {
    topology::cluster(draft)?;
    draft.need(&Key::Placement(group), "group", &group.to_string())
}

fn check_sound(draft: &Draft<'_>, placement: &Placement) -> Result<(), Stop> {
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
    for node in placement.members() {
        topology::present(draft, node)?;
    }
    Ok(())
}

/// Refuses what an operator has chosen where the policy would be kept worse than it is.
fn check_pinned(
    draft: &Draft<'_>,
    group: GroupId,
    known: &Placement,
    placement: &Placement,
) -> Result<(), Stop> {
    let policy = namespace::policy_of(draft, group)?;
    if placement.pins.replicas {
        ensure(
            placement.voters.len() >= known.voters.len(),
            "placement.voters",
            || {
                format!(
                    "{} voters are fewer than the {} there are",
                    placement.voters.len(),
                    known.voters.len()
                )
            },
        )?;
        for node in placement.members().filter(|node| !known.holds(*node)) {
            let state = topology::present(draft, node)?.state;
            if state != NodeState::Active {
                let hint = "replicas are moved to active nodes";
                return Err(wrong_state("node", &node.to_string(), state.to_string(), hint).into());
            }
        }
        if placement.voters.len() == known.voters.len() {
            check_kept(draft, &policy, known, placement)?;
        }
    }
    if placement.pins.leader && placement.preferred_leader != known.preferred_leader {
        check_leader(draft, &policy, placement)?;
    }
    Ok(())
}

fn check_kept(
    draft: &Draft<'_>,
    policy: &Policy,
    known: &Placement,
    placement: &Placement,
) -> Result<(), Stop> {
    let nodes = topology::nodes(draft)?;
    let of = |members: &Placement| {
        let voters = nodes.iter().filter(|node| members.voters.contains(&node.id));
        score(policy, voters)
    };
    ensure(of(placement) >= of(known), "placement.voters", || {
        format!("the voters would keep the group's policy ({policy}) worse than they do now")
    })?;
    Ok(())
}

fn check_leader(draft: &Draft<'_>, policy: &Policy, placement: &Placement) -> Result<(), Stop> {
    let nodes = topology::nodes(draft)?;
    let at_home = |node: &&Node| Some(node.region.as_str()) == policy.home();
    let home_voters = nodes
        .iter()
        .filter(|node| placement.voters.contains(&node.id) && node.state == NodeState::Active)
        .filter(at_home);
    let home_voters: Vec<NodeId> = home_voters.map(|node| node.id).collect();
    let fits = |leader| home_voters.is_empty() || home_voters.contains(&leader);
    ensure(
        placement.preferred_leader.is_some_and(fits),
        "placement.preferred_leader",
        || {
            let home = policy.home().unwrap_or_default();
            let named: Vec<String> = home_voters.iter().map(NodeId::to_string).collect();
            format!(
                "the group is led from its home region `{home}`: by {}",
                named.join(" or ")
            )
        },
    )?;
    Ok(())
}

/// The groups that a node is to be a member of.
pub(super) fn groups_of(draft: &Draft<'_>, id: NodeId) -> Result<Vec<GroupId>, Fault> {
    let mut groups = Vec::new();
    draft.scan(&Key::Placement(GroupId::CONTROL), &mut |key, record| {
        let (Key::Placement(group), Record::Placement(placement)) = (key, record) else {
            return ControlFlow::Break(());
        };
        if placement.holds(id) {
            groups.push(group);
        }
        ControlFlow::Continue(())
    })?;
    Ok(groups)
}

/// Gives a new group to the node that is to make it.
pub(super) fn appoint(draft: &mut Draft<'_>, group: GroupId, maker: NodeId) {
    let placement = Placement {
        revision: 1,
        voters: [maker].into(),
        preferred_leader: Some(maker),
        ..Placement::default()
    };
    draft.put(Key::Placement(group), placement);
}
