//! Small histories of each workload: a good one that passes, and the same with one thing wrong that must be found.

use covey_jepsen::history::{Answer, Call, Event, Fresh, Outcome};
use covey_jepsen::judge::{Findings, judge};
use covey_jepsen::workload::WorkloadKind;

const LINEARIZABLE: Call = Call::Read {
    fresh: Fresh::Linearizable,
};

fn ok(answer: Answer) -> Outcome {
    Outcome::Ok { answer }
}

fn failed() -> Outcome {
    Outcome::Failed {
        why: "not sent".to_owned(),
    }
}

fn unknown() -> Outcome {
    Outcome::Unknown {
        why: "no answer".to_owned(),
    }
}

fn value(value: u64, staleness_us: u64) -> Outcome {
    ok(Answer::Value { value, staleness_us })
}

/// Operations one after the other, each of 10 microseconds with 10 between them.
fn history(kind: WorkloadKind, key: &str, operations: &[(Call, Outcome)]) -> Vec<Event> {
    let begin = (100..).step_by(20);
    begin
        .zip(operations)
        .map(|(called_us, (call, outcome))| Event {
            client: "client-0".to_owned(),
            node: 1,
            workload: kind.name().to_owned(),
            key: key.to_owned(),
            call: call.clone(),
            called_us,
            ended_us: called_us + 10,
            outcome: outcome.clone(),
        })
        .collect()
}

fn found(kind: WorkloadKind, operations: &[(Call, Outcome)]) -> Findings {
    judge(kind, &history(kind, "key", operations))
}

#[test]
fn registers_show_stale_reads_and_refused_writes_that_happened() {
    let kind = WorkloadKind::Register;
    let write = |value, outcome| (Call::Write { value }, outcome);
    let done = || ok(Answer::Done);
    let good = [write(1, done()), write(2, unknown()), (LINEARIZABLE, value(1, 0))];
    assert!(found(kind, &good).passes());
    let stale = [write(1, done()), write(2, done()), (LINEARIZABLE, value(1, 0))];
    assert_eq!(found(kind, &stale).stale, 1);
    let refused = [write(1, failed()), (LINEARIZABLE, value(1, 0))];
    assert_eq!(found(kind, &refused).stale, 1);
}

#[test]
fn lists_show_lost_and_double_items_and_broken_chains() {
    let kind = WorkloadKind::Append;
    let append = |item| (Call::Append { item }, ok(Answer::Done));
    let read = |items: &[u64], previous: &[u64]| {
        let (items, previous) = (items.to_vec(), previous.to_vec());
        (LINEARIZABLE, ok(Answer::Items { items, previous }))
    };
    assert!(found(kind, &[append(1), append(2), read(&[1, 2], &[0, 1])]).passes());
    assert_eq!(found(kind, &[append(1), append(2), read(&[1], &[0])]).lost, 1);
    assert_eq!(found(kind, &[append(1), read(&[1, 1], &[0, 1])]).duplicated, 1);
    assert_eq!(
        found(kind, &[append(1), append(2), read(&[1, 2], &[0, 0])]).stale,
        1
    );
}

#[test]
fn sets_show_lost_double_and_refused_elements() {
    let kind = WorkloadKind::Set;
    let added = |outcome: Outcome, count: u64| {
        let mut events = history(kind, "element-1", &[(Call::Add { size: 1 }, outcome)]);
        let counts = vec![("element-1".to_owned(), count)];
        events.extend(history(
            kind,
            "all",
            &[(LINEARIZABLE, ok(Answer::Elements { counts }))],
        ));
        judge(kind, &events)
    };
    for (outcome, count) in [
        (ok(Answer::Done), 1),
        (unknown(), 0),
        (unknown(), 1),
        (failed(), 0),
    ] {
        assert!(added(outcome.clone(), count).passes(), "{outcome:?} {count}");
    }
    assert_eq!(added(ok(Answer::Done), 0).lost, 1);
    assert_eq!(added(unknown(), 2).duplicated, 1);
    assert_eq!(added(failed(), 1).duplicated, 1);
    let unseen = history(kind, "element-1", &[(Call::Add { size: 1 }, ok(Answer::Done))]);
    assert_eq!(judge(kind, &unseen).undecided, 1);
}

#[test]
fn windows_show_rows_that_are_missing_or_counted_twice() {
    let kind = WorkloadKind::Window;
    let add = |size| (Call::Add { size }, ok(Answer::Done));
    let read = |count, sum| (LINEARIZABLE, ok(Answer::Total { count, sum }));
    assert!(found(kind, &[add(5), add(7), read(2, 12)]).passes());
    assert_eq!(found(kind, &[add(5), add(7), read(1, 5)]).lost, 1);
    assert_eq!(found(kind, &[add(5), add(7), read(3, 17)]).duplicated, 1);
    assert!(!found(kind, &[add(5), add(7), read(2, 10)]).passes());
}

#[test]
fn banks_show_lost_money_torn_transfers_and_old_looks() {
    let kind = WorkloadKind::Bank;
    let transfer = |step, outcome| {
        let call = Call::Transfer {
            step,
            from: 0,
            to: 1,
            amount: 10,
        };
        (call, outcome)
    };
    let look = |fresh, first: i64, second: i64, step| {
        let balances = vec![first, second, 100, 100, 100];
        let steps = vec![step, step, 0, 0, 0];
        (Call::Read { fresh }, ok(Answer::Accounts { balances, steps }))
    };
    let done = || ok(Answer::Done);
    let first = transfer(1, done());
    assert!(found(kind, &[first.clone(), look(Fresh::Linearizable, 90, 110, 1)]).passes());
    assert!(found(kind, &[first.clone(), look(Fresh::Local, 100, 100, 0)]).passes());
    assert!(
        found(
            kind,
            &[
                first.clone(),
                transfer(2, unknown()),
                look(Fresh::Local, 80, 120, 2)
            ]
        )
        .passes()
    );
    for wrong in [
        look(Fresh::Local, 90, 100, 1),
        look(Fresh::Local, 100, 100, 1),
        look(Fresh::Linearizable, 100, 100, 0),
    ] {
        assert_eq!(found(kind, &[first.clone(), wrong.clone()]).stale, 1, "{wrong:?}");
    }
    assert_eq!(found(kind, &[transfer(2, done())]).undecided, 1);
}

#[test]
fn followers_show_answers_that_are_older_than_their_bound_or_their_claim() {
    let kind = WorkloadKind::Follower;
    let write = |value| (Call::Write { value }, ok(Answer::Done));
    let read = |fresh, seen, staleness_us| (Call::Read { fresh }, value(seen, staleness_us));
    // The second write was acknowledged 10 microseconds before the read was called.
    let after_two = |last: (Call, Outcome)| found(kind, &[write(1), write(2), last]);
    assert!(after_two(read(Fresh::Bounded(1), 1, 50)).passes());
    assert!(after_two(read(Fresh::Local, 1, 50)).passes());
    assert!(after_two(read(Fresh::Local, 2, 0)).passes());
    assert_eq!(after_two(read(Fresh::Bounded(1), 1, 5)).stale, 1);
    assert_eq!(after_two(read(Fresh::Local, 1, 5)).stale, 1);
    assert_eq!(after_two(read(Fresh::OwnWrites, 1, 50)).stale, 1);
    assert_eq!(after_two(read(Fresh::Linearizable, 9, 0)).stale, 1);
}
