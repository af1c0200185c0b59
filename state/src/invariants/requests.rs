//! What holds of the remembered answers and the clock.

use std::collections::BTreeMap;

use crate::invariants::hold;
use crate::key::Key;
use crate::record::Record;
use crate::view::MemoryView;

/// Every remembered answer is due to be forgotten exactly once, and nothing else is.
pub(super) fn one_answer_per_request(view: &MemoryView) -> Result<(), String> {
    let mut answered = BTreeMap::new();
    let mut due = BTreeMap::new();
    for (key, record) in view.entries() {
        if let (Key::Request(id), Record::Request(remembered)) = (key, record) {
            answered.insert(id, remembered.at);
        }
        if let Key::RequestAge(at, id) = key {
            hold(due.insert(id, *at).is_none(), || {
                format!("request {id} would be forgotten twice")
            })?;
        }
    }
    hold(answered == due, || {
        format!("answers {answered:?} are not what is to be forgotten {due:?}")
    })
}

/// The clock is at or after everything it has dated.
pub(super) fn clock_is_not_behind(view: &MemoryView) -> Result<(), String> {
    let mut clock = None;
    for (key, record) in view.entries() {
        if let (Key::Clock, Record::Time(at)) = (key, record) {
            clock = Some(*at);
        }
        if let Key::RequestAge(at, id) = key {
            hold(clock >= Some(*at), || {
                format!("request {id} is of {at:?}, the clock says {clock:?}")
            })?;
        }
    }
    Ok(())
}
