//! A group in memory: a map, a log index and a clock that each request moves on by a second.

use covey_state::answer::Answer;
use covey_state::window::SECOND;
use covey_state::{
    Change, Command, Decision, GroupId, Key, MemoryView, Position, Record, Rejection, Request, RequestId,
    Timestamp, View, plan,
};

/// When every story begins.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// A group in memory.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) map: MemoryView,
    pub(crate) index: u64,
}

impl World {
    /// A group that has carried out `commands`, none of which may be refused.
    pub(crate) fn after(commands: impl IntoIterator<Item = Command>) -> Self {
        let mut world = Self::default();
        for command in commands {
            let outcome = world.ask(command.clone());
            assert!(outcome.is_ok(), "{command:?} was refused: {outcome:?}");
        }
        world
    }

    /// Where the next entry stands.
    pub(crate) fn next_position(&self) -> Position {
        Position {
            group: GroupId::new(1),
            index: self.index + 1,
        }
    }

    /// Decides and carries out one request.
    pub(crate) fn carry_out(&mut self, request: &Request) -> Decision {
        let decision = plan(&self.map, self.next_position(), request).expect("memory can be read");
        self.index += 1;
        for change in &decision.changes {
            self.map.apply(change.clone());
        }
        decision
    }

    /// Carries out a new command, a second after the last one.
    pub(crate) fn ask(&mut self, command: Command) -> Result<Answer, Rejection> {
        self.carry_out(&self.request(command)).outcome
    }

    /// The request that [`Self::ask`] makes of a command.
    pub(crate) fn request(&self, command: Command) -> Request {
        let next = self.index + 1;
        let at = START.plus_micros(i64::try_from(next).expect("stories are short") * SECOND);
        Request {
            id: RequestId::Unique(u128::from(next), 0),
            at,
            by: "ada".to_owned(),
            command,
        }
    }

    /// What a refused command is told; it may change nothing but the envelope.
    pub(crate) fn refusal(&mut self, command: Command) -> String {
        let decision = self.carry_out(&self.request(command));
        for change in &decision.changes {
            let (Change::Put(key, _) | Change::Delete(key)) = change;
            assert!(is_envelope(key), "a refusal changed {key:?}");
        }
        decision.outcome.expect_err("the command is bad").to_string()
    }

    /// The record at `key`.
    pub(crate) fn get(&self, key: &Key) -> Option<Record> {
        self.map.get(key).expect("memory can be read")
    }
}

/// Whether a key belongs to the bookkeeping of requests.
pub(crate) fn is_envelope(key: &Key) -> bool {
    matches!(
        key,
        Key::Clock | Key::Request(_) | Key::RequestAge(..) | Key::ProducerFloor(_)
    )
}
