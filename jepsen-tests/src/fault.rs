//! The faults, and the plan of a run: what is broken when. Pure: a seed always gives the same plan.
//!
//! Faults of one lane follow each other; the lanes run side by side, so that a node is killed while another is cut off.

use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// The first fault of a lane comes after this long at most.
const FIRST_MAX_MS: u64 = 3_000;
/// How long a fault lasts, in milliseconds.
const LASTS_MS: std::ops::Range<u64> = 1_500..5_500;
/// How long a lane is calm between two faults.
const CALM_MS: std::ops::Range<u64> = 1_000..4_000;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// SIGKILL to one node, which is started again
    Kill,
    /// SIGKILL to all nodes at once
    Blackout,
    /// SIGSTOP to one node
    Pause,
    /// A node's disk becomes full; it is started again when there is room
    DiskFull,
    /// Power is cut to one node or to all: what was not synced is gone, the last writes are torn
    PowerLoss,
    /// Syncs take 20 to 120 ms on one node's disk, or on all
    SlowDisk,
    /// A bit of one node's log, state or snapshots flips; the node is rebuilt from the others
    Flip,
    /// No packets between two parts of the cluster
    Partition,
    /// No packets from one node to the others, or from them to it
    OneWay,
    /// No packets between two halves, but one node sees both
    Bridge,
    /// Some of the packets between all nodes are lost
    Loss,
    /// Packets between nodes are under way for 40 to 120 ms, as between regions
    Latency,
    /// A node's wall clock jumps, and comes back
    Clock,
    /// A node hands over everything it leads, and takes part again
    Drain,
    /// A new node joins, gets replicas, is decommissioned and removed
    Replace,
    /// Nodes take snapshots of groups, and their logs are cut
    Snapshot,
}

/// Faults of one lane never overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lane {
    /// What happens to processes and their disks.
    Processes,
    /// How fast disks are.
    Disks,
    /// What happens to packets.
    Network,
    /// What happens to clocks.
    Clocks,
    /// What operators do meanwhile.
    Members,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Kill,
        Self::Blackout,
        Self::Pause,
        Self::DiskFull,
        Self::PowerLoss,
        Self::SlowDisk,
        Self::Flip,
        Self::Partition,
        Self::OneWay,
        Self::Bridge,
        Self::Loss,
        Self::Latency,
        Self::Clock,
        Self::Drain,
        Self::Replace,
        Self::Snapshot,
    ];

    /// Its name in options and evidence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Blackout => "blackout",
            Self::Pause => "pause",
            Self::DiskFull => "disk-full",
            Self::PowerLoss => "power-loss",
            Self::SlowDisk => "slow-disk",
            Self::Flip => "flip",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Bridge => "bridge",
            Self::Loss => "loss",
            Self::Latency => "latency",
            Self::Clock => "clock",
            Self::Drain => "drain",
            Self::Replace => "replace",
            Self::Snapshot => "snapshot",
        }
    }

    /// Its lane.
    pub fn lane(self) -> Lane {
        match self {
            Self::Kill | Self::Blackout | Self::Pause | Self::DiskFull | Self::PowerLoss | Self::Flip => {
                Lane::Processes
            }
            Self::SlowDisk => Lane::Disks,
            Self::Partition | Self::OneWay | Self::Bridge | Self::Loss | Self::Latency => Lane::Network,
            Self::Clock => Lane::Clocks,
            Self::Drain | Self::Replace | Self::Snapshot => Lane::Members,
        }
    }
}

/// One fault of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number in the run, from 1.
    pub number: usize,
    /// What is broken.
    pub kind: FaultKind,
    /// When, in milliseconds of the run.
    pub at_ms: u64,
    /// For how long.
    pub lasts_ms: u64,
    /// What chooses the nodes.
    pub seed: u64,
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Processes,
        Self::Network,
        Self::Clocks,
        Self::Members,
        Self::Disks,
    ];
}

/// A plan of these kinds for so long. Every kind of a lane comes before any comes again.
pub fn plan(seed: u64, kinds: &[FaultKind], length: Duration) -> Vec<Step> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let end_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let mut steps = Vec::new();
    for lane in Lane::ALL {
        let mut ours: Vec<FaultKind> = kinds.iter().copied().filter(|kind| kind.lane() == lane).collect();
        ours.sort_unstable();
        ours.dedup();
        ours.shuffle(&mut random);
        let mut at_ms = random.gen_range(0..FIRST_MAX_MS);
        for kind in ours.iter().cycle() {
            let lasts_ms = random.gen_range(LASTS_MS);
            if at_ms + lasts_ms > end_ms {
                break;
            }
            steps.push(Step {
                number: 0,
                kind: *kind,
                at_ms,
                lasts_ms,
                seed: random.r#gen(),
            });
            at_ms += lasts_ms + random.gen_range(CALM_MS);
        }
    }
    steps.sort_by_key(|step| step.at_ms);
    for (index, step) in steps.iter_mut().enumerate() {
        step.number = index + 1;
    }
    steps
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Injected {
    /// What was planned.
    pub step: Step,
    /// When it really began, in microseconds of the history's clock.
    pub began_us: u64,
    /// When everything was whole again.
    pub ended_us: u64,
    /// The nodes that were chosen.
    pub nodes: Vec<usize>,
    /// What was done.
    pub what: String,
    /// What showed that it took effect, or why it did not.
    pub effect: String,
    /// Whether it took effect.
    pub took_effect: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_gives_the_same_plan_and_another_seed_another() {
        assert_eq!(plan(7, &FaultKind::ALL, MINUTE), plan(7, &FaultKind::ALL, MINUTE));
        assert_ne!(plan(7, &FaultKind::ALL, MINUTE), plan(8, &FaultKind::ALL, MINUTE));
    }

    #[test]
    fn every_kind_has_its_turn_and_a_lane_is_never_used_twice_at_once() {
        for seed in 0..50 {
            let steps = plan(seed, &FaultKind::ALL, MINUTE);
            for kind in FaultKind::ALL {
                assert!(
                    steps.iter().any(|step| step.kind == kind),
                    "seed {seed}: no {kind:?}"
                );
            }
            for (index, step) in steps.iter().enumerate() {
                let end = step.at_ms + step.lasts_ms;
                assert!(end <= 60_000, "seed {seed}: {step:?}");
                let overlapping = steps[index + 1..]
                    .iter()
                    .find(|later| later.kind.lane() == step.kind.lane() && later.at_ms < end);
                assert_eq!(overlapping, None, "seed {seed}: during {step:?}");
            }
        }
    }

    #[test]
    fn nothing_is_planned_for_no_kinds() {
        assert_eq!(plan(1, &[], MINUTE), []);
    }
}
