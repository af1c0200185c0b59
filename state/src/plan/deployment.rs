//! Decides deployments: what is to be served, and on which nodes.
//!
//! Invariant: the revision counts up with every change and with nothing else, so a node that reconciles knows what is
//! newer.

use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::deployment::{Deployment, DeploymentRecord, Target};
use crate::id::NodeId;
use crate::key::Key;
use crate::plan::draft::{Decided, Draft, Stop};
use crate::plan::field::{check_name, conflict, ensure, within, wrong_state};
use crate::plan::topology;
use crate::record::Record;
use crate::rejection::Rejection;
use crate::topology::NodeState;

/// The most replicas of a deployment.
pub const REPLICAS_MAX: u32 = 64;
/// The most requests that may wait at one replica.
pub const QUEUE_LIMIT_MAX: u32 = 1_000_000;

/// Declares or changes a deployment.
pub(super) fn put(draft: &mut Draft<'_>, spec: &Deployment) -> Decided {
    topology::cluster(draft)?;
    check(spec)?;
    let place = Key::Deployment(spec.name.clone());
    let (revision, mut placement) = match draft.get::<DeploymentRecord>(&place)? {
        Some(known) if known.spec == *spec => return Ok(Answer::Number(known.revision)),
        Some(known) => (known.revision + 1, known.placement),
        None => (1, Vec::new()),
    };
    // Replicas that are no longer wanted go at once; missing ones wait for the next placement.
    placement.truncate(spec.replicas as usize);
    draft.put(
        place,
        DeploymentRecord {
            spec: spec.clone(),
            revision,
            placement,
            changed_at: draft.now,
        },
    );
    Ok(Answer::Number(revision))
}

/// Sets where the replicas run.
pub(super) fn place(draft: &mut Draft<'_>, name: &str, expected: u64, placement: &[NodeId]) -> Decided {
    let place = Key::Deployment(name.to_owned());
    let mut record: DeploymentRecord = draft.need(&place, "deployment", name)?;
    if record.revision != expected {
        let (expected, found) = (
            format!("revision {expected}"),
            format!("revision {}", record.revision),
        );
        return Err(conflict("deployment", name, expected, found).into());
    }
    within(placement.len(), record.spec.replicas as usize, "placed replicas")?;
    for node in placement {
        let known = topology::present(draft, *node)?;
        if known.state != NodeState::Active {
            let hint = "replicas are placed on active nodes";
            return Err(wrong_state("node", &node.to_string(), known.state.to_string(), hint).into());
        }
    }
    if record.placement != placement {
        record.placement = placement.to_vec();
        record.revision += 1;
        record.changed_at = draft.now;
        draft.put(place, record.clone());
    }
    Ok(Answer::Number(record.revision))
}

/// Takes a deployment away, unless a monitor watches it.
pub(super) fn remove(draft: &mut Draft<'_>, name: &str) -> Decided {
    let place = Key::Deployment(name.to_owned());
    draft.need::<DeploymentRecord>(&place, "deployment", name)?;
    check_unwatched(draft, name)?;
    draft.delete(place);
    Ok(Answer::Done)
}

fn check_unwatched(draft: &Draft<'_>, name: &str) -> Result<(), Stop> {
    let mut watcher = None;
    draft.scan(&Key::Monitor(String::new()), &mut |_, record| {
        let Record::Monitor(monitor) = record else {
            return ControlFlow::Break(());
        };
        if monitor.deployment == name {
            watcher = Some(monitor.name);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    watcher.map_or(Ok(()), |monitor| {
        let state = format!("watched by monitor `{monitor}`");
        Err(wrong_state("deployment", name, state, "remove the monitor first").into())
    })
}

fn check(spec: &Deployment) -> Result<(), Rejection> {
    check_name("name", &spec.name)?;
    check_name("model", &spec.model)?;
    match &spec.target {
        Target::Alias(alias) => check_name("target.alias", alias)?,
        Target::Version(version) => {
            ensure(*version > 0, "target.version", || {
                "versions count from 1".to_owned()
            })?;
        }
    }
    ensure((1..=REPLICAS_MAX).contains(&spec.replicas), "replicas", || {
        format!("{} is not a number from 1 to {REPLICAS_MAX}", spec.replicas)
    })?;
    ensure(
        (1..=QUEUE_LIMIT_MAX).contains(&spec.queue_limit),
        "queue_limit",
        || format!("{} is not a number from 1 to {QUEUE_LIMIT_MAX}", spec.queue_limit),
    )
}
