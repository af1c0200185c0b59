//! The envelope of every decision: answers that are remembered, the group's clock, and forgetting.
//!
//! Invariant: a request is forgotten only when it would be refused as too old, so it can never be carried out twice.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use crate::answer::Answer;
use crate::id::Timestamp;
use crate::key::Key;
use crate::plan::draft::{Draft, read};
use crate::record::Record;
use crate::rejection::Rejection;
use crate::request::{FORGET_PER_REQUEST, RETENTION_MICROS, Remembered, Request, RequestId};
use crate::view::{Fault, View};

/// Whether a request is to be decided.
pub(super) enum Admission {
    /// It is new; this is the group's clock, the request included.
    New(Timestamp),
    /// Its answer is known, and nothing changes.
    Settled(Result<Answer, Rejection>),
}

/// Tells a new request from a repeat and from one that is too old to tell.
pub(super) fn admit(view: &dyn View, request: &Request) -> Result<Admission, Fault> {
    if let Some(remembered) = read::<Remembered>(view, &Key::Request(request.id.clone()))? {
        return Ok(Admission::Settled(remembered.outcome));
    }
    let clock = read::<Timestamp>(view, &Key::Clock)?.unwrap_or(Timestamp::MIN);
    let too_old = match &request.id {
        RequestId::Unique(..) => request.at < clock.plus_micros(-RETENTION_MICROS),
        RequestId::Producer(producer, sequence, _) => {
            let floor = read::<u64>(view, &Key::ProducerFloor(producer.clone()))?;
            floor.is_some_and(|floor| *sequence <= floor)
        }
    };
    if too_old {
        return Ok(Admission::Settled(Err(Rejection::TooOld(request.id.to_string()))));
    }
    Ok(Admission::New(clock.max(request.at)))
}

/// Moves the clock, remembers the outcome, and forgets a little of what is old.
pub(super) fn remember(
    draft: &mut Draft<'_>,
    id: &RequestId,
    outcome: &Result<Answer, Rejection>,
) -> Result<(), Fault> {
    let now = draft.now;
    draft.put(Key::Clock, now);
    draft.put(
        Key::Request(id.clone()),
        Remembered {
            at: now,
            outcome: outcome.clone(),
        },
    );
    draft.put(Key::RequestAge(now, id.clone()), Record::Marker);
    forget(draft)
}

fn forget(draft: &mut Draft<'_>) -> Result<(), Fault> {
    let horizon = draft.now.plus_micros(-RETENTION_MICROS);
    let mut old: Vec<(Timestamp, RequestId)> = Vec::new();
    let oldest = Key::RequestAge(Timestamp::MIN, RequestId::Unique(0, 0));
    draft.scan(&oldest, &mut |key, _| {
        let Key::RequestAge(at, id) = key else {
            return ControlFlow::Break(());
        };
        if at >= horizon || old.len() >= FORGET_PER_REQUEST {
            return ControlFlow::Break(());
        }
        old.push((at, id));
        ControlFlow::Continue(())
    })?;
    let mut floors: BTreeMap<String, u64> = BTreeMap::new();
    for (at, id) in old {
        if let RequestId::Producer(producer, sequence, _) = &id {
            let floor = floors.entry(producer.clone()).or_insert(*sequence);
            *floor = (*floor).max(*sequence);
        }
        draft.delete(Key::RequestAge(at, id.clone()));
        draft.delete(Key::Request(id));
    }
    for (producer, sequence) in floors {
        let key = Key::ProducerFloor(producer);
        let floor = draft
            .get::<u64>(&key)?
            .map_or(sequence, |known| known.max(sequence));
        draft.put(key, floor);
    }
    Ok(())
}
