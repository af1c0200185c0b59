//! Repeats, late requests and what is forgotten.

use covey_state::answer::Answer;
use covey_state::request::RETENTION_MICROS;
use covey_state::window::SECOND;
use covey_state::{Command, Key, Record, Request, RequestId};

use crate::samples;
use crate::world::{START, World};

fn unique(number: u128, seconds: i64, command: Command) -> Request {
    let at = START.plus_micros(seconds * SECOND);
    Request {
        id: RequestId::Unique(number, 0),
        at,
        by: "ada".to_owned(),
        command,
    }
}

fn numbered(sequence: u64, seconds: i64) -> Request {
    let id = RequestId::Producer("sensor".to_owned(), sequence, 0);
    Request {
        id,
        ..unique(0, seconds, samples::create_version())
    }
}

#[test]
fn a_refused_request_is_refused_again_also_when_it_would_be_fine_by_now() {
    let mut world = World::default();
    let early = unique(1, 0, samples::create_version());
    let refusal = world.carry_out(&early).outcome;
    world
        .carry_out(&unique(2, 1, samples::create_model()))
        .outcome
        .expect("it is new");
    assert_eq!(world.carry_out(&early).outcome, refusal);
}

#[test]
fn an_unknown_request_from_before_the_retention_is_too_old() {
    let mut world = World::default();
    world
        .carry_out(&unique(1, 0, samples::create_model()))
        .outcome
        .expect("it is new");
    let day = RETENTION_MICROS / SECOND;
    world
        .carry_out(&unique(2, day + 10, samples::create_version()))
        .outcome
        .expect("the model is there");
    let told = world.carry_out(&unique(3, 9, samples::create_version())).outcome;
    assert_eq!(
        told.expect_err("it may be a repeat").to_string(),
        "request 00000000000000000000000000000003.0 is older than the de-duplication window and may have been carried \
         out already"
    );
    let just_young_enough = world.carry_out(&unique(4, 10, samples::create_version())).outcome;
    assert_eq!(just_young_enough, Ok(Answer::Number(2)));
}

#[test]
fn a_producers_forgotten_sequence_is_too_old_whatever_time_it_carries() {
    let mut world = World::after([samples::create_model()]);
    let day = RETENTION_MICROS / SECOND;
    assert_eq!(world.carry_out(&numbered(5, 2)).outcome, Ok(Answer::Number(1)));
    // The next requests forget the first ones, two at a time.
    assert_eq!(
        world.carry_out(&numbered(6, day + 60)).outcome,
        Ok(Answer::Number(2))
    );
    let floor = world.get(&Key::ProducerFloor("sensor".to_owned()));
    assert_eq!(floor, Some(Record::Number(5)));
    for sequence in [4, 5] {
        let told = world.carry_out(&numbered(sequence, day + 61)).outcome;
        assert!(told.is_err(), "sequence {sequence} was carried out: {told:?}");
    }
    assert_eq!(
        world.carry_out(&numbered(6, day + 62)).outcome,
        Ok(Answer::Number(2))
    );
    assert_eq!(world.carry_out(&numbered(7, 3)).outcome, Ok(Answer::Number(3)));
}

#[test]
fn the_clock_never_goes_back_and_dates_what_is_made() {
    let mut world = World::default();
    world
        .carry_out(&unique(1, 100, samples::create_model()))
        .outcome
        .expect("it is new");
    world
        .carry_out(&unique(2, 50, samples::create_version()))
        .outcome
        .expect("the model is there");
    assert_eq!(
        world.get(&Key::Clock),
        Some(Record::Time(START.plus_micros(100 * SECOND)))
    );
    match world.get(&Key::ModelVersion("fraud".to_owned(), 1)) {
        Some(Record::ModelVersion(version)) => {
            assert_eq!(version.created_at, START.plus_micros(100 * SECOND))
        }
        other => panic!("{other:?}"),
    }
}
