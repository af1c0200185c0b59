//! What is kept of drift and for how long: ids that stay taken, windows that are forgotten, lives of a node.

use covey_state::answer::Answer;
use covey_state::id::NodeId;
use covey_state::invariants::violations;
use covey_state::monitor::{DriftReport, FlushSource, LoggedPrediction, WindowCounts};
use covey_state::plan::{WINDOWS_KEPT_MAX, WINDOWS_MAX};
use covey_state::registry::VersionId;
use covey_state::window::HOUR;
use covey_state::{Command, Key, Record, Timestamp};

use crate::samples;
use crate::world::{START, World};

/// A flush of one prediction.
fn predicted(sequence: u64, prediction: LoggedPrediction) -> Command {
    Command::FlushDrift {
        deployment: "fraud-live".to_owned(),
        source: FlushSource {
            node: NodeId::new(1),
            incarnation: 1,
        },
        sequence,
        windows: Vec::new(),
        predictions: vec![prediction],
    }
}

#[test]
fn a_prediction_that_comes_again_after_its_label_is_not_labelled_again() {
    let prediction = |at| LoggedPrediction {
        id: "q1".to_owned(),
        version: samples::version_id(1),
        score: 0.5,
        at,
    };
    let labels = || Command::RecordLabels {
        deployment: "fraud-live".to_owned(),
        window_micros: HOUR,
        labels: vec![("q1".to_owned(), 1.0)],
    };
    let mut world = World::after([predicted(1, prediction(START)), labels()]);
    let later = START.plus_micros(2 * HOUR);
    world.ask(predicted(2, prediction(later))).expect("it is counted");
    assert_eq!(
        world.ask(labels()),
        Ok(Answer::Labels {
            joined: 0,
            unmatched: 1
        })
    );
    let outcome = Key::Outcome("fraud-live".to_owned(), later.floor_to(HOUR), "q1".to_owned());
    assert_eq!(world.get(&outcome), None);
}

#[test]
fn the_oldest_windows_are_forgotten_with_their_verdicts_and_the_newest_stay() {
    let of = |hour: u64| START.floor_to(HOUR).plus_micros(hour.cast_signed() * HOUR);
    let counts = || WindowCounts {
        rows: 1,
        ..WindowCounts::default()
    };
    let flush = |sequence: u64, hours: std::ops::Range<u64>| Command::FlushDrift {
        deployment: "fraud-live".to_owned(),
        source: FlushSource {
            node: NodeId::new(1),
            incarnation: 1,
        },
        sequence,
        windows: hours
            .map(|hour| (samples::version_id(1), of(hour), counts()))
            .collect(),
        predictions: Vec::new(),
    };
    let report = DriftReport {
        rows: 1,
        scores: Vec::new(),
        drifted: false,
        scored_at: START,
    };
    let verdict = Command::ReportDrift {
        deployment: "fraud-live".to_owned(),
        version: samples::version_id(1),
        window: of(0),
        report,
        alert: None,
    };
    let mut world = World::after([flush(1, 0..1), verdict]);
    let step = WINDOWS_MAX as u64;
    for number in 0..=WINDOWS_KEPT_MAX / step {
        world
            .ask(flush(number + 2, number * step + 1..(number + 1) * step + 1))
            .expect("it is counted");
    }
    let kept = |key: fn(String, Timestamp, VersionId) -> Key, hour| {
        world
            .get(&key("fraud-live".to_owned(), of(hour), samples::version_id(1)))
            .is_some()
    };
    assert!(!kept(Key::DriftWindow, 0) && !kept(Key::DriftReport, 0) && !kept(Key::DriftWindow, 1_000));
    let newest = WINDOWS_KEPT_MAX + step;
    assert!(kept(Key::DriftWindow, 1_001) && kept(Key::DriftWindow, newest) && kept(Key::DriftOpen, newest));
    assert_eq!(violations(&world.map), []);
}

#[test]
fn a_flush_of_an_earlier_life_of_a_node_that_comes_late_is_not_counted() {
    let flush = |incarnation, sequence| Command::FlushDrift {
        deployment: "fraud-live".to_owned(),
        source: FlushSource {
            node: NodeId::new(1),
            incarnation,
        },
        sequence,
        windows: vec![(
            samples::version_id(1),
            START,
            WindowCounts {
                rows: 1,
                ..WindowCounts::default()
            },
        )],
        predictions: Vec::new(),
    };
    let world = World::after([flush(1, 1), flush(2, 1), flush(1, 2), flush(2, 2)]);
    let window = Key::DriftWindow("fraud-live".to_owned(), START, samples::version_id(1));
    let Some(Record::DriftWindow(window)) = world.get(&window) else {
        panic!("the window is there");
    };
    assert_eq!(window.counts.rows, 3);
}
