//! The verdicts of others: `stateright` on small histories of registers, `adya` on histories of lists.

use covey_jepsen::checker::{Limits, Operation, Verdict, check};
use covey_jepsen::model::{AppendList, CasRegister, ListAnswer, ListCall, RegisterAnswer, RegisterCall};
use serde_json::{Value, json};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use crate::generated::{self, ListHistory, RegisterHistory, Shape};

/// The register again, as `stateright` wants it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Register(u64);

impl SequentialSpec for Register {
    type Op = RegisterCall;
    type Ret = RegisterAnswer;

    fn invoke(&mut self, call: &RegisterCall) -> RegisterAnswer {
        match call {
            RegisterCall::Read => RegisterAnswer::Value(self.0),
            RegisterCall::Write(value) => {
                self.0 = *value;
                RegisterAnswer::Done
            }
            RegisterCall::CompareAndSet { expected, new } if *expected == self.0 => {
                self.0 = *new;
                RegisterAnswer::Done
            }
            RegisterCall::CompareAndSet { .. } => RegisterAnswer::Mismatch,
        }
    }
}

/// The moments of a history in order: which operation begins, or ends.
fn moments<C, A>(history: &[Operation<C, A>]) -> Vec<(usize, bool)> {
    let mut moments = Vec::new();
    for (number, operation) in history.iter().enumerate() {
        moments.push((operation.called_at, number, false));
        moments.extend(operation.end.as_ref().map(|(_, at)| (*at, number, true)));
    }
    moments.sort_unstable();
    moments
        .into_iter()
        .map(|(_, number, is_end)| (number, is_end))
        .collect()
}

/// Every operation is a thread of its own: real time alone orders them, and those that never end retire theirs.
fn stateright_passes(history: &RegisterHistory) -> bool {
    let mut tester = LinearizabilityTester::new(Register::default());
    for (number, is_end) in moments(history) {
        let operation = &history[number];
        match (&operation.end, is_end) {
            (Some((answer, _)), true) => tester.on_return(number, *answer).unwrap(),
            _ => tester.on_invoke(number, operation.call).unwrap(),
        };
    }
    tester.is_consistent()
}

#[test]
fn stateright_agrees_on_small_histories_right_and_wrong() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..3_000 {
        let shape = Shape {
            clients: 3,
            operations: 7,
            unknown: 0.2,
        };
        let mut history = generated::register(seed, shape);
        let mut random = generated::random(seed);
        generated::change_answers(&mut history, &mut random);
        let ours = check(&CasRegister, &history, Limits::default());
        assert_eq!(
            ours.passes(),
            stateright_passes(&history),
            "seed {seed}: {history:#?}"
        );
        assert!(!matches!(ours, Verdict::Unknown(_)));
        match ours.passes() {
            true => right += 1,
            false => wrong += 1,
        }
    }
    assert!(right >= 500 && wrong >= 500, "{right} right, {wrong} wrong");
}

fn adya_passes(history: &ListHistory) -> bool {
    let transaction = |number: usize, is_end: bool| -> Value {
        match (&history[number].call, &history[number].end) {
            (ListCall::Append(item), _) => json!([["append", "list", item]]),
            (ListCall::Read, Some((ListAnswer::Items(items), _))) if is_end => json!([["r", "list", items]]),
            (ListCall::Read, _) => json!([["r", "list", null]]),
        }
    };
    let lines: Vec<String> = moments(history)
        .into_iter()
        .map(|(number, is_end)| {
            let kind = if is_end { "ok" } else { "invoke" };
            json!({"type": kind, "process": number, "value": transaction(number, is_end)}).to_string()
        })
        .collect();
    let parsed = adya::History::from_json(&lines.join("\n")).unwrap();
    let report = adya::check(&parsed, adya::Workload::ListAppend, &adya::Opts::default());
    assert_ne!(report.valid, adya::Valid::Unknown, "{:?}", report.anomaly_types);
    report.valid == adya::Valid::True
}

#[test]
fn adya_finds_no_fault_in_what_passes_and_what_it_finds_does_not_pass() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..600 {
        let shape = Shape {
            clients: 4,
            operations: 30,
            unknown: 0.05,
        };
        let mut history = generated::list(seed, shape);
        let mut random = generated::random(seed);
        if seed % 2 == 0 {
            generated::change_lists(&mut history, &mut random);
        }
        let ours = check(
            &AppendList,
            &AppendList::settled(history.clone()),
            Limits::default(),
        )
        .passes();
        let theirs = adya_passes(&history);
        // It knows nothing of appends that no read has seen, so it may pass what does not pass here, never the reverse.
        assert!(theirs || !ours, "seed {seed}: {history:#?}");
        right += usize::from(ours);
        wrong += usize::from(!theirs);
    }
    assert!(
        right >= 200 && wrong >= 100,
        "{right} right, {wrong} found wrong by both"
    );
}
