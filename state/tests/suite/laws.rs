//! The laws of the state machine, for all logs.

use std::collections::BTreeSet;

use proptest::prelude::*;

use covey_state::invariants::violations;
use covey_state::{Change, Decision, Key, MemoryView, Record, Rejection, Request, plan};

use crate::generated;
use crate::world::World;

/// What travels in a snapshot. Bytes tell apart what `==` does not, such as refused rows that hold NaN.
fn snapshot(map: &MemoryView) -> Vec<u8> {
    let entries: Vec<(&Key, &Record)> = map.entries().collect();
    postcard::to_stdvec(&entries).expect("keys and records can be written")
}

fn restore(bytes: &[u8]) -> MemoryView {
    let entries: Vec<(Key, Record)> = postcard::from_bytes(bytes).expect("a snapshot can be read");
    entries.into_iter().collect()
}

fn bytes(decision: &Decision) -> Vec<u8> {
    postcard::to_stdvec(&(&decision.outcome, &decision.changes)).expect("a decision can be written")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_same_request_in_the_same_state_comes_to_the_same_also_after_encoding_both(log in generated::log(60)) {
        let mut world = World::default();
        for request in &log {
            let position = world.next_position();
            let decoded = Request::decode(&request.encode()).expect("what was encoded can be decoded");
            prop_assert_eq!(Request::time_of(&request.encode()).expect("likewise"), request.at);
            let restored = restore(&snapshot(&world.map));
            let elsewhere = plan(&restored, position, &decoded).expect("memory can be read");
            prop_assert_eq!(bytes(&elsewhere), bytes(&world.carry_out(request)));
        }
    }

    #[test]
    fn a_repeat_changes_nothing_and_gets_the_same_answer(log in generated::log(60)) {
        let mut world = World::default();
        for request in &log {
            let first = world.carry_out(request);
            let again = plan(&world.map, world.next_position(), request).expect("memory can be read");
            prop_assert_eq!(&again.outcome, &first.outcome);
            prop_assert_eq!(&again.changes, &Vec::new());
        }
        for request in &log {
            let late = plan(&world.map, world.next_position(), request).expect("memory can be read");
            prop_assert_eq!(&late.changes, &Vec::new(), "{} was carried out twice", request.id);
        }
    }

    #[test]
    fn every_invariant_holds_after_every_request(log in generated::log(80)) {
        let mut world = World::default();
        for request in &log {
            let decision = world.carry_out(request);
            let violations = violations(&world.map);
            prop_assert!(violations.is_empty(), "{:?}: {:?}\n{:?}", request, decision.outcome, violations);
        }
    }

    #[test]
    fn a_decision_touches_no_key_twice(log in generated::log(60)) {
        let mut world = World::default();
        for request in &log {
            let mut touched = BTreeSet::new();
            for change in world.carry_out(request).changes {
                let (Change::Put(key, _) | Change::Delete(key)) = change;
                prop_assert!(touched.insert(key.clone()), "{:?} is touched twice by {:?}", key, request);
            }
        }
    }

    #[test]
    fn a_restored_snapshot_is_the_state_and_the_rest_of_the_log_leads_to_the_same_end(
        log in generated::log(60),
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = cut.index(log.len() + 1);
        let mut world = World::default();
        log[..cut].iter().for_each(|request| drop(world.carry_out(request)));
        let taken = snapshot(&world.map);
        let mut restored = World { map: restore(&taken), index: world.index };
        prop_assert_eq!(snapshot(&restored.map), taken);
        for request in &log[cut..] {
            prop_assert_eq!(bytes(&restored.carry_out(request)), bytes(&world.carry_out(request)));
        }
        prop_assert_eq!(snapshot(&restored.map), snapshot(&world.map));
    }
}

#[test]
fn generated_logs_reach_most_answers() {
    use proptest::strategy::{Strategy, ValueTree};
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let strategy = generated::log(80);
    let mut accepted = BTreeSet::new();
    let mut too_old = 0;
    for _ in 0..600 {
        let log = strategy
            .new_tree(&mut runner)
            .expect("logs can be generated")
            .current();
        let mut world = World::default();
        for request in &log {
            let kind = format!("{:?}", request.command);
            let kind = kind.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
            match world.carry_out(request).outcome {
                Ok(_) => drop(accepted.insert(kind)),
                Err(Rejection::TooOld(_)) => too_old += 1,
                Err(_) => {}
            }
        }
    }
    assert_eq!(accepted.len(), 33, "accepted commands: {accepted:?}");
    assert!(too_old > 50, "{too_old} requests were too old");
}
