//! Every setting and limit of a host, with its default and its reason.

use std::sync::Arc;
use std::time::Duration;

use openraft::{Config, LinearizerOption, SnapshotPolicy};

use crate::carrier::Carrier;
use crate::error::Error;

/// Settings of a [`crate::Host`]. The defaults suit a few hundred groups per node on a slow disk.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// How often the leaders on a node show that they are alive, all at one time. 300 ms keeps hundreds of idle groups
    /// cheap, and three beats fit into a lease.
    pub heartbeat: Duration,
    /// How long, at least, a follower waits for votes of others before it asks for votes itself, counted from the end
    /// of the leader's lease. 600 ms.
    pub election_min: Duration,
    /// The longest such wait, and how long a leader's word holds: its lease. So a new leader is elected between
    /// `election_max + election_min` and twice `election_max` after the old one fell silent. 900 ms; the same on all nodes.
    pub election_max: Duration,
    /// Entries after which a group takes a snapshot. 20,000.
    pub snapshot_every: u64,
    /// Entries kept in the log behind a snapshot, for followers that are a little late. 5,000.
    pub logs_kept: u64,
    /// Entries that are purged at once at the least: a purge flushes the state of the node. 1,000.
    pub purge_batch: u64,
    /// How far a follower may fall behind before it gets a snapshot instead of entries. Above `snapshot_every`, or a
    /// fresh snapshot would not help it. 30,000.
    pub lag_max: u64,
    /// How long one snapshot may travel and be installed. 10 minutes.
    pub snapshot_timeout: Duration,
    /// Bytes per snapshot chunk. 512 KiB.
    pub snapshot_chunk_bytes: usize,
    /// Bytes per second of one outgoing snapshot, so that it leaves room for entries. 64 MiB.
    pub snapshot_bytes_per_second: u64,
    /// Bytes per second of state that one comparison of replicas reads on each of them. 32 MiB.
    pub verify_bytes_per_second: u64,
    /// Snapshots that are sent at one time. 2.
    pub snapshot_sends_max: usize,
    /// Snapshots that are received at one time. 2.
    pub snapshot_receives_max: usize,
    /// Bytes of entries in one message to a follower, unless a single entry is larger. 1 MiB.
    pub append_bytes_max: usize,
    /// Entries in one message to a follower. 1,024.
    pub append_entries_max: u64,
    /// Messages of entries on their way to one follower of one group. 16.
    pub append_window: usize,
    /// How long a follower that has all entries may wait to hear that they are committed, unless a reader there asks for
    /// it: most often the next entries tell it too. 20 ms.
    pub commit_pause: Duration,
    /// How long the answer to a message of entries may take before the follower counts as unreachable. 1.5 s.
    pub append_timeout: Duration,
    /// Entries that are applied in one batch. 1,024.
    pub apply_entries_max: usize,
    /// Bytes of entries that are applied in one batch, unless a single entry is larger. 4 MiB.
    pub apply_bytes_max: usize,
    /// Messages that wait for one peer, per priority. 4,096.
    pub outbox_messages_max: usize,
    /// Bytes of messages that wait for one peer. 64 MiB.
    pub outbox_bytes_max: usize,
    /// Requests of one peer that are answered at one time. 4,096.
    pub peer_requests_max: usize,
    /// Forwarded proposals and reads of one peer that wait at one time, over all groups. 16,384.
    pub peer_forwarded_max: usize,
    /// How long a connection may take to come up. 1 s.
    pub connect_timeout: Duration,
    /// The shortest wait before a failed step is tried again; doubled each time, with jitter. 20 ms.
    pub retry_min: Duration,
    /// The longest such wait. 1 s.
    pub retry_max: Duration,
    /// Proposals of one group that wait for their answer on this node. 8,192.
    pub proposals_max: usize,
    /// Whether a leader that a quorum confirmed a moment ago answers linearizable reads without asking again. Faster, but
    /// then clocks must run at nearly the same speed on all nodes, and a machine must never be resumed from a snapshot
    /// of its memory. Off.
    pub lease_reads: bool,
    /// Bytes of proposals that wait for their answer on this node, over all groups, its own and forwarded ones, with a
    /// fixed charge for each. 128 MiB.
    pub proposal_bytes_max: usize,
    /// When whoever found a queue full should try again. 100 ms.
    pub retry_after: Duration,
    /// Reads of one group that wait for a confirmed index on this node. 65,536.
    pub reads_max: usize,
    /// How many entries a learner may miss when it becomes a voter. 1,000.
    pub promote_lag_max: u64,
    /// The largest entry that may be proposed. 16 MiB.
    pub entry_bytes_max: usize,
    /// The largest message between peers; twice the largest entry must fit into it. 64 MiB.
    pub message_bytes_max: usize,
    /// Groups that are opened at one time during the start. 16.
    pub open_parallel: usize,
    /// Where metrics are registered; `None` means nowhere.
    pub registry: Option<prometheus::Registry>,
    /// What carries the calls between hosts; `None` means the network.
    pub carrier: Option<Arc<dyn Carrier>>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(300),
            election_min: Duration::from_millis(600),
            election_max: Duration::from_millis(900),
            snapshot_every: 20_000,
            logs_kept: 5_000,
            purge_batch: 1_000,
            lag_max: 30_000,
            snapshot_timeout: Duration::from_secs(600),
            snapshot_chunk_bytes: 512 << 10,
            snapshot_bytes_per_second: 64 << 20,
            verify_bytes_per_second: 32 << 20,
            snapshot_sends_max: 2,
            snapshot_receives_max: 2,
            append_bytes_max: 1 << 20,
            append_entries_max: 1_024,
            append_window: 16,
            commit_pause: Duration::from_millis(20),
            append_timeout: Duration::from_millis(1_500),
            apply_entries_max: 1_024,
            apply_bytes_max: 4 << 20,
            outbox_messages_max: 4_096,
            outbox_bytes_max: 64 << 20,
            peer_requests_max: 4_096,
            peer_forwarded_max: 16_384,
            connect_timeout: Duration::from_secs(1),
            retry_min: Duration::from_millis(20),
            retry_max: Duration::from_secs(1),
            proposals_max: 8_192,
            lease_reads: false,
            proposal_bytes_max: 128 << 20,
            retry_after: Duration::from_millis(100),
            reads_max: 65_536,
            promote_lag_max: 1_000,
            entry_bytes_max: 16 << 20,
            message_bytes_max: 64 << 20,
            open_parallel: 16,
            registry: None,
            carrier: None,
        }
    }
}

/// The part of a lease in which reads are answered by it; the rest is the margin for clocks that run at different
/// speeds.
const LEASE_PART: f64 = 0.6;

impl HostConfig {
    /// How old the last confirmation of a leader may be for a linearizable read; zero if each one needs its own.
    pub(crate) fn lease(&self) -> Duration {
        if self.lease_reads {
            self.election_max.mul_f64(LEASE_PART)
        } else {
            Duration::ZERO
        }
    }

    /// The same as a question to the consensus library.
    pub(crate) fn confirmation(&self) -> LinearizerOption {
        LinearizerOption::new(Some(self.lease()), true)
    }

    /// Checks the settings against each other and turns them into the consensus library's form.
    pub(crate) fn consensus(&self) -> Result<Arc<Config>, Error> {
        self.check()?;
        let config = Config {
            cluster_name: "covey".to_owned(),
            // The host's pulse makes the heartbeats. This only sets how often a group looks at its election timer,
            // 13 times in 64 intervals, and an idle group should look rarely.
            enable_heartbeat: false,
            heartbeat_interval: millis(self.election_min).saturating_sub(1),
            election_timeout_min: millis(self.election_min),
            election_timeout_max: millis(self.election_max),
            install_snapshot_timeout: millis(self.snapshot_timeout),
            max_payload_entries: self.append_entries_max,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: self.logs_kept,
            purge_batch_size: self.purge_batch,
            replication_lag_threshold: self.lag_max,
            enable_pre_vote: Some(true),
            // A leader that restarts must win an election, or it could answer reads from an older state.
            enable_leader_restore: Some(false),
            // A replica campaigns when the host lets it, never by itself in the moment in which it is opened.
            enable_elect: false,
            allow_log_reversion: Some(false),
            backoff: format!(
                "{}ms..{}ms",
                millis(self.retry_min).max(1),
                millis(self.retry_max).max(1)
            ),
            ..Config::default()
        };
        let config = config.validate().map_err(|error| Error::Config {
            reason: error.to_string(),
        })?;
        Ok(Arc::new(config))
    }

    fn check(&self) -> Result<(), Error> {
        let positive = [
            ("snapshot_chunk_bytes", self.snapshot_chunk_bytes),
            ("snapshot_sends_max", self.snapshot_sends_max),
            ("snapshot_receives_max", self.snapshot_receives_max),
            ("append_window", self.append_window),
            ("apply_entries_max", self.apply_entries_max),
            ("outbox_messages_max", self.outbox_messages_max),
            ("peer_requests_max", self.peer_requests_max),
            ("peer_forwarded_max", self.peer_forwarded_max),
            ("proposals_max", self.proposals_max),
            ("reads_max", self.reads_max),
            ("open_parallel", self.open_parallel),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(Error::Config {
                reason: format!("{name} = 0, it must be at least 1"),
            });
        }
        if self.heartbeat.is_zero() || self.heartbeat >= self.election_min {
            let reason = format!(
                "heartbeat = {:?} must be positive and shorter than election_min = {:?}",
                self.heartbeat, self.election_min
            );
            return Err(Error::Config { reason });
        }
        if self.lag_max <= self.snapshot_every {
            let reason = format!(
                "lag_max = {} must be above snapshot_every = {}",
                self.lag_max, self.snapshot_every
            );
            return Err(Error::Config { reason });
        }
        let headroom = self.append_bytes_max.max(self.entry_bytes_max).saturating_mul(2);
        if headroom > self.message_bytes_max {
            let reason = format!(
                "message_bytes_max = {} must be at least {headroom}, twice the largest entry or append",
                self.message_bytes_max
            );
            return Err(Error::Config { reason });
        }
        if self.proposal_bytes_max < 2 * self.entry_bytes_max {
            let reason = format!(
                "proposal_bytes_max = {} must hold at least two entries of entry_bytes_max = {}",
                self.proposal_bytes_max, self.entry_bytes_max
            );
            return Err(Error::Config { reason });
        }
        let rates = [self.snapshot_bytes_per_second, self.verify_bytes_per_second];
        if rates.contains(&0) || self.retry_min > self.retry_max {
            let reason =
                "snapshot_bytes_per_second and verify_bytes_per_second must be positive, and retry_min at \
                most retry_max"
                    .to_owned();
            return Err(Error::Config { reason });
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        HostConfig::default().consensus().unwrap();
    }

    #[test]
    fn a_snapshot_that_could_not_help_a_late_follower_is_refused() {
        let config = HostConfig {
            lag_max: 100,
            snapshot_every: 100,
            ..HostConfig::default()
        };
        assert!(config.consensus().is_err());
    }
}
