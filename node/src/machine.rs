//! The state machine that the Raft host drives: decodes an entry, lets `covey-state` decide it, stages the changes.
//!
//! Invariant: whatever is staged follows from the entry and the group's own state, so every replica stages the same.

use bytes::Bytes;
use covey_cluster::{LogPosition, StateMachine};
use covey_state::{Fault, Position, Request};
use covey_storage::{Error, GroupBatch, Place};

/// The state machine of every group. It has no state of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

impl StateMachine for Machine {
    fn apply(&self, position: LogPosition, entry: &[u8], batch: &mut GroupBatch) -> Result<Bytes, Error> {
        // An entry that a newer binary wrote must stop the group here: guessing would make the replicas differ.
        let request = Request::decode(entry).map_err(|error| unreadable(position, &error))?;
        let place = Position {
            group: position.group,
            index: position.index,
        };
        let decision = covey_state::plan(batch, place, &request).map_err(|fault| stopped(position, fault))?;
        for change in decision.changes {
            batch.stage(change);
        }
        let answer = postcard::to_allocvec(&decision.outcome)
            .expect("an answer holds only types that postcard can write");
        Ok(Bytes::from(answer))
    }
}

fn unreadable(position: LogPosition, error: &dyn std::error::Error) -> Error {
    let reason = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Error::Corrupt {
        place: Place::LogEntry {
            group: position.group,
            index: position.index,
        },
        reason,
    }
}

/// The store's own error, if the fault came from it.
fn stopped(position: LogPosition, fault: Fault) -> Error {
    match fault.0.downcast::<Error>() {
        Ok(error) => *error,
        Err(other) => unreadable(position, &*other),
    }
}
