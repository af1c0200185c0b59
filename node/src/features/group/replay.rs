//! A group in memory for tests, filled by the same decisions as a real one.

use covey_state::answer::Answer;
use covey_state::catalog::InstalledView;
use covey_state::command::IncomingRow;
use covey_state::{Command, GroupId, MemoryView, Position, Request, RequestId, Timestamp, Value, plan};

/// A group that knows one view.
pub(crate) struct Replay {
    /// Its map.
    pub(crate) group: MemoryView,
    view: InstalledView,
    index: u64,
}

impl Replay {
    /// A group that has logged the view's schema at index 1.
    pub(crate) fn of(view: InstalledView) -> Self {
        let mut replay = Self {
            group: MemoryView::default(),
            view: view.clone(),
            index: 0,
        };
        replay.decide(Command::InstallSchema(view));
        replay
    }

    /// Pushes one row in an entry of its own; the entry's index.
    pub(crate) fn push(&mut self, entity: Value, at: i64, values: Vec<Value>) -> u64 {
        let event_time = Timestamp::from_micros(at);
        let row = IncomingRow {
            key: vec![entity],
            event_time,
            created_time: event_time,
            values,
        };
        let (view, schema_version) = (self.view.id, self.view.schema_version);
        let answer = self.decide(Command::PushRows {
            view,
            schema_version,
            rows: vec![row],
        });
        assert!(matches!(answer, Answer::Rows { .. }), "{answer:?}");
        self.index
    }

    fn decide(&mut self, command: Command) -> Answer {
        self.index += 1;
        let position = Position {
            group: GroupId::new(1),
            index: self.index,
        };
        let id = RequestId::Unique(u128::from(self.index), 0);
        let request = Request {
            id,
            at: Timestamp::from_micros(1 << 50),
            by: "test".to_owned(),
            command,
        };
        let decision = plan(&self.group, position, &request).unwrap();
        decision
            .changes
            .into_iter()
            .for_each(|change| self.group.apply(change));
        decision.outcome.unwrap()
    }
}
