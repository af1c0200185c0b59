//! The bugs that a binary built with `covey-node/planted-bugs` puts back on demand, and what should bring each to light.

use crate::fault::FaultKind;
use crate::workload::WorkloadKind;

/// A bug that can be put back. What each does is written in the storage crate, where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PlantedBug {
    /// Writes are acknowledged before they are synced
    AckBeforeFsync,
    /// A vote is given and not stored
    ForgetVote,
    /// A replica that starts again takes in the last entry once more
    ApplyTwiceAfterRestart,
    /// A node that starts again votes at once
    LeaseAfterRestart,
    /// Changes are stored without the position that they bring the state to
    DropAppliedIndex,
    /// A snapshot lacks the answers that were given to requests
    SnapshotWithoutDedup,
    /// A leader answers linearizable reads without asking whether it still leads
    SkipReadIndex,
}

impl PlantedBug {
    /// The variable by which the binary is told.
    pub const VARIABLE: &str = "COVEY_PLANTED_BUG";

    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AckBeforeFsync,
        Self::ForgetVote,
        Self::ApplyTwiceAfterRestart,
        Self::LeaseAfterRestart,
        Self::DropAppliedIndex,
        Self::SnapshotWithoutDedup,
        Self::SkipReadIndex,
    ];

    /// The name by which the binary knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AckBeforeFsync => "ack-before-fsync",
            Self::ForgetVote => "forget-vote",
            Self::ApplyTwiceAfterRestart => "apply-twice-after-restart",
            Self::LeaseAfterRestart => "lease-after-restart",
            Self::DropAppliedIndex => "drop-applied-index",
            Self::SnapshotWithoutDedup => "snapshot-without-dedup",
            Self::SkipReadIndex => "skip-read-index",
        }
    }

    /// The faults that can bring it to light.
    pub fn faults(self) -> &'static [FaultKind] {
        match self {
            Self::AckBeforeFsync => &[FaultKind::PowerLoss, FaultKind::SlowDisk],
            Self::ForgetVote | Self::LeaseAfterRestart => &[
                FaultKind::PowerLoss,
                FaultKind::Kill,
                FaultKind::Blackout,
                FaultKind::OneWay,
                FaultKind::Bridge,
                FaultKind::Latency,
            ],
            Self::ApplyTwiceAfterRestart | Self::DropAppliedIndex => {
                &[FaultKind::Kill, FaultKind::Blackout, FaultKind::Snapshot]
            }
            Self::SnapshotWithoutDedup => &[
                FaultKind::Pause,
                FaultKind::Kill,
                FaultKind::Partition,
                FaultKind::Replace,
            ],
            Self::SkipReadIndex => &[FaultKind::Pause, FaultKind::Partition, FaultKind::OneWay],
        }
    }

    /// The workloads whose promises it breaks.
    pub fn workloads(self) -> &'static [WorkloadKind] {
        match self {
            Self::AckBeforeFsync | Self::ForgetVote | Self::LeaseAfterRestart => &[
                WorkloadKind::Register,
                WorkloadKind::Append,
                WorkloadKind::Rows,
                WorkloadKind::Set,
            ],
            Self::ApplyTwiceAfterRestart | Self::DropAppliedIndex | Self::SnapshotWithoutDedup => &[
                WorkloadKind::Set,
                WorkloadKind::Window,
                WorkloadKind::Append,
                WorkloadKind::Bank,
            ],
            Self::SkipReadIndex => &[WorkloadKind::Register, WorkloadKind::Rows, WorkloadKind::Window],
        }
    }
}
