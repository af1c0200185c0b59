//! The state machine of Covey's groups: decodes an entry, lets `covey-state` decide it, stages the changes.
//!
//! Invariant: whatever is staged follows from the entry and the group's own state, so every replica stages the same.

use bytes::Bytes;
use covey_state::{Fault, Position, Request};
use covey_storage::{Error, GroupBatch, Place};

use crate::machine::{LogPosition, StateMachine};

/// The state machine of every group. It has no state of its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanMachine;

impl StateMachine for PlanMachine {
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

#[cfg(test)]
mod tests {
    use covey_state::answer::Answer;
    use covey_state::command::NodeSpec;
    use covey_state::{Command, GroupId, Key, NodeId, Rejection, RequestId, Timestamp, View};
    use covey_storage::{StateDb, StateDbConfig};

    use super::*;

    fn position(index: u64) -> LogPosition {
        LogPosition {
            group: GroupId::CONTROL,
            term: 1,
            index,
        }
    }

    fn founding() -> Request {
        let address = |port: u16| format!("127.0.0.1:{port}");
        let labels = ["local", "a", "0.1.0"].map(str::to_owned);
        let [region, zone, binary] = labels;
        let first = NodeSpec {
            peer_addr: address(7401),
            api_addr: address(7400),
            region,
            zone,
            binary,
        };
        let command = Command::InitCluster {
            id: 7,
            name: "test".to_owned(),
            groups: 4,
            replication_factor: 3,
            first,
        };
        Request {
            id: RequestId::Unique(1, 0),
            at: Timestamp::from_micros(1),
            by: "test".to_owned(),
            command,
        }
    }

    #[test]
    fn an_entry_is_decided_staged_and_answered_and_a_repeat_gets_the_same_answer() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDb::open(dir.path(), StateDbConfig::default())
            .unwrap()
            .group(GroupId::CONTROL);
        let mut batch = state.batch();
        let answer = PlanMachine
            .apply(position(1), &founding().encode(), &mut batch)
            .unwrap();
        let outcome: Result<Answer, Rejection> = postcard::from_bytes(&answer).unwrap();
        assert_eq!(outcome, Ok(Answer::Node(NodeId::new(1))));
        assert!(batch.get(&Key::Cluster).unwrap().is_some());
        assert_eq!(
            PlanMachine
                .apply(position(2), &founding().encode(), &mut batch)
                .unwrap(),
            answer
        );
    }

    #[test]
    fn an_entry_of_a_newer_binary_is_a_fault_and_stages_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDb::open(dir.path(), StateDbConfig::default())
            .unwrap()
            .group(GroupId::CONTROL);
        let mut batch = state.batch();
        let mut entry = founding().encode();
        entry[0] = u8::MAX;
        let fault = PlanMachine.apply(position(1), &entry, &mut batch).unwrap_err();
        assert!(fault.is_corruption(), "{fault}");
        assert!(batch.is_empty());
    }
}
