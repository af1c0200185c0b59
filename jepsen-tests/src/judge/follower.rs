//! Reads of any replica: never older than the bound that was asked for, nor than the age that the answer claims, and with
//! one's own writes where these were asked for.

use std::collections::BTreeMap;

use super::{Findings, answer, linear};
use crate::history::{Answer, Call, Event, Fresh, Outcome};

/// A write of an item whose values only grow.
struct Write {
    value: u64,
    called_us: u64,
    acknowledged_us: Option<u64>,
}

/// Judges items with one writer each.
pub(super) fn judge(events: &[&Event], findings: &mut Findings) {
    let mut items: BTreeMap<&str, (Vec<Write>, Vec<&Event>)> = BTreeMap::new();
    for event in events {
        let (writes, reads) = items.entry(&event.key).or_default();
        match event.call {
            Call::Write { value } => writes.push(Write {
                value,
                called_us: event.called_us,
                acknowledged_us: matches!(event.outcome, Outcome::Ok { .. }).then_some(event.ended_us),
            }),
            _ => reads.push(event),
        }
    }
    for (key, (writes, reads)) in items {
        findings.checked += 1;
        for read in reads {
            check_read(key, read, &writes, findings);
        }
    }
}

fn check_read(key: &str, read: &Event, writes: &[Write], findings: &mut Findings) {
    let Call::Read { fresh } = &read.call else {
        return;
    };
    let (value, staleness_us) = match answer(read) {
        Some(Answer::Value { value, staleness_us }) => (*value, *staleness_us),
        Some(Answer::Prediction { feature, prediction }) => {
            if *prediction != predicted(*feature) {
                findings.contradict(|| {
                    format!("{key}: not the prediction of {feature}: {}", linear::words(read))
                });
            }
            (*feature, 0)
        }
        _ => return,
    };
    let age_us = match fresh {
        Fresh::Linearizable | Fresh::OwnWrites => 0,
        Fresh::Bounded(millis) => (millis * 1_000).min(staleness_us),
        Fresh::Local => staleness_us,
    };
    let since = read.called_us.saturating_sub(age_us);
    let acknowledged = writes
        .iter()
        .filter(|write| write.acknowledged_us.is_some_and(|at| at < since))
        .map(|write| write.value)
        .max()
        .unwrap_or(0);
    if value < acknowledged {
        findings.contradict(|| {
            format!(
                "{key}: {acknowledged} was acknowledged {age_us} us before the call of {}",
                linear::words(read)
            )
        });
    }
    let begun = writes
        .iter()
        .filter(|write| write.called_us <= read.ended_us)
        .map(|write| write.value)
        .max()
        .unwrap_or(0);
    // A write that its client never heard of is not in the history; it is the one after the last.
    if value > begun + 1 {
        findings.contradict(|| format!("{key}: only {begun} had been begun at {}", linear::words(read)));
    }
}

/// What the line predicts, exactly: whole numbers of this size have no rounding.
#[allow(
    clippy::cast_precision_loss,
    reason = "the number of a write is far below 2^53"
)]
fn predicted(feature: u64) -> f64 {
    1.0 + 2.0 * feature as f64
}
