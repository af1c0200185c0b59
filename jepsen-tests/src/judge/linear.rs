//! Histories as the checker wants them, and what it says of them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Findings, answer, may_have_happened};
use crate::checker::{History, Limits, Model, Operation, Verdict, check_each};
use crate::history::{Answer, Call, Event, Outcome};
use crate::model::{
    AppendList, CasRegister, Counter, CounterAnswer, CounterCall, ListAnswer, ListCall, RegisterAnswer,
    RegisterCall,
};

/// How long the checker may take for one workload.
const TIME: Duration = Duration::from_secs(120);

/// Judges registers.
pub(super) fn registers(events: &[&Event], findings: &mut Findings) {
    let translate = |event: &Event| {
        let call = match event.call {
            Call::Read { .. } => RegisterCall::Read,
            Call::Write { value } => RegisterCall::Write(value),
            Call::CompareAndSet { expected, new } => RegisterCall::CompareAndSet { expected, new },
            _ => return None,
        };
        let told = match answer(event) {
            Some(Answer::Value { value, .. }) => Some(RegisterAnswer::Value(*value)),
            Some(Answer::Done) => Some(RegisterAnswer::Done),
            Some(Answer::Mismatch) => Some(RegisterAnswer::Mismatch),
            _ => None,
        };
        Some((call, told))
    };
    check(&CasRegister, events, findings, (translate, CasRegister::settled));
}

/// Judges lists.
pub(super) fn lists(events: &[&Event], findings: &mut Findings) {
    let translate = |event: &Event| {
        let call = match event.call {
            Call::Read { .. } => ListCall::Read,
            Call::Append { item } => ListCall::Append(item),
            _ => return None,
        };
        let told = match answer(event) {
            Some(Answer::Items { items, .. }) => Some(ListAnswer::Items(items.clone())),
            Some(Answer::Done) => Some(ListAnswer::Done),
            _ => None,
        };
        Some((call, told))
    };
    check(&AppendList, events, findings, (translate, AppendList::settled));
}

/// Judges counters.
pub(super) fn counters(events: &[&Event], findings: &mut Findings) {
    let translate = |event: &Event| {
        let call = match event.call {
            Call::Read { .. } => CounterCall::Read,
            Call::Add { size } => CounterCall::Add(size),
            _ => return None,
        };
        let told = match answer(event) {
            Some(Answer::Total { count, sum }) => Some(CounterAnswer::Total {
                count: *count,
                sum: *sum,
            }),
            Some(Answer::Done) => Some(CounterAnswer::Done),
            _ => None,
        };
        Some((call, told))
    };
    check(&Counter, events, findings, (translate, |history| history));
}

/// A call, and its answer unless the outcome is unknown.
type Translated<M> = (<M as Model>::Call, Option<<M as Model>::Answer>);

fn check<M: Model>(
    model: &M,
    events: &[&Event],
    findings: &mut Findings,
    (translate, settle): (
        impl Fn(&Event) -> Option<Translated<M>>,
        impl Fn(History<M>) -> History<M>,
    ),
) {
    let mut histories: BTreeMap<&str, History<M>> = BTreeMap::new();
    let mut places: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    // What certainly did not happen is left out: if it happened all the same, nothing else explains what was read.
    for event in events.iter().filter(|event| may_have_happened(event)) {
        let Some((call, told)) = translate(event) else {
            findings.contradict(|| format!("an operation of another kind: {}", words(event)));
            continue;
        };
        let operation = match told {
            Some(told) => Operation::answered(call, event.called_us, told, event.ended_us),
            None => Operation::unknown(call, event.called_us),
        };
        histories.entry(&event.key).or_default().push(operation);
        places.entry(&event.key).or_default().push(event);
    }
    let histories = histories
        .into_iter()
        .map(|(key, history)| (key, settle(history)))
        .collect();
    let limits = Limits {
        time: TIME,
        ..Limits::default()
    };
    for (key, verdict) in check_each(model, &histories, limits) {
        findings.checked += 1;
        match verdict {
            Verdict::Linearizable => {}
            Verdict::Violation(found) => findings.contradict(|| {
                let events = &places[key];
                let last = found.order.last().map(|last| words(events[*last]));
                format!(
                    "{key}: no order of {} operations explains {}; {} of them have a place, the last is {}",
                    events.len(),
                    words(events[found.stuck_at]),
                    found.order.len(),
                    last.unwrap_or_else(|| "none".to_owned()),
                )
            }),
            Verdict::Unknown(why) => {
                findings.undecided += 1;
                findings.describe(|| format!("{key}: {why} after {} operations", histories[key].len()));
            }
        }
    }
}

/// An operation in short.
pub(super) fn words(event: &Event) -> String {
    let outcome = match &event.outcome {
        Outcome::Ok { answer } => format!("{answer:?}"),
        Outcome::Failed { why } => format!("failed, {why}"),
        Outcome::Unknown { why } => format!("unknown, {why}"),
    };
    let (from, until) = (event.called_us, event.ended_us);
    format!(
        "{:?} by {} at node {} from {from} to {until} us: {outcome}",
        event.call, event.client, event.node
    )
}
