//! The pulse of a node: one timer for the heartbeats of all groups that it leads.
//!
//! The consensus library's own heartbeats, one timer per group, are switched off. On every beat each led group makes
//! its heartbeats, the links hold them until they are all there, and for each peer they leave in one frame. The beat
//! also looks for groups that a fault has stopped, and for those that may vote from now on, so no task has to watch each.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::Inner;
use crate::error::chain;

/// How long the heartbeats of all groups may take to come together: this part of the time between two beats.
const GATHER_PART: u32 = 10;

/// Beats until the host shuts down or is dropped.
pub(super) fn start(inner: &Arc<Inner>) {
    tokio::spawn(run(
        Arc::downgrade(inner),
        inner.config.heartbeat,
        inner.closing(),
    ));
}

async fn run(inner: Weak<Inner>, period: Duration, mut closing: watch::Receiver<bool>) {
    let mut beats = tokio::time::interval(period);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            _ = beats.tick() => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        beat(&inner, period / GATHER_PART).await;
    }
}

async fn beat(inner: &Inner, patience: Duration) {
    inner.marks.sweep(Instant::now());
    let replicas = inner.replicas();
    for replica in &replicas {
        replica.allow_campaign();
        if let Some(fault) = replica.new_fault() {
            inner.metrics.faults.inc();
            tracing::error!(group = %replica.group, fault = %chain(&fault), "a fault has stopped this group on this node");
        }
    }
    let led: Vec<_> = replicas
        .iter()
        .map(|replica| (replica, replica.followers()))
        .filter(|(_, followers)| *followers > 0)
        .collect();
    if led.is_empty() {
        return;
    }
    let gathering = &inner.transport.gathering;
    gathering.begin(led.iter().map(|(_, followers)| followers).sum());
    led.iter().for_each(|(replica, _)| replica.beat());
    gathering.finish(patience).await;
    inner.metrics.beats.inc();
}
