//! What operators ask about single groups: showing one, moving a replica, choosing a leader, planning all anew.

use std::collections::BTreeMap;

use covey_proto::v1;
use covey_state::id::ParseIdError;
use covey_state::placement::{moves, place};
use covey_state::topology::{Pins, Placement};
use covey_state::{Command, GroupId, NodeId};

use super::operate::{REPORT_LIMIT, fresh_catalog};
use super::plan::{decide, problem};
use super::report::{Reports, is_settled};
use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::error::Failure;

/// One group: where it should be, where it is, what it weighs.
pub async fn show(context: &Context, caller: &Caller, group: GroupId) -> Result<v1::GroupDetail, Failure> {
    let copy = fresh_catalog(context, caller).await?;
    let placement = placement_of(&copy, group)?;
    let reports = Reports::gather(context, caller, &copy, REPORT_LIMIT).await;
    let settled = reports
        .leaders()
        .get(&group)
        .is_some_and(|leader| is_settled(leader, placement));
    let namespace = copy
        .namespaces
        .values()
        .find(|namespace| namespace.span.contains(group));
    let replicas = reports.into_replicas().into_iter();
    Ok(v1::GroupDetail {
        group: group.get(),
        namespace: namespace
            .map(|namespace| namespace.name.clone())
            .unwrap_or_default(),
        policy: namespace
            .map(|namespace| namespace.policy.clone())
            .unwrap_or_default()
            .to_string(),
        placement: Some(placement.clone().into()),
        settled,
        replicas: replicas.filter(|replica| replica.group == group.get()).collect(),
    })
}

/// Has another node hold a replica of a group instead of one that does.
pub async fn move_replica(
    context: &Context,
    caller: &Caller,
    request: v1::MoveReplicaRequest,
) -> Result<v1::GroupDetail, Failure> {
    let (group, from, to) = (
        GroupId::new(request.group),
        node(&request.from, "from")?,
        node(&request.to, "to")?,
    );
    let copy = fresh_catalog(context, caller).await?;
    let known = placement_of(&copy, group)?;
    if !known.holds(from) {
        let holders: Vec<String> = known.members().map(|node| node.to_string()).collect();
        let reason = format!(
            "{from} has no replica of {group}, whose replicas are on {}",
            holders.join(", ")
        );
        return Err(Failure::invalid("from", reason));
    }
    if known.voters.contains(&to) || (known.learners.contains(&to) && known.learners.contains(&from)) {
        return Err(Failure::invalid(
            "to",
            format!("{to} has a replica of {group} already"),
        ));
    }
    let region = |node: NodeId| copy.nodes.get(&node).map(|known| known.region.as_str());
    if known.learners.contains(&from) && region(from) != region(to) {
        let reason = format!("{to} is not in the region of {from}, whose learner it would take");
        return Err(Failure::invalid("to", reason));
    }
    let mut moved = Placement {
        pins: Pins {
            replicas: true,
            ..known.pins
        },
        ..known.clone()
    };
    moved.learners.remove(&to);
    if moved.voters.remove(&from) {
        moved.voters.insert(to);
    }
    if moved.learners.remove(&from) {
        moved.learners.insert(to);
    }
    if moved.preferred_leader == Some(from) {
        moved.preferred_leader = None;
        moved.pins.leader = false;
    }
    set(context, caller, group, (known.revision, moved)).await
}

/// Has a voter lead a group for as long as it can.
pub async fn transfer_leader(
    context: &Context,
    caller: &Caller,
    request: v1::TransferLeaderRequest,
) -> Result<v1::GroupDetail, Failure> {
    let (group, to) = (GroupId::new(request.group), node(&request.to, "to")?);
    let copy = fresh_catalog(context, caller).await?;
    let known = placement_of(&copy, group)?;
    if !known.voters.contains(&to) {
        let voters: Vec<String> = known.voters.iter().map(NodeId::to_string).collect();
        let reason = format!(
            "{to} does not vote in {group}, whose voters are {}",
            voters.join(", ")
        );
        return Err(Failure::invalid("to", reason));
    }
    let pins = Pins {
        leader: true,
        ..known.pins
    };
    let led = Placement {
        preferred_leader: Some(to),
        pins,
        ..known.clone()
    };
    set(context, caller, group, (known.revision, led)).await
}

/// Plans all groups anew; says what moves and why, and unless it is a dry run, decides so.
pub async fn rebalance(
    context: &Context,
    caller: &Caller,
    dry_run: bool,
) -> Result<v1::RebalanceReply, Failure> {
    let copy = fresh_catalog(context, caller).await?;
    let reports = Reports::gather(context, caller, &copy, REPORT_LIMIT).await;
    let observed = reports
        .census()
        .ok_or_else(|| Failure::unavailable("the leader of the control group"))?;
    let problem =
        problem(&copy, &observed).ok_or_else(|| Failure::unavailable("the cluster, which is being made,"))?;
    let before = copy.placements;
    let loose = |(group, known): (&GroupId, &Placement)| {
        let weight = problem
            .groups
            .get(group)
            .map_or(known.weight, |demand| demand.weight);
        (
            *group,
            Placement {
                weight,
                pins: Pins::default(),
                ..known.clone()
            },
        )
    };
    let start: BTreeMap<GroupId, Placement> = before.iter().map(loose).collect();
    let (after, moves) = context
        .compute
        .run({
            let before = before.clone();
            move || {
                let after = place(&problem, &start);
                let moves = moves(&problem, &before, &after);
                (after, moves)
            }
        })
        .await;
    if !dry_run {
        // A revision that moves with nothing else is no change.
        let changed = after.into_iter().filter(|(group, placed)| {
            let known = before.get(group);
            known.is_none_or(|known| {
                Placement {
                    revision: known.revision,
                    ..placed.clone()
                } != *known
            })
        });
        decide(context, caller, &before, changed.collect()).await?;
    }
    Ok(v1::RebalanceReply {
        moves: moves.into_iter().map(Into::into).collect(),
    })
}

async fn set(
    context: &Context,
    caller: &Caller,
    group: GroupId,
    (expected, placement): (u64, Placement),
) -> Result<v1::GroupDetail, Failure> {
    let command = Command::SetPlacement {
        group,
        expected,
        placement,
    };
    context
        .ledger
        .ask_unique(caller, GroupId::CONTROL, command)
        .await?;
    show(context, caller, group).await
}

fn placement_of(copy: &CatalogCopy, group: GroupId) -> Result<&Placement, Failure> {
    let known = copy.placements.get(&group);
    known.ok_or_else(|| Failure::not_found("group", group.to_string()))
}

fn node(text: &str, field: &str) -> Result<NodeId, Failure> {
    text.parse()
        .map_err(|error: ParseIdError| Failure::invalid(field, error.to_string()))
}
