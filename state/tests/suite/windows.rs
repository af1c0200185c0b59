//! Reads of rows and windows against the plainest computation there is: all rows, one by one.

use proptest::prelude::*;

use covey_state::catalog::{Column, FeatureView, InstalledView};
use covey_state::command::IncomingRow;
use covey_state::entity::EntityKey;
use covey_state::exact_sum::ExactSum;
use covey_state::read::{AsOf, RowStatus, aggregates, latest_row, row_status};
use covey_state::row::RowVersion;
use covey_state::window::{Aggregate, DAY, Function, HOUR, MINUTE};
use covey_state::{Command, DataType, Key, Record, Row, Timestamp, Value};

use crate::samples;
use crate::world::{START, World};

const FUNCTIONS: [Function; 6] = [
    Function::Count,
    Function::Sum,
    Function::Mean,
    Function::Min,
    Function::Max,
    Function::Last,
];
const WINDOWS: [i64; 9] = [
    5 * MINUTE,
    10 * MINUTE,
    3 * HOUR,
    12 * HOUR - 5 * MINUTE,
    12 * HOUR,
    24 * HOUR,
    11 * DAY,
    12 * DAY,
    90 * DAY,
];

/// A view with every function over every window of two columns.
fn every_window() -> FeatureView {
    let column = |name: &str, data_type| Column {
        name: name.to_owned(),
        data_type,
        nullable: true,
        rules: Vec::new(),
    };
    let mut aggregates = Vec::new();
    for window in WINDOWS {
        for function in FUNCTIONS {
            aggregates.push(samples::aggregate("x", function, window));
            aggregates.push(samples::aggregate("n", function, window));
        }
    }
    FeatureView {
        columns: vec![column("x", DataType::Float64), column("n", DataType::Int64)],
        aggregates,
        ..samples::payments()
    }
}

/// A row before it is pushed: card, microseconds before the start, values.
type Fact = (u8, i64, Option<f64>, Option<i64>);

fn fact() -> impl Strategy<Value = Fact> {
    // Moments crowd at the edges of hops and windows, where mistakes would be.
    let edge = prop::sample::select(vec![0, 5 * MINUTE, HOUR, 12 * HOUR, DAY, 12 * DAY, 90 * DAY]);
    let ago = prop_oneof![
        2 => (edge, -2i64..3).prop_map(|(edge, off)| START.micros() - START.floor_to(DAY).micros() + edge + off),
        1 => 0..2 * HOUR,
        1 => 0..100 * DAY,
    ];
    let number = prop_oneof![
        -1e9f64..1e9,
        Just(0.1),
        Just(-0.0),
        Just(1e17),
        Just(-1e17),
        Just(1e-300)
    ];
    (
        0u8..2,
        ago,
        prop::option::weighted(0.9, number),
        prop::option::weighted(0.8, any::<i64>()),
    )
}

fn row((card, ago, x, n): &Fact, created: usize) -> IncomingRow {
    IncomingRow {
        key: vec![Value::String(format!("c{card}"))],
        event_time: START.plus_micros(-ago),
        created_time: Timestamp::from_micros(created as i64),
        values: vec![
            x.map_or(Value::Null, Value::Float64),
            n.map_or(Value::Null, Value::Int64),
        ],
    }
}

/// A group that has taken the facts in the order of `order`, some per command.
fn taken(facts: &[Fact], order: &[usize], per_command: usize) -> World {
    let mut world = World::after([Command::InstallSchema(samples::installed(every_window(), 1))]);
    for part in order.chunks(per_command) {
        let rows = part
            .iter()
            .map(|position| row(&facts[*position], *position))
            .collect();
        world.ask(samples::push(rows)).expect("the rows are good");
    }
    world
}

fn rows_of(world: &World, card: &EntityKey) -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, record) in world.map.entries() {
        if let (Key::History(entity, ..), Record::Row(row)) = (key, record)
            && entity == card
        {
            rows.push(row.clone());
        }
    }
    rows
}

/// The aggregate over rows that are in its window, one by one.
fn counted(rows: &[Row], aggregate: &Aggregate, as_of: AsOf) -> Value {
    let span = aggregate.span(as_of.at);
    let position = usize::from(aggregate.column == "n");
    let mut numbers: Vec<(RowVersion, f64)> = rows
        .iter()
        .filter(|row| row.event_time >= span.tail && row.event_time <= as_of.at)
        .filter(|row| as_of.through.is_none_or(|through| row.log_index <= through))
        .filter_map(|row| Some((row.version(), row.values[position].as_number()?)))
        .collect();
    numbers.sort_by_key(|(version, _)| *version);
    let mut sum = ExactSum::default();
    numbers.iter().for_each(|(_, number)| sum.add(*number));
    let number = |number: Option<f64>| number.map_or(Value::Null, Value::Float64);
    let values = numbers.iter().map(|(_, number)| *number);
    match aggregate.function {
        Function::Count => Value::Int64(numbers.len() as i64),
        Function::Sum => Value::Float64(sum.value()),
        Function::Mean => number((!numbers.is_empty()).then(|| sum.value() / numbers.len() as f64)),
        Function::Min => number(values.reduce(f64::min)),
        Function::Max => number(values.reduce(f64::max)),
        Function::Last => number(numbers.last().map(|(_, number)| *number)),
    }
}

fn read(world: &World, view: &InstalledView, card: &EntityKey, as_of: AsOf) -> Vec<Value> {
    let wanted: Vec<usize> = (0..view.definition.aggregates.len()).collect();
    aggregates(&world.map, view, card, as_of, &wanted).expect("memory can be read")
}

fn assert_same_bits(read: &[Value], counted: &[Value], view: &FeatureView) -> Result<(), TestCaseError> {
    for ((read, counted), aggregate) in read.iter().zip(counted).zip(&view.aggregates) {
        prop_assert!(
            read.same_bits(counted),
            "{} is {}, not {}",
            aggregate.name(),
            read,
            counted
        );
    }
    Ok(())
}

/// Facts with an order in which they may come instead of their own.
fn facts() -> impl Strategy<Value = (Vec<Fact>, Vec<usize>)> {
    prop::collection::vec(fact(), 1..60).prop_flat_map(|facts| {
        let order: Vec<usize> = (0..facts.len()).collect();
        (Just(facts), Just(order).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_window_is_the_same_bits_as_its_rows_counted_one_by_one(
        (facts, order) in facts(),
        per_command in 1usize..20,
        ago in prop_oneof![0i64..3 * HOUR, 0..100 * DAY],
        through in prop::option::of(0u64..30),
    ) {
        let world = taken(&facts, &order, per_command);
        let view = samples::installed(every_window(), 1);
        let card = EntityKey::text("c0");
        let as_of = AsOf { at: START.plus_micros(-ago), through };
        let rows = rows_of(&world, &card);
        let counted: Vec<Value> =
            view.definition.aggregates.iter().map(|aggregate| counted(&rows, aggregate, as_of)).collect();
        assert_same_bits(&read(&world, &view, &card, as_of), &counted, &view.definition)?;
    }

    #[test]
    fn the_order_in_which_rows_come_changes_no_bit_of_a_window(
        (facts, order) in facts(),
        per_command in 1usize..20,
        ago in 0i64..3 * DAY,
    ) {
        let in_order: Vec<usize> = (0..facts.len()).collect();
        let (one, other) = (taken(&facts, &in_order, 7), taken(&facts, &order, per_command));
        let view = samples::installed(every_window(), 1);
        let (card, as_of) = (EntityKey::text("c1"), AsOf { at: START.plus_micros(-ago), through: None });
        let expected = read(&one, &view, &card, as_of);
        assert_same_bits(&read(&other, &view, &card, as_of), &expected, &view.definition)?;
    }

    #[test]
    fn a_row_as_of_a_moment_and_an_index_is_the_newest_that_was_there(
        (facts, order) in facts(),
        per_command in 1usize..20,
        ago in prop::option::of(prop_oneof![0i64..3 * HOUR, 0..100 * DAY]),
        through in prop::option::of(0u64..30),
    ) {
        let world = taken(&facts, &order, per_command);
        let card = EntityKey::text("c0");
        let at = ago.map(|ago| START.plus_micros(-ago));
        let expected = rows_of(&world, &card)
            .into_iter()
            .filter(|row| at.is_none_or(|at| row.event_time <= at))
            .filter(|row| through.is_none_or(|through| row.log_index <= through))
            .max_by_key(Row::version);
        let found = latest_row(&world.map, &card, samples::VIEW, at, through).expect("memory can be read");
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_column_that_is_aggregated_later_counts_the_rows_from_before() {
    let mut earlier = every_window();
    earlier.aggregates.retain(|aggregate| aggregate.column == "x");
    let mut world = World::after([Command::InstallSchema(samples::installed(earlier, 1))]);
    let facts: Vec<Fact> = (0..20i64)
        .map(|number| (0, number * HOUR, Some(1.5), Some(number)))
        .collect();
    let rows = |facts: &[Fact]| {
        facts
            .iter()
            .enumerate()
            .map(|(created, fact)| row(fact, created))
            .collect::<Vec<_>>()
    };
    world
        .ask(samples::push(rows(&facts[..12])))
        .expect("the rows are good");
    let later = samples::installed(every_window(), 2);
    world
        .ask(Command::InstallSchema(later.clone()))
        .expect("columns of a tile may be appended");
    let card = EntityKey::text("c0");
    for _ in 0..2 {
        let as_of = AsOf {
            at: START,
            through: None,
        };
        let stored = rows_of(&world, &card);
        let read = read(&world, &later, &card, as_of);
        for (value, aggregate) in read.iter().zip(&later.definition.aggregates) {
            assert!(
                value.same_bits(&counted(&stored, aggregate, as_of)),
                "{} is {value}",
                aggregate.name()
            );
        }
        world
            .ask(samples::push(rows(&facts[8..])))
            .expect("the rows are good");
    }
}

#[test]
fn a_row_lives_through_its_last_moment() {
    let world = taken(&[(0, 0, Some(1.0), None)], &[0], 1);
    let card = EntityKey::text("c0");
    let row = latest_row(&world.map, &card, samples::VIEW, None, None).expect("memory can be read");
    let row = row.expect("the row is there");
    assert_eq!(
        row_status(&row, Some(DAY), START.plus_micros(DAY)),
        RowStatus::Present
    );
    assert_eq!(
        row_status(&row, Some(DAY), START.plus_micros(DAY + 1)),
        RowStatus::Expired
    );
    assert_eq!(row_status(&row, None, Timestamp::MAX), RowStatus::Present);
}
