//! Names, units and help of everything that this crate measures.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::error::Error;
use crate::status::{GroupStatus, Role};

/// What a host measures.
#[derive(Debug, Clone)]
pub struct HostMetrics {
    /// Frames sent to a peer.
    pub frames_sent: IntCounterVec,
    /// Consensus messages sent to a peer.
    pub messages_sent: IntCounterVec,
    /// Consensus messages that did not find room in a peer's outbox.
    pub messages_refused: IntCounterVec,
    /// Frames of answers sent to a peer.
    pub answer_frames_sent: IntCounterVec,
    /// Beats: heartbeats of all led groups, made at one time.
    pub beats: IntCounter,
    /// Proposals and reads that a peer forwarded beyond its limit.
    pub forwarded_refused: IntCounterVec,
    /// Connections to a peer that came up.
    pub connections: IntCounterVec,
    /// Snapshots sent.
    pub snapshots_sent: IntCounter,
    /// Snapshots received.
    pub snapshots_received: IntCounter,
    /// Bytes of snapshots sent.
    pub snapshot_bytes_sent: IntCounter,
    /// Bytes of snapshots received.
    pub snapshot_bytes_received: IntCounter,
    /// Bytes of snapshots that were there already when a transfer went on.
    pub snapshot_bytes_resumed: IntCounter,
    /// Entries applied.
    pub entries_applied: IntCounter,
    /// Batches in which they were applied.
    pub batches_applied: IntCounter,
    /// Rounds that confirmed leadership for reads.
    pub read_rounds: IntCounter,
    /// Groups that stopped after a fault.
    pub faults: IntCounter,
    group_role: IntGaugeVec,
    group_term: IntGaugeVec,
    group_committed: IntGaugeVec,
    group_applied: IntGaugeVec,
}

impl HostMetrics {
    /// Makes the metrics and registers them, if there is a registry.
    ///
    /// # Errors
    /// [`Error::Metrics`] when a name is taken.
    pub fn new(registry: Option<&Registry>) -> Result<Self, Error> {
        let [
            frames_sent,
            messages_sent,
            messages_refused,
            answer_frames_sent,
            forwarded_refused,
            connections,
        ] = of_peers()?;
        let [group_role, group_term, group_committed, group_applied] = of_groups()?;
        let metrics = Self {
            frames_sent,
            messages_sent,
            messages_refused,
            answer_frames_sent,
            forwarded_refused,
            connections,
            beats: counter(
                "covey_raft_beats_total",
                "Times at which all groups led here made their heartbeats.",
            )?,
            snapshots_sent: counter("covey_raft_snapshots_sent_total", "Snapshots sent.")?,
            snapshots_received: counter("covey_raft_snapshots_received_total", "Snapshots received.")?,
            snapshot_bytes_sent: counter("covey_raft_snapshot_sent_bytes_total", "Bytes of snapshots sent.")?,
            snapshot_bytes_received: counter(
                "covey_raft_snapshot_received_bytes_total",
                "Bytes of snapshots received.",
            )?,
            snapshot_bytes_resumed: counter(
                "covey_raft_snapshot_resumed_bytes_total",
                "Bytes of snapshots that were there already when a transfer went on.",
            )?,
            entries_applied: counter("covey_raft_entries_applied_total", "Entries applied.")?,
            batches_applied: counter(
                "covey_raft_batches_applied_total",
                "Batches in which entries were applied.",
            )?,
            read_rounds: counter(
                "covey_raft_read_rounds_total",
                "Rounds that confirmed leadership for one or more reads.",
            )?,
            faults: counter(
                "covey_raft_faults_total",
                "Groups that stopped on this node after a fault.",
            )?,
            group_role,
            group_term,
            group_committed,
            group_applied,
        };
        if let Some(registry) = registry {
            for collector in metrics.collectors() {
                registry.register(collector).map_err(wrap)?;
            }
        }
        Ok(metrics)
    }

    /// Brings the gauges of the groups up to date; called before the metrics are read.
    pub(crate) fn observe(&self, groups: &[GroupStatus]) {
        // A group that is not here any more would stay as it was.
        for gauges in [
            &self.group_role,
            &self.group_term,
            &self.group_committed,
            &self.group_applied,
        ] {
            gauges.reset();
        }
        for status in groups {
            let group = status.group.to_string();
            let role = match status.role {
                Role::Leader => "leader",
                Role::Follower => "follower",
                Role::Learner => "learner",
                Role::Candidate => "candidate",
                Role::Stopped => "stopped",
            };
            self.group_role.with_label_values(&[group.as_str(), role]).set(1);
            self.group_term
                .with_label_values(&[&group])
                .set(gauge(Some(status.term)));
            self.group_committed
                .with_label_values(&[&group])
                .set(gauge(status.committed_index));
            self.group_applied
                .with_label_values(&[&group])
                .set(gauge(status.applied_index));
        }
    }

    fn collectors(&self) -> Vec<Box<dyn Collector>> {
        vec![
            Box::new(self.frames_sent.clone()),
            Box::new(self.messages_sent.clone()),
            Box::new(self.messages_refused.clone()),
            Box::new(self.answer_frames_sent.clone()),
            Box::new(self.beats.clone()),
            Box::new(self.forwarded_refused.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.snapshots_sent.clone()),
            Box::new(self.snapshots_received.clone()),
            Box::new(self.snapshot_bytes_sent.clone()),
            Box::new(self.snapshot_bytes_received.clone()),
            Box::new(self.snapshot_bytes_resumed.clone()),
            Box::new(self.entries_applied.clone()),
            Box::new(self.batches_applied.clone()),
            Box::new(self.read_rounds.clone()),
            Box::new(self.faults.clone()),
            Box::new(self.group_role.clone()),
            Box::new(self.group_term.clone()),
            Box::new(self.group_committed.clone()),
            Box::new(self.group_applied.clone()),
        ]
    }
}

/// What is counted for each peer, in the order of the fields.
fn of_peers() -> Result<[IntCounterVec; 6], Error> {
    Ok([
        counters(
            "covey_raft_frames_sent_total",
            "Frames sent to a peer.",
            &["peer"],
        )?,
        counters(
            "covey_raft_messages_sent_total",
            "Consensus messages sent to a peer.",
            &["peer"],
        )?,
        counters(
            "covey_raft_messages_refused_total",
            "Consensus messages that found a peer's outbox full.",
            &["peer"],
        )?,
        counters(
            "covey_raft_answer_frames_sent_total",
            "Frames of answers sent to a peer.",
            &["peer"],
        )?,
        counters(
            "covey_raft_forwarded_refused_total",
            "Proposals and reads that a peer forwarded beyond its limit.",
            &["peer"],
        )?,
        counters(
            "covey_raft_connections_total",
            "Connections to a peer that came up.",
            &["peer"],
        )?,
    ])
}

/// What is shown of each group, in the order of the fields.
fn of_groups() -> Result<[IntGaugeVec; 4], Error> {
    Ok([
        gauges(
            "covey_raft_group_role",
            "1 for the role of this node's replica.",
            &["group", "role"],
        )?,
        gauges(
            "covey_raft_group_term",
            "Term of this node's replica.",
            &["group"],
        )?,
        gauges(
            "covey_raft_group_committed_index",
            "Last entry known committed.",
            &["group"],
        )?,
        gauges(
            "covey_raft_group_applied_index",
            "Last entry applied.",
            &["group"],
        )?,
    ])
}

/// An index as a gauge; none is -1, because 0 is an index.
fn gauge(index: Option<u64>) -> i64 {
    index.map_or(-1, |index| i64::try_from(index).unwrap_or(i64::MAX))
}

fn counter(name: &str, help: &str) -> Result<IntCounter, Error> {
    IntCounter::new(name, help).map_err(wrap)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, Error> {
    IntCounterVec::new(Opts::new(name, help), labels).map_err(wrap)
}

fn gauges(name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, Error> {
    IntGaugeVec::new(Opts::new(name, help), labels).map_err(wrap)
}

fn wrap(source: prometheus::Error) -> Error {
    Error::Metrics {
        source: Arc::new(source),
    }
}

#[cfg(test)]
mod tests {
    use covey_state::GroupId;

    use super::*;

    #[test]
    fn a_group_that_is_gone_leaves_no_gauge_behind() {
        let registry = Registry::new();
        let metrics = HostMetrics::new(Some(&registry)).unwrap();
        let status = |group| GroupStatus {
            group: GroupId::new(group),
            role: Role::Follower,
            term: 3,
            leader: None,
            voters: Vec::new(),
            joint: false,
            members_index: None,
            learners: Vec::new(),
            last_log_index: Some(9),
            committed_index: Some(9),
            applied_index: Some(9),
            snapshot_index: None,
            fault: None,
            damaged: None,
            replication: Vec::new(),
        };
        let groups = || {
            let gathered = registry.gather();
            let of_groups = gathered
                .iter()
                .filter(|family| family.name().starts_with("covey_raft_group_"));
            of_groups
                .map(|family| family.get_metric().len())
                .collect::<Vec<_>>()
        };
        metrics.observe(&[status(1), status(2)]);
        assert_eq!(groups(), [2, 2, 2, 2]);
        metrics.observe(&[status(2)]);
        assert_eq!(groups(), [1, 1, 1, 1]);
    }
}
