//! Windows: linearizable; every total lies between what was acknowledged before it and what was begun until then; the last
//! one is exact.

use std::collections::BTreeMap;

use super::{Findings, answer, linear, may_have_happened};
use crate::history::{Answer, Call, Event, Outcome};

/// Judges windows.
pub(super) fn judge(events: &[&Event], findings: &mut Findings) {
    linear::counters(events, findings);
    let mut windows: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        windows.entry(&event.key).or_default().push(event);
    }
    for (key, events) in windows {
        for read in &events {
            if let Some(Answer::Total { count, sum }) = answer(read) {
                recount(key, (read, *count, *sum), &events, findings);
            }
        }
    }
}

fn recount(key: &str, (read, count, sum): (&Event, u64, i64), events: &[&Event], findings: &mut Findings) {
    // How many, and their sum: those that must be in it, and those that may.
    let (mut must, mut may) = ((0_u64, 0_i64), (0_u64, 0_i64));
    for event in events {
        let Call::Add { size } = event.call else { continue };
        if matches!(event.outcome, Outcome::Ok { .. }) && event.ended_us < read.called_us {
            must = (must.0 + 1, must.1 + size);
        }
        if may_have_happened(event) && event.called_us <= read.ended_us {
            may = (may.0 + 1, may.1 + size);
        }
    }
    let words = || {
        format!("{key}: {count} rows with the sum {sum}, where {must:?} were acknowledged and {may:?} begun")
    };
    findings.lose(
        usize::try_from(must.0.saturating_sub(count)).unwrap_or(usize::MAX),
        words,
    );
    findings.duplicate(
        usize::try_from(count.saturating_sub(may.0)).unwrap_or(usize::MAX),
        words,
    );
    if (must.0..=may.0).contains(&count) && !(must.1..=may.1).contains(&sum) {
        findings.contradict(words);
    }
}
