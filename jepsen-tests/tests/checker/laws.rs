//! What the checker says of right histories, of the smallest wrong ones, and when it may not go on.

use std::collections::BTreeMap;
use std::time::Duration;

use covey_jepsen::checker::{Exhausted, Limits, Operation, Verdict, check, check_each};
use covey_jepsen::model::{
    AppendList, CasRegister, Counter, CounterAnswer, CounterCall, RegisterAnswer, RegisterCall,
};

use crate::generated::{self, Shape};

#[test]
fn what_right_objects_answered_is_linearizable() {
    for seed in 0..100 {
        let shape = Shape {
            clients: 6,
            operations: 150,
            unknown: 0.05,
        };
        let verdict = check(&CasRegister, &generated::register(seed, shape), Limits::default());
        assert_eq!(verdict, Verdict::Linearizable, "seed {seed}");
        let history = AppendList::settled(generated::list(seed, shape));
        let verdict = check(&AppendList, &history, Limits::default());
        assert_eq!(verdict, Verdict::Linearizable, "seed {seed}");
    }
}

#[test]
fn an_operation_without_an_outcome_may_take_effect_late_or_never() {
    let open = Operation::unknown(RegisterCall::Write(7), 0);
    let read = |value, at| Operation::answered(RegisterCall::Read, at, RegisterAnswer::Value(value), at + 1);
    let limits = Limits::default();
    let never = [open.clone(), read(0, 10), read(0, 20)];
    assert!(check(&CasRegister, &never, limits).passes());
    let late = [open.clone(), read(0, 10), read(7, 20)];
    assert!(check(&CasRegister, &late, limits).passes());
    let once = [open.clone(), read(7, 10), read(0, 20)];
    assert!(!check(&CasRegister, &once, limits).passes());
    let before_its_call = [
        Operation {
            called_at: 30,
            ..open
        },
        read(7, 10),
    ];
    assert!(!check(&CasRegister, &before_its_call, limits).passes());
}

#[test]
fn a_violation_names_the_operation_that_has_no_place_and_those_before_it() {
    let history = [
        Operation::answered(CounterCall::Add(5), 0, CounterAnswer::Done, 10),
        Operation::answered(
            CounterCall::Read,
            20,
            CounterAnswer::Total { count: 1, sum: 5 },
            30,
        ),
        Operation::answered(CounterCall::Add(5), 35, CounterAnswer::Done, 40),
        Operation::answered(
            CounterCall::Read,
            50,
            CounterAnswer::Total { count: 3, sum: 15 },
            60,
        ),
    ];
    match check(&Counter, &history, Limits::default()) {
        Verdict::Violation(found) => assert_eq!((found.order, found.stuck_at), (vec![0, 1, 2], 3)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_check_without_time_or_memory_does_not_pass() {
    let shape = Shape {
        clients: 8,
        operations: 400,
        unknown: 0.1,
    };
    let history = generated::register(1, shape);
    let hurried = Limits {
        time: Duration::ZERO,
        ..Limits::default()
    };
    let verdict = check(&CasRegister, &history, hurried);
    assert_eq!(verdict, Verdict::Unknown(Exhausted::Time));
    assert!(!verdict.passes());
    let forgetful = Limits {
        states: 10,
        ..Limits::default()
    };
    assert_eq!(
        check(&CasRegister, &history, forgetful),
        Verdict::Unknown(Exhausted::States)
    );
}

#[test]
fn keys_are_judged_by_themselves() {
    let write = Operation::answered(RegisterCall::Write(1), 0, RegisterAnswer::Done, 10);
    let read = |value| Operation::answered(RegisterCall::Read, 20, RegisterAnswer::Value(value), 30);
    let histories = BTreeMap::from([
        ("good", vec![write.clone(), read(1)]),
        ("stale", vec![write, read(0)]),
        ("untouched", vec![read(0)]),
    ]);
    let verdicts = check_each(&CasRegister, &histories, Limits::default());
    let passes: Vec<(&str, bool)> = verdicts
        .iter()
        .map(|(key, verdict)| (*key, verdict.passes()))
        .collect();
    assert_eq!(passes, [("good", true), ("stale", false), ("untouched", true)]);
}

#[test]
fn settling_open_ends_changes_no_verdict() {
    let shape = Shape {
        clients: 4,
        operations: 16,
        unknown: 0.3,
    };
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..1_500 {
        let mut random = generated::random(seed);
        let mut registers = generated::register(seed, shape);
        let mut lists = generated::list(seed, shape);
        if seed % 2 == 0 {
            generated::change_answers(&mut registers, &mut random);
            generated::change_lists(&mut lists, &mut random);
        }
        let limits = Limits::default();
        let plain = check(&CasRegister, &registers, limits).passes();
        let settled = check(&CasRegister, &CasRegister::settled(registers), limits).passes();
        assert_eq!(plain, settled, "registers of seed {seed}");
        let list = check(&AppendList, &lists, limits).passes();
        let settled = check(&AppendList, &AppendList::settled(lists), limits).passes();
        assert_eq!(list, settled, "lists of seed {seed}");
        right += usize::from(plain) + usize::from(list);
        wrong += usize::from(!plain) + usize::from(!list);
    }
    assert!(right > 500 && wrong > 300, "{right} right, {wrong} wrong");
}
