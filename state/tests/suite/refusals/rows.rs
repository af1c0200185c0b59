//! Bad rows: refused one by one within a push that is carried out.

use covey_state::answer::Answer;
use covey_state::command::IncomingRow;
use covey_state::{Command, Key, Record, Value};

use crate::samples;
use crate::world::World;

fn world() -> World {
    World::after([Command::InstallSchema(samples::installed(samples::payments(), 1))])
}

/// What a row is told; it must be found among the dead letters with the same reason.
fn refused(change: impl FnOnce(&mut IncomingRow)) -> String {
    let mut world = world();
    let mut row = samples::payment("c1", 0, 1.0);
    change(&mut row);
    let answer = world
        .ask(samples::push(vec![row]))
        .expect("a push with bad rows is carried out");
    let Answer::Rows { accepted: 0, refused } = answer else {
        panic!("{answer:?}")
    };
    let Some(Record::DeadLetter(letter)) = world.get(&Key::DeadLetter(samples::VIEW, world.index, 0)) else {
        panic!("there is no dead letter");
    };
    assert_eq!(letter.reason, refused[0].reason);
    letter.reason
}

#[test]
fn a_push_under_a_schema_that_is_not_installed_is_refused() {
    let mut world = world();
    let push = Command::PushRows {
        view: samples::VIEW,
        schema_version: 2,
        rows: Vec::new(),
    };
    assert_eq!(
        world.refusal(push),
        "schema in g1 (a view can be pushed to when it is active) `v1 version 2` does not exist"
    );
}

#[test]
fn a_push_of_too_many_rows_is_refused() {
    let rows = vec![samples::payment("c1", 0, 1.0); 10_001];
    assert_eq!(
        world().refusal(samples::push(rows)),
        "rows of one command would exceed its limit of 10000"
    );
}

#[test]
fn a_key_is_there_and_of_its_type() {
    assert_eq!(
        refused(|row| row.key[0] = Value::Null),
        "join key `card_id` is null"
    );
    assert_eq!(
        refused(|row| row.key[0] = Value::Int64(7)),
        "join key `card_id` must be string, found int64 7"
    );
    assert_eq!(refused(|row| row.key.clear()), "0 key values for 1 join keys");
    assert_eq!(
        refused(|row| row.key[0] = Value::String("x".repeat(2_000))),
        "join key `card_id` has 2000 bytes, at most 1024 are taken"
    );
}

#[test]
fn values_are_as_many_as_columns_and_of_their_types() {
    assert_eq!(
        refused(|row| drop(row.values.pop())),
        "4 values for the 5 columns of schema version 1"
    );
    assert_eq!(
        refused(|row| row.values[0] = Value::String("much".to_owned())),
        "column `amount` must be float64, found string \"much\""
    );
    assert_eq!(
        refused(|row| row.values[1] = Value::Float64(1.5)),
        "column `count` must be int64, found float64 1.5"
    );
    assert_eq!(
        refused(|row| row.values[0] = Value::Null),
        "column `amount` must not be null"
    );
    assert_eq!(
        refused(|row| row.values[0] = Value::Float64(f64::NAN)),
        "column `amount` must be a finite number, found NaN"
    );
    assert_eq!(
        refused(|row| row.values[0] = Value::Float64(f64::INFINITY)),
        "column `amount` must be a finite number, found inf"
    );
    assert_eq!(
        refused(|row| row.values[0] = Value::Float64(-1e300)),
        format!(
            "column `amount` is aggregated, {} is beyond ±1e290",
            Value::Float64(-1e300)
        )
    );
}

#[test]
fn rules_are_obeyed() {
    assert_eq!(
        refused(|row| row.values[0] = Value::Float64(1e7)),
        "column `amount` must be at most 1000000, found 10000000"
    );
    assert_eq!(
        refused(|row| row.values[1] = Value::Int64(-1)),
        "column `count` must be at least 0, found -1"
    );
    assert_eq!(
        refused(|row| row.values[2] = Value::String("us".to_owned())),
        "column `country` must be one of 2 declared values, found \"us\""
    );
}

#[test]
fn an_event_from_the_future_is_refused_beyond_the_tolerance() {
    let reason = refused(|row| row.event_time = row.event_time.plus_micros(63_000_000));
    assert_eq!(
        reason,
        "event time 1700000063000000us is after the group's clock 1700000002000000us by more than the tolerance of \
         60000000us"
    );
    let mut world = world();
    let row = samples::payment("c1", 62, 1.0);
    let answer = world
        .ask(samples::push(vec![row]))
        .expect("a push is carried out");
    assert_eq!(
        answer,
        Answer::Rows {
            accepted: 1,
            refused: Vec::new()
        }
    );
}

#[test]
fn good_rows_go_in_beside_bad_ones() {
    let mut world = world();
    let mut bad = samples::payment("c1", 0, 1.0);
    bad.values[0] = Value::Null;
    let rows = vec![
        samples::payment("c1", 0, 1.0),
        bad,
        samples::payment("c2", 0, 2.0),
    ];
    let answer = world
        .ask(samples::push(rows))
        .expect("a push with bad rows is carried out");
    let Answer::Rows { accepted, refused } = answer else {
        panic!("{answer:?}")
    };
    assert_eq!((accepted, refused.len(), refused[0].ordinal), (2, 1, 1));
}

#[test]
fn an_integer_fits_a_float_column_and_minus_zero_becomes_zero() {
    let mut world = world();
    let mut integer = samples::payment("c1", 0, 1.0);
    integer.values[0] = Value::Int64(5);
    let rows = vec![integer, samples::payment("c2", 0, -0.0)];
    world.ask(samples::push(rows)).expect("the rows are good");
    let amount = |card: &str| {
        let entity = covey_state::entity::EntityKey::text(card);
        match world.get(&Key::Latest(entity, samples::VIEW)) {
            Some(Record::Row(row)) => row.values[0].clone(),
            other => panic!("{other:?}"),
        }
    };
    assert!(amount("c1").same_bits(&Value::Float64(5.0)));
    assert!(amount("c2").same_bits(&Value::Float64(0.0)));
}
