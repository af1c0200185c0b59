//! Covey's state machine, watched: it decides as it always does, and tells what it was given and what it answered.

use bytes::Bytes;
use covey_cluster::{LogPosition, PlanMachine, StateMachine};
use covey_state::answer::Answer;
use covey_state::{Command, NodeId, Rejection, Request};
use covey_storage::{Error, GroupBatch};

use crate::event::{Applied, Event};
use crate::ledger::Counts;
use crate::trace::Trace;

/// The state machine of one node.
pub(crate) struct Watched {
    pub(crate) node: NodeId,
    pub(crate) trace: Trace,
}

impl StateMachine for Watched {
    fn apply(&self, position: LogPosition, entry: &[u8], batch: &mut GroupBatch) -> Result<Bytes, Error> {
        let answer = PlanMachine.apply(position, entry, batch)?;
        let request = Request::decode(entry).ok();
        let made = request.as_ref().and_then(|request| made(request, &answer));
        let counts = request.as_ref().and_then(|request| counts(request, &answer));
        self.trace.event(Event::Applied(Applied {
            node: self.node,
            index: position.index,
            term: position.term,
            entry: crc32c::crc32c(entry),
            answer: crc32c::crc32c(&answer),
            request: request.map(|request| request.id.to_string()).unwrap_or_default(),
            made,
            counts,
        }));
        Ok(answer)
    }
}

/// The version that a request has made.
fn made(request: &Request, answer: &[u8]) -> Option<(String, u64)> {
    match (&request.command, number(answer)) {
        (Command::CreateVersion { model, .. }, Some(number)) => Some((model.clone(), number)),
        _ => None,
    }
}

/// What a request was answered to be counted: all that it asks for, unless it was refused as a whole.
fn counts(request: &Request, answer: &[u8]) -> Option<Counts> {
    let counts = Counts::of(&request.command)?;
    carried_out(answer).map(|_| counts)
}

/// What a request was answered that was carried out.
pub(crate) fn carried_out(answer: &[u8]) -> Option<Answer> {
    postcard::from_bytes::<Result<Answer, Rejection>>(answer)
        .ok()?
        .ok()
}

/// The number that a request was answered with.
fn number(answer: &[u8]) -> Option<u64> {
    match carried_out(answer) {
        Some(Answer::Number(number)) => Some(number),
        Some(_) | None => None,
    }
}
