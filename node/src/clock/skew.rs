//! What keeps a request from being written when the clocks of the cluster differ.

use std::time::Duration;

use covey_state::NodeId;

use super::judgement::Judgement;

/// Why a request is not written.
#[derive(Debug, thiserror::Error)]
pub enum Skew {
    /// The other nodes' clocks differ from this node's.
    #[error(
        "the clock of node {node} is {}, and those of {} of the {} other nodes heard of differ from it by more than \
         {:.1} s: it writes nothing until they agree; check the time synchronisation (NTP) of the nodes, or ask another one",
        ahead_text(.judgement.ahead_micros), .judgement.differing, .judgement.heard, .limit.as_secs_f64()
    )]
    Doubted {
        /// This node.
        node: NodeId,
        /// What the others' clocks say.
        judgement: Judgement,
        /// How much they may differ.
        limit: Duration,
    },
    /// The leader of the group does not take the time of the request.
    #[error(transparent)]
    Refused(covey_cluster::Error),
}

/// How far a clock is ahead of the cluster's, for people.
fn ahead_text(ahead_micros: i64) -> String {
    let seconds = ahead_micros as f64 / 1e6;
    let side = if seconds < 0.0 { "behind" } else { "ahead of" };
    format!("{:.1} s {side} the cluster's", seconds.abs())
}
