//! The door of the log: Covey's state machine with a clock in front of it, which only a leader looks at.

use bytes::Bytes;
use covey_cluster::{Ahead, LogPosition, PlanMachine, StateMachine};
use covey_state::Request;
use covey_storage::{Error, GroupBatch};

use super::Clock;

/// Decides entries as [`PlanMachine`] does, and keeps those of the future out of the log.
#[derive(Debug, Clone)]
pub struct TimedMachine {
    clock: Clock,
}

impl TimedMachine {
    /// A machine behind `clock`.
    pub const fn new(clock: Clock) -> Self {
        Self { clock }
    }
}

impl StateMachine for TimedMachine {
    fn apply(&self, position: LogPosition, entry: &[u8], batch: &mut GroupBatch) -> Result<Bytes, Error> {
        PlanMachine.apply(position, entry, batch)
    }

    fn admit(&self, entry: &[u8]) -> Result<(), Ahead> {
        // What this version cannot read has no time that it could judge.
        Request::time_of(entry).map_or(Ok(()), |at| self.clock.admit(at))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use covey_state::{Command, NodeId, RequestId, Timestamp};

    use super::*;

    fn entry(at: Timestamp) -> Vec<u8> {
        let request = Request {
            id: RequestId::Unique(1, 0),
            at,
            by: "test".to_owned(),
            command: Command::CreateModel {
                name: "delay".to_owned(),
                description: String::new(),
            },
        };
        request.encode()
    }

    #[tokio::test]
    async fn a_request_of_tomorrow_stays_outside_and_one_of_now_or_of_yesterday_comes_in() {
        let clock = Clock::new(NodeId::new(1), Duration::from_secs(10));
        let (machine, now) = (TimedMachine::new(clock.clone()), clock.now());
        let day = 86_400_000_000;
        assert!(machine.admit(&entry(now.plus_micros(day))).is_err());
        for at in [now, now.plus_micros(-day)] {
            assert_eq!(machine.admit(&entry(at)), Ok(()));
        }
    }
}
