//! Sequences of requests as a cluster might see them: sensible and senseless commands, repeats, late ones, and clocks
//! that jump by days.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::{Index, select};

use covey_state::command::{IncomingRow, Removable};
use covey_state::id::{GroupId, NodeId};
use covey_state::monitor::{Alert, DriftReport, FeatureCounts, FlushSource, LoggedPrediction, WindowCounts};
use covey_state::namespace::Policy;
use covey_state::pipeline::Stage;
use covey_state::topology::{NodeState, Placement};
use covey_state::window::{DAY, Function, HOUR, MINUTE};
use covey_state::{Command, Request, RequestId, Timestamp, Value};

use crate::samples;
use crate::world::START;

/// What comes next in a log.
#[derive(Debug, Clone)]
enum Entry {
    /// A new request: its command, how far its time moves on or lags, and whether a producer numbers it.
    New(Box<Command>, i64, bool),
    /// An earlier request once more.
    Again(Index),
}

/// A log of up to `length` requests, with repeats.
pub(crate) fn log(length: usize) -> impl Strategy<Value = Vec<Request>> {
    let time = prop_oneof![8 => 0..10 * MINUTE, 1 => Just(-2 * DAY), 1 => 0..2 * DAY];
    let new = (command(), time, any::<bool>());
    let entry = prop_oneof![
        8 => new.prop_map(|(command, time, numbered)| Entry::New(Box::new(command), time, numbered)),
        1 => any::<Index>().prop_map(Entry::Again),
    ];
    (any::<bool>(), prop::collection::vec(entry, 1..length)).prop_map(|(prepared, entries)| {
        let mut requests: Vec<Request> = Vec::new();
        let mut clock = START;
        let prelude = if prepared { samples::catalog() } else { Vec::new() };
        let prelude = prelude
            .into_iter()
            .map(|command| Entry::New(Box::new(command), 1, false));
        for entry in prelude.chain(entries) {
            let request = match entry {
                Entry::Again(index) if !requests.is_empty() => index.get(&requests).clone(),
                Entry::Again(_) => continue,
                Entry::New(command, time, numbered) => {
                    let at = clock.plus_micros(time);
                    clock = clock.max(at);
                    Request {
                        id: id(requests.len(), numbered),
                        at,
                        by: "ada".to_owned(),
                        command: *command,
                    }
                }
            };
            requests.push(request);
        }
        requests
    })
}

fn id(position: usize, numbered: bool) -> RequestId {
    if numbered {
        let producer = format!("p{}", position % 2);
        RequestId::Producer(producer, position as u64 + 1, 0)
    } else {
        RequestId::Unique(position as u128, 0)
    }
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => topology(),
        2 => catalog(),
        4 => rows(),
        3 => registry(),
        3 => job(),
        3 => drift(),
        2 => pipeline(),
    ]
}

fn topology() -> impl Strategy<Value = Command> {
    let states = [
        NodeState::Active,
        NodeState::Draining,
        NodeState::Decommissioning,
        NodeState::Removed,
    ]
    .to_vec();
    let members = || prop::collection::btree_set((1u64..5).prop_map(NodeId::new), 0..4);
    let placement = (
        members(),
        members(),
        prop::option::of((1u64..5).prop_map(NodeId::new)),
    )
        .prop_map(|(voters, learners, preferred_leader)| Placement {
            revision: 0,
            voters,
            learners,
            preferred_leader,
            ..Placement::default()
        });
    let policy = select(
        ["eu", "us"]
            .map(str::to_owned)
            .into_iter()
            .flat_map(|home| {
                let (zone, region) = (
                    Policy::SurviveZone { home: home.clone() },
                    Policy::SurviveRegion { home },
                );
                [Policy::Anywhere, zone, region]
            })
            .collect::<Vec<_>>(),
    );
    prop_oneof![
        1 => Just(samples::init()),
        2 => (1u64..5).prop_map(|number| Command::RegisterNode(samples::node(number))),
        1 => (1u64..5, 1u64..5).prop_map(|(id, spec)| Command::UpdateNode(NodeId::new(id), samples::node(spec))),
        3 => (1u64..5, select(states)).prop_map(|(id, state)| Command::SetNodeState(NodeId::new(id), state)),
        3 => (0u64..4, 0u64..4, placement).prop_map(|(group, expected, placement)| Command::SetPlacement {
            group: GroupId::new(group),
            expected,
            placement,
        }),
        2 => (select(vec!["default", "cards", "shops"]), policy, prop::option::of(1u64..4)).prop_map(
            |(name, policy, groups)| Command::PutNamespace { name: name.to_owned(), policy, groups }
        ),
        2 => (1u64..6, 1u64..5).prop_map(|(group, node)| Command::FoundGroup {
            group: GroupId::new(group),
            node: NodeId::new(node),
        }),
        1 => (1u32..4).prop_map(|replicas| Command::PutDeployment(samples::deployment(replicas))),
        1 => (1u64..4, prop::collection::vec((1u64..5).prop_map(NodeId::new), 0..3)).prop_map(
            |(expected, placement)| Command::PlaceDeployment {
                name: "fraud-live".to_owned(),
                expected,
                placement,
            }
        ),
    ]
}

/// The view as declared, and successors and strangers of it.
fn shapes() -> impl Strategy<Value = covey_state::catalog::FeatureView> {
    (0usize..5).prop_map(|shape| {
        let mut view = samples::payments();
        match shape {
            0 => {}
            1 => view
                .aggregates
                .push(samples::aggregate("present", Function::Count, 24 * HOUR)),
            2 => view.aggregates.truncate(1),
            3 => drop(view.columns.remove(0)),
            _ => view.ttl_micros = None,
        }
        view
    })
}

fn catalog() -> impl Strategy<Value = Command> {
    let removable = [
        Removable::Service,
        Removable::Deployment,
        Removable::Monitor,
        Removable::Pipeline,
    ]
    .to_vec();
    let names = ["fraud", "fraud-live", "fraud-drift", "retrain"]
        .map(str::to_owned)
        .to_vec();
    prop_oneof![
        1 => Just(Command::PutEntity(samples::card())),
        3 => shapes().prop_map(Command::PutView),
        3 => (shapes(), 1u32..4).prop_map(|(view, version)| Command::InstallSchema(samples::installed(view, version))),
        1 => (1u32..4).prop_map(|schema_version| Command::ActivateView {
            name: "payments".to_owned(),
            schema_version,
        }),
        1 => Just(Command::PutService(samples::service())),
        1 => Just(Command::PutMonitor(samples::monitor())),
        1 => Just(Command::PutPipeline(samples::pipeline())),
        1 => (select(removable), select(names)).prop_map(|(what, name)| Command::Remove(what, name)),
    ]
}

fn rows() -> impl Strategy<Value = Command> {
    let odd = prop_oneof![
        Just(Value::Null),
        Just(Value::Float64(f64::NAN)),
        Just(Value::Float64(-0.0)),
        Just(Value::Int64(3)),
        Just(Value::String("fr".to_owned())),
    ];
    let odd = prop::option::weighted(0.3, (0usize..5, odd));
    let row = (0u8..3, -40i64 * 86_400..7_200, 0i64..3, -1e3f64..1e3, odd).prop_map(
        |(card, seconds, created, amount, odd)| {
            let mut row: IncomingRow = samples::payment(&format!("c{card}"), seconds, amount);
            row.created_time = START.plus_micros(created);
            if let Some((position, value)) = odd {
                row.values[position] = value;
            }
            row
        },
    );
    (prop::collection::vec(row, 0..12), 1u32..3).prop_map(|(rows, schema_version)| Command::PushRows {
        view: samples::VIEW,
        schema_version,
        rows,
    })
}

fn registry() -> impl Strategy<Value = Command> {
    let version = || prop::option::of(1u64..5);
    prop_oneof![
        1 => Just(samples::create_model()),
        3 => Just(samples::create_version()),
        4 => (version(), prop::option::of(version()))
            .prop_map(|(version, expected)| samples::set_alias(version, expected)),
        1 => Just(Command::PutDataset(samples::dataset())),
    ]
}

fn job() -> impl Strategy<Value = Command> {
    let id = || "job-1".to_owned();
    prop_oneof![
        2 => Just(samples::submit_job()),
        3 => (1u64..4).prop_map(move |node| Command::ClaimJob { id: id(), node: NodeId::new(node) }),
        6 => (0u64..4, 1u64..4).prop_map(|(epoch, step)| samples::advance_job(epoch, step)),
        1 => (0u64..4).prop_map(move |epoch| Command::FinishJob {
            id: id(),
            epoch,
            version: 1,
            metrics: BTreeMap::new(),
        }),
        1 => (0u64..4).prop_map(move |epoch| Command::FailJob { id: id(), epoch, reason: "lost".to_owned() }),
        1 => Just(Command::CancelJob { id: id() }),
    ]
}

fn window() -> impl Strategy<Value = Timestamp> {
    (0i64..3).prop_map(|hours| START.floor_to(HOUR).plus_micros(hours * HOUR))
}

fn drift() -> impl Strategy<Value = Command> {
    let deployment = || "fraud-live".to_owned();
    let counts = (0u64..9, prop::collection::vec(0u64..9, 0..3)).prop_map(|(rows, bins)| WindowCounts {
        rows,
        features: vec![FeatureCounts {
            bins,
            ..FeatureCounts::default()
        }],
    });
    let version = || (1u64..3).prop_map(samples::version_id);
    let deltas = prop::collection::vec((version(), window(), counts), 0..4);
    let predictions = prop::collection::btree_set(0u8..6, 0..4).prop_map(|ids: BTreeSet<u8>| {
        let made = |id| LoggedPrediction {
            id: format!("q{id}"),
            version: samples::version_id(1),
            score: 0.25,
            at: START,
        };
        ids.into_iter().map(made).collect::<Vec<_>>()
    });
    let source = (1u64..3, 1u64..3).prop_map(|(node, incarnation)| FlushSource {
        node: NodeId::new(node),
        incarnation,
    });
    let labels = prop::collection::vec((0u8..8).prop_map(|id| (format!("q{id}"), 1.0)), 0..5);
    prop_oneof![
        3 => (source, 1u64..6, deltas, predictions).prop_map(move |(source, sequence, windows, predictions)| {
            Command::FlushDrift { deployment: deployment(), source, sequence, windows, predictions }
        }),
        2 => (version(), window(), 0u64..9, any::<bool>()).prop_map(move |(version, window, rows, alerts)| {
            let report = DriftReport { rows, scores: Vec::new(), drifted: alerts, scored_at: START };
            let monitor = "fraud-drift".to_owned();
            let alert = Alert { monitor, version: version.clone(), window, features: Vec::new(), at: START };
            let alert = alerts.then_some(alert);
            Command::ReportDrift { deployment: deployment(), version, window, report, alert }
        }),
        2 => labels.prop_map(move |labels| Command::RecordLabels {
            deployment: deployment(),
            window_micros: HOUR,
            labels,
        }),
    ]
}

fn pipeline() -> impl Strategy<Value = Command> {
    let stage = prop_oneof![
        Just(Stage::Dataset),
        Just(Stage::Training {
            dataset_version: 1,
            job: "job-1".to_owned()
        }),
        Just(Stage::Gate {
            dataset_version: 1,
            candidate: 2
        }),
        Just(Stage::Kept {
            candidate: 2,
            evidence: (0.5, 0.75)
        }),
        Just(Stage::Failed {
            reason: "no data".to_owned()
        }),
    ];
    prop_oneof![
        2 => (0i64..300).prop_map(samples::start_pipeline),
        3 => (1u64..4, 0u8..4, stage).prop_map(|(number, from, stage)| Command::AdvancePipeline {
            name: "retrain".to_owned(),
            number,
            from,
            stage,
        }),
    ]
}
