//! Sets: what was acknowledged is there, nothing is there twice, what was refused is not there.

use std::collections::BTreeMap;

use super::{Findings, answer, may_have_happened};
use crate::history::{Answer, Call, Event, Outcome};

/// Judges the final reads.
pub(super) fn judge(events: &[&Event], findings: &mut Findings) {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for event in events {
        if let Some(Answer::Elements { counts: seen }) = answer(event) {
            counts.extend(seen.iter().map(|(element, count)| (element.as_str(), *count)));
        }
    }
    for event in events {
        let Call::Add { .. } = event.call else { continue };
        let key = &event.key;
        let Some(count) = counts.get(key.as_str()).copied() else {
            findings.undecided += 1;
            findings.describe(|| format!("{key} was never looked for"));
            continue;
        };
        let acknowledged = matches!(event.outcome, Outcome::Ok { .. });
        findings.lose(usize::from(acknowledged && count == 0), || {
            format!("{key} was acknowledged and is not there")
        });
        findings.duplicate(usize::from(count > 1), || format!("{key} is there {count} times"));
        let refused = !may_have_happened(event) && count > 0;
        findings.duplicate(usize::from(refused), || {
            format!("{key} is there though its push failed")
        });
        findings.checked += 1;
    }
}
