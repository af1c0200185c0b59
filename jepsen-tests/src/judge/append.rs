//! Lists: linearizable; each item names the one before it; none is there twice; at the end all that was acknowledged is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Findings, answer, linear};
use crate::history::{Answer, Call, Event, Outcome};

/// Judges the histories of aliases.
pub(super) fn judge(events: &[&Event], findings: &mut Findings) {
    linear::lists(events, findings);
    // By key, the read that was called last.
    let mut last: BTreeMap<&str, &Event> = BTreeMap::new();
    for event in events {
        let Some(Answer::Items { items, previous }) = answer(event) else {
            continue;
        };
        check_chain(event, (items, previous), findings);
        let newest = last.entry(&event.key).or_insert(event);
        if newest.called_us < event.called_us {
            *newest = event;
        }
    }
    for (key, read) in last {
        let Some(Answer::Items { items, .. }) = answer(read) else {
            continue;
        };
        let seen: BTreeSet<u64> = items.iter().copied().collect();
        let missing: Vec<u64> = events
            .iter()
            .filter(|event| event.key == key && event.ended_us < read.called_us)
            .filter_map(|event| match (&event.call, &event.outcome) {
                (Call::Append { item }, Outcome::Ok { .. }) => {
                    Some(*item).filter(|item| !seen.contains(item))
                }
                _ => None,
            })
            .collect();
        findings.lose(missing.len(), || {
            format!("{key}: {missing:?} were acknowledged and are not in {items:?}")
        });
    }
}

fn check_chain(event: &Event, (items, previous): (&[u64], &[u64]), findings: &mut Findings) {
    let distinct: BTreeSet<&u64> = items.iter().collect();
    let twice = items.len() - distinct.len();
    findings.duplicate(twice, || format!("{}: items twice in {items:?}", event.key));
    let before: Vec<u64> = std::iter::once(0)
        .chain(items.iter().copied())
        .take(items.len())
        .collect();
    if before != previous {
        findings.contradict(|| {
            format!(
                "{}: the items {items:?} say that before them were {previous:?}",
                event.key
            )
        });
    }
}
