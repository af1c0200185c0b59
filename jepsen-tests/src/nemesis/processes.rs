//! Faults of processes and of their disks.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use rustix::process::Signal;

use super::Effect;
use crate::fleet::{Fleet, SETTLE_LIMIT};
use crate::waiting::{pause, until};

/// Kills nodes at the same time, and starts them again after a while.
pub(super) async fn kill(fleet: &Fleet, victims: &[usize], lasts: Duration) -> Result<Effect> {
    let killed = futures::future::join_all(victims.iter().map(|number| async move {
        let mut node = fleet.node(*number).await;
        let id = node.id();
        (id, node.kill().await)
    }))
    .await;
    pause(lasts).await;
    try_join_all(victims.iter().map(|number| start(fleet, *number))).await?;
    let by_us = killed
        .iter()
        .filter(|(_, signal)| *signal == Some(Signal::KILL.as_raw()))
        .count();
    let ids: Vec<u32> = killed.iter().filter_map(|(id, _)| *id).collect();
    Ok(Effect {
        nodes: victims.to_vec(),
        what: format!("SIGKILL to {ids:?}, started again after {} ms", lasts.as_millis()),
        shown: format!(
            "{by_us} of {} ended by signal 9 and answered again",
            victims.len()
        ),
        took: by_us == victims.len(),
    })
}

/// Cuts the power of nodes at the same time, and starts them again after a while.
pub(super) async fn lose_power(
    fleet: &Fleet,
    victims: &[usize],
    lasts: Duration,
    seed: u64,
) -> Result<Effect> {
    for number in victims {
        fleet.node(*number).await.disk.cut_power()?;
    }
    let cut = victims.iter().map(|number| async move {
        let mut node = fleet.node(*number).await;
        node.kill().await;
        node.disk.lose_power(seed.wrapping_add(*number as u64))
    });
    let lost = try_join_all(cut).await?;
    pause(lasts).await;
    try_join_all(victims.iter().map(|number| start(fleet, *number))).await?;
    let bytes: u64 = lost.iter().map(|lost| lost.bytes).sum();
    let torn: u64 = lost.iter().map(|lost| lost.torn).sum();
    let names: u64 = lost.iter().map(|lost| lost.names).sum();
    Ok(Effect {
        nodes: victims.to_vec(),
        what: format!("power was cut, and was back after {} ms", lasts.as_millis()),
        shown: format!(
            "{bytes} unsynced bytes and {names} names were lost, {torn} files were torn; they answered again"
        ),
        took: bytes + names + torn > 0,
    })
}

/// Has the syncs of nodes take so many milliseconds for a while.
pub(super) async fn slow_down(
    fleet: &Fleet,
    victims: &[usize],
    lasts: Duration,
    sync_ms: u64,
) -> Result<Effect> {
    for number in victims {
        fleet
            .node(*number)
            .await
            .disk
            .slow_down(Duration::from_millis(sync_ms))?;
    }
    pause(lasts).await;
    let mut held = Vec::new();
    for number in victims {
        held.push(fleet.node(*number).await.disk.speed_up()?);
    }
    Ok(Effect {
        nodes: victims.to_vec(),
        what: format!("syncs took {sync_ms} ms for {} ms", lasts.as_millis()),
        shown: format!("syncs that were held up, by node: {held:?}"),
        took: held.iter().any(|syncs| *syncs > 0),
    })
}

/// Starts a node and waits until it answers.
async fn start(fleet: &Fleet, number: usize) -> Result<()> {
    fleet.node(number).await.start(None).await?;
    fleet.answers(number).await
}

/// Stops a node where it is, and lets it go on after a while.
pub(super) async fn pause_for(fleet: &Fleet, victim: usize, lasts: Duration) -> Result<Effect> {
    fleet.node(victim).await.pause()?;
    pause(lasts / 2).await;
    let stopped = fleet.node(victim).await.is_paused();
    pause(lasts / 2).await;
    let node = fleet.node(victim).await;
    let still = node.is_paused();
    node.resume()?;
    drop(node);
    fleet.answers(victim).await?;
    Ok(Effect {
        nodes: vec![victim],
        what: format!("SIGSTOP for {} ms", lasts.as_millis()),
        shown: format!("stopped in the middle: {stopped}, at the end: {still}; it answered again"),
        took: stopped && still,
    })
}

/// Fills a node's disk; after a while there is room again, and the node is started anew, as an operator would.
pub(super) async fn fill(fleet: &Fleet, victim: usize, lasts: Duration) -> Result<Effect> {
    let logged = fleet.node(victim).await.log().len();
    let bytes = fleet.node(victim).await.disk.fill().await?;
    pause(lasts).await;
    let mut node = fleet.node(victim).await;
    let noticed = node
        .log()
        .get(logged..)
        .is_some_and(|new| new.contains("No space left on device"));
    let ran = node.runs();
    node.disk.empty()?;
    node.kill().await;
    drop(node);
    start(fleet, victim).await?;
    let what = format!("node {victim} is reachable after its disk was full");
    until(&what, SETTLE_LIMIT, async || fleet.status_of(victim).await).await?;
    Ok(Effect {
        nodes: vec![victim],
        what: format!(
            "{bytes} bytes until the disk was full, for {} ms, then a restart",
            lasts.as_millis()
        ),
        shown: format!(
            "our own write got ENOSPC; the node logged it: {noticed}, still ran: {ran}; it answered again"
        ),
        took: true,
    })
}
