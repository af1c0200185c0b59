//! Banks: every look, however old, is the state after one of the transfers; the money stays the same; a linearizable look
//! sees every transfer that was acknowledged before it.

use std::collections::BTreeMap;

use super::{Findings, answer, linear};
use crate::history::{Answer, Call, Event, Fresh, Outcome};
use crate::workload::{ACCOUNTS_PER_BANK, OPENING};

/// The balances after each transfer, beginning with none.
type States = Vec<Vec<i64>>;

/// Judges banks.
pub(super) fn judge(events: &[&Event], findings: &mut Findings) {
    let mut banks: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events {
        banks.entry(&event.key).or_default().push(event);
    }
    for (key, events) in banks {
        let Some(states) = replay(&events) else {
            findings.undecided += 1;
            findings.describe(|| format!("{key}: the transfers are not numbered without a gap"));
            continue;
        };
        findings.checked += 1;
        for look in &events {
            check_look(key, look, (&states, &events), findings);
        }
    }
}

/// The states through which the only writer of a bank took it; its last transfer may be an open one.
fn replay(events: &[&Event]) -> Option<States> {
    let mut transfers: Vec<(u64, usize, usize, i64)> = events
        .iter()
        .filter_map(|event| match event.call {
            Call::Transfer {
                step,
                from,
                to,
                amount,
            } => Some((step, from, to, amount)),
            _ => None,
        })
        .collect();
    transfers.sort_unstable();
    let mut states = vec![vec![OPENING; ACCOUNTS_PER_BANK]];
    for (step, from, to, amount) in transfers {
        if usize::try_from(step) != Ok(states.len()) {
            return None;
        }
        let mut balances = states[states.len() - 1].clone();
        *balances.get_mut(from)? -= amount;
        *balances.get_mut(to)? += amount;
        states.push(balances);
    }
    Some(states)
}

fn check_look(key: &str, look: &Event, (states, events): (&States, &[&Event]), findings: &mut Findings) {
    let (Some(Answer::Accounts { balances, steps }), Call::Read { fresh }) = (answer(look), &look.call)
    else {
        return;
    };
    let step = steps.iter().copied().max().unwrap_or(0);
    let total: i64 = balances.iter().sum();
    let opening = OPENING * i64::try_from(ACCOUNTS_PER_BANK).unwrap_or(0);
    if total != opening {
        findings.contradict(|| format!("{key}: {total} of {opening} in {}", linear::words(look)));
    } else if usize::try_from(step).ok().and_then(|step| states.get(step)) != Some(balances) {
        findings.contradict(|| {
            format!(
                "{key}: not the state after {step} transfers: {}",
                linear::words(look)
            )
        });
    }
    let acknowledged = events
        .iter()
        .filter(|event| matches!(event.outcome, Outcome::Ok { .. }) && event.ended_us < look.called_us)
        .filter_map(|event| match event.call {
            Call::Transfer { step, .. } => Some(step),
            _ => None,
        })
        .max()
        .unwrap_or(0);
    if *fresh == Fresh::Linearizable && step < acknowledged {
        findings.contradict(|| {
            format!(
                "{key}: {acknowledged} transfers were acknowledged before {}",
                linear::words(look)
            )
        });
    }
}
