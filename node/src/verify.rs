//! Whether the replicas of the groups are the same: asked by operators, and by every leader of its own accord.
//!
//! A damaged replica has found that out itself and is rebuilt in any case (`membership/repair.rs`). A replica that differs
//! from the majority although every checksum in it fits is another matter: that is a fault of the program, and its state
//! is the evidence. So it is told loudly, and rebuilt only when an operator says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use covey_cluster::verify::Progress;
use covey_cluster::{Finding, Role, Verification};
use covey_proto::node::v1 as node_v1;
use covey_proto::v1;
use covey_proto::v1::verify_group_reply::Reply;
use covey_state::topology::NodeState;
use covey_state::{GroupId, NodeId, Rejection};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::api::Caller;
use crate::context::Context;
use crate::error::{Failure, chain};

/// How often it is looked whether a group is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one comparison in the background may take.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(6 * 3_600);
/// How long a node gets to take note that its replica differs.
const CONDEMN_LIMIT: Duration = Duration::from_secs(5);
/// Groups are due at different times: this odd number spreads their numbers over the interval (Fibonacci hashing).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Replies that wait for whoever reads them.
pub type Replies = mpsc::Sender<Result<v1::VerifyGroupReply, tonic::Status>>;

/// Compares the replicas of a group for an operator; tells its progress where there is room for it.
pub async fn verify(
    context: &Context,
    caller: &Caller,
    request: v1::VerifyGroupRequest,
    replies: &Replies,
) -> Result<v1::VerifyGroupReply, Failure> {
    let group = GroupId::new(request.group);
    let copy = context.catalog.current();
    if !copy.placements.contains_key(&group) {
        return Err(Failure::not_found("group", group.to_string()));
    }
    let bytes_expected = context.ledger.statedb().group(group).bytes_in_files();
    let progress = |so_far: Progress| {
        let reply = v1::VerifyGroupReply {
            reply: Some(Reply::Progress(v1::VerifyProgress {
                keys: so_far.keys,
                bytes: so_far.bytes,
                bytes_expected,
            })),
        };
        // Whoever is slow misses some of it.
        let _ = replies.try_send(Ok(reply));
    };
    let found = compare(context, group, caller.deadline, progress).await?;
    if request.repair {
        condemn(context, caller, &found).await?;
    }
    Ok(v1::VerifyGroupReply {
        reply: Some(Reply::Verdict(verdict(&found))),
    })
}

/// Compares the groups that this node leads, each once in a while and one after the other, until the node stops.
pub async fn keep_verified(context: Context, stop: CancellationToken) {
    let every = context.config.verify_every;
    if every.is_zero() {
        return;
    }
    let mut due: BTreeMap<GroupId, Instant> = BTreeMap::new();
    let mut ticks = interval(LOOK_EVERY.min(every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let statuses = context.ledger.host().groups();
        let led = statuses.iter().filter(|status| status.role == Role::Leader);
        let led: BTreeSet<GroupId> = led.map(|status| status.group).collect();
        due.retain(|group, _| led.contains(group));
        for group in led {
            let now = Instant::now();
            let at = *due.entry(group).or_insert_with(|| now + first_wait(group, every));
            if at > now {
                continue;
            }
            due.insert(group, now + every);
            let deadline = now + BACKGROUND_LIMIT;
            if let Err(failure) = compare(&context, group, deadline, |_| ()).await {
                tracing::warn!(%group, reason = chain(&failure), "the replicas of a group could not be compared");
            }
        }
    }
}

/// How long a group waits for its first comparison under a new leader.
fn first_wait(group: GroupId, every: Duration) -> Duration {
    let place = group.get().wrapping_add(1).wrapping_mul(SPREAD) >> 32;
    every.mul_f64(place as f64 / f64::from(u32::MAX))
}

/// Compares the replicas of a group, counts and logs what is found.
async fn compare(
    context: &Context,
    group: GroupId,
    deadline: Instant,
    progress: impl Fn(Progress) + Send + Sync,
) -> Result<Verification, Failure> {
    check_versions(context)?;
    let nodes = members(context, group);
    let host = context.ledger.host();
    let found = host.verify(group, &nodes, deadline, progress).await?;
    let metrics = &context.metrics.verify;
    let name = group.to_string();
    metrics.bytes.inc_by(found.compared.bytes);
    for (node, finding) in &found.replicas {
        metrics.replicas.with_label_values(&[kind(finding)]).inc();
        match finding {
            Finding::Equal => {}
            Finding::Missed { reason } => {
                tracing::info!(%group, %node, reason, "a replica could not be compared");
            }
            Finding::Different { place } | Finding::Disputed { place } | Finding::Damaged { place } => {
                metrics.differences.with_label_values(&[&name]).inc();
                let verdict = kind(finding);
                tracing::error!(%group, %node, verdict, place, index = found.position.index, "a replica is not as it should be");
            }
        }
    }
    if found.is_equal() {
        let now = context.clock.now().micros() / 1_000_000;
        metrics.last_equal.with_label_values(&[&name]).set(now);
    }
    Ok(found)
}

/// A node of another version may not know what a mark is, and would take no more entries.
fn check_versions(context: &Context) -> Result<(), Failure> {
    let copy = context.catalog.current();
    let here = env!("CARGO_PKG_VERSION");
    let present = copy
        .nodes
        .values()
        .filter(|node| node.state != NodeState::Removed);
    let other = present.into_iter().find(|node| node.binary != here);
    match other {
        None => Ok(()),
        Some(node) => Err(Failure::Rejected(Rejection::WrongState {
            kind: "node".to_owned(),
            name: node.id.to_string(),
            state: format!("of version {}, and this one is of {here}", node.binary),
            hint: "compare replicas when all nodes are upgraded".to_owned(),
        })),
    }
}

/// The members of a group, as its replica here knows them or as they are desired.
fn members(context: &Context, group: GroupId) -> Vec<NodeId> {
    let here = context.ledger.host().group(group);
    let known = here.filter(|status| matches!(status.role, Role::Leader | Role::Follower));
    let members: BTreeSet<NodeId> = match known {
        Some(status) => status.voters.into_iter().chain(status.learners).collect(),
        None => {
            let copy = context.catalog.current();
            let placed = copy.placements.get(&group);
            placed
                .map(|placed| placed.members().collect())
                .unwrap_or_default()
        }
    };
    members.into_iter().collect()
}

/// Has the nodes know whose replicas differ from the majority; what follows is theirs to do.
async fn condemn(context: &Context, caller: &Caller, found: &Verification) -> Result<(), Failure> {
    for (node, finding) in &found.replicas {
        let Finding::Different { place } = finding else {
            continue;
        };
        let reason = format!("it differs from the majority: {place}");
        tracing::warn!(group = %found.position.group, %node, reason, "a replica is condemned on an operator's word");
        if *node == context.ledger.node() {
            let host = context.ledger.host();
            host.found_damaged(found.position.group, &reason);
            continue;
        }
        let caller = caller.clone().by_deadline(Instant::now() + CONDEMN_LIMIT);
        let request = caller.request(node_v1::CondemnRequest {
            group: found.position.group.get(),
            reason,
        });
        let asked = context.peers.node_peer(*node)?.condemn(request).await;
        asked.map_err(|status| Failure::from_peer(*node, status))?;
    }
    Ok(())
}

fn verdict(found: &Verification) -> v1::GroupVerdict {
    let replicas = found.replicas.iter().map(|(node, finding)| v1::ReplicaVerdict {
        node: node.to_string(),
        verdict: kind(finding).to_owned(),
        detail: match finding {
            Finding::Equal => String::new(),
            Finding::Different { place } | Finding::Disputed { place } | Finding::Damaged { place } => {
                place.clone()
            }
            Finding::Missed { reason } => reason.clone(),
        },
    });
    v1::GroupVerdict {
        group: found.position.group.get(),
        term: found.position.term,
        index: found.position.index,
        keys: found.compared.keys,
        bytes: found.compared.bytes,
        replicas: replicas.collect(),
        equal: found.is_equal(),
    }
}

/// The name of a finding on the wire and in metrics.
const fn kind(finding: &Finding) -> &'static str {
    match finding {
        Finding::Equal => "equal",
        Finding::Different { .. } => "different",
        Finding::Disputed { .. } => "disputed",
        Finding::Damaged { .. } => "damaged",
        Finding::Missed { .. } => "missed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_comparisons_of_many_groups_are_spread_over_the_interval() {
        let hour = Duration::from_secs(3_600);
        let waits: Vec<Duration> = (0..64)
            .map(|group| first_wait(GroupId::new(group), hour))
            .collect();
        assert!(waits.iter().all(|wait| *wait <= hour));
        for quarter in 0..4 {
            let from = hour * quarter / 4;
            let within = waits
                .iter()
                .filter(|wait| (from..from + hour / 4).contains(*wait));
            assert!((10..=22).contains(&within.count()), "{waits:?}");
        }
    }
}
