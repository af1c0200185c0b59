//! Whole stories as traces: what was asked, what was answered, and what changed in the map.
//!
//! Each story is compared with its file under `tests/golden`. After a change that is wanted, write the files again with
//! `UPDATE_GOLDEN=1 cargo test -p covey-state golden` and read the difference before it is committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use covey_state::catalog::Entity;
use covey_state::command::Removable;
use covey_state::id::{GroupId, NodeId};
use covey_state::monitor::{Alert, DriftReport, FeatureCounts, FlushSource, LoggedPrediction, WindowCounts};
use covey_state::namespace::Policy;
use covey_state::pipeline::Stage;
use covey_state::topology::{NodeState, Placement};
use covey_state::window::{DAY, Function, HOUR};
use covey_state::{Change, Command, Value};

use crate::samples;
use crate::world::{START, World, is_envelope};

/// A story in the making: the world and what has been written down of it.
#[derive(Default)]
struct Story {
    world: World,
    trace: String,
}

impl Story {
    /// Asks for something under a heading, and writes down what comes of it.
    fn tell(mut self, heading: &str, command: Command) -> Self {
        let request = self.world.request(command);
        let decision = self.world.carry_out(&request);
        let _ = writeln!(self.trace, "# {heading}");
        match decision.outcome {
            Ok(answer) => drop(writeln!(self.trace, "answer {answer:?}")),
            Err(rejection) => drop(writeln!(self.trace, "refusal {rejection}")),
        }
        for change in decision.changes {
            match change {
                Change::Put(key, _) | Change::Delete(key) if is_envelope(&key) => {}
                Change::Put(key, record) => drop(writeln!(self.trace, "put {key:?}\n    {record:?}")),
                Change::Delete(key) => drop(writeln!(self.trace, "delete {key:?}")),
            }
        }
        self.trace.push('\n');
        self
    }

    /// Carries something out without writing it down.
    fn after(commands: impl IntoIterator<Item = Command>) -> Self {
        Self {
            world: World::after(commands),
            trace: String::new(),
        }
    }

    /// Compares the trace with the file of this name.
    #[track_caller]
    fn ends_as(self, name: &str) {
        let path = Path::new("tests/golden").join(format!("{name}.txt"));
        // A test may look at the disk and at how it was started; the state machine under test does not.
        #[allow(clippy::disallowed_methods)]
        if std::env::var("UPDATE_GOLDEN").is_ok() {
            std::fs::write(&path, &self.trace).expect("the golden directory can be written");
        }
        #[allow(clippy::disallowed_methods)]
        let golden = std::fs::read_to_string(&path).expect("the story has been written down");
        let differences = differences(&golden, &self.trace);
        assert!(
            differences.is_empty(),
            "{name} goes differently (- as written, + as it goes now):\n{differences}"
        );
    }
}

/// The lines that differ, after the lines that both begin with and before those that both end with.
fn differences(golden: &str, trace: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), trace.lines().collect());
    let begin = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[begin..], &new[begin..]);
    let end = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(old, new)| old == new)
        .count();
    let removed = old[..old.len() - end].iter().map(|line| format!("-{line}\n"));
    let added = new[..new.len() - end].iter().map(|line| format!("+{line}\n"));
    removed.chain(added).collect()
}

#[test]
fn a_cluster_grows_and_a_node_leaves() {
    let placement = |voters: &[u64]| Placement {
        revision: 0,
        voters: voters.iter().copied().map(NodeId::new).collect(),
        learners: [].into(),
        preferred_leader: voters.first().copied().map(NodeId::new),
        ..Placement::default()
    };
    let set = |group, expected, voters: &[u64]| Command::SetPlacement {
        group: GroupId::new(group),
        expected,
        placement: placement(voters),
    };
    let state = |node, state| Command::SetNodeState(NodeId::new(node), state);
    Story::default()
        .tell("the first node makes the cluster", samples::init())
        .tell("a second node joins", Command::RegisterNode(samples::node(2)))
        .tell("a third node joins", Command::RegisterNode(samples::node(3)))
        .tell("group 1 gets three voters", set(1, 1, &[1, 2, 3]))
        .tell("a planner that was late is refused", set(1, 1, &[1]))
        .tell(
            "the third node cannot leave: three voters need three nodes",
            state(3, NodeState::Decommissioning),
        )
        .tell("a fourth node joins", Command::RegisterNode(samples::node(4)))
        .tell(
            "now the third node is to leave",
            state(3, NodeState::Decommissioning),
        )
        .tell("it cannot go while it votes", state(3, NodeState::Removed))
        .tell("group 1 falls back to one voter", set(1, 2, &[2]))
        .tell("now it can go", state(3, NodeState::Removed))
        .ends_as("cluster");
}

#[test]
fn a_namespace_gets_groups_of_its_own_and_a_home() {
    let put = |policy, groups| Command::PutNamespace {
        name: "payments".to_owned(),
        policy,
        groups,
    };
    let home = || Policy::SurviveZone {
        home: "eu".to_owned(),
    };
    let found = |group, node| Command::FoundGroup {
        group: GroupId::new(group),
        node: NodeId::new(node),
    };
    let entity = || Entity {
        namespace: "payments".to_owned(),
        ..samples::card()
    };
    Story::after([samples::init(), Command::RegisterNode(samples::node(2))])
        .tell(
            "two zones are too few for a home that survives one",
            put(home(), Some(2)),
        )
        .tell(
            "a third node joins, in the third zone",
            Command::RegisterNode(samples::node(3)),
        )
        .tell("a namespace of two groups at home", put(home(), Some(2)))
        .tell(
            "no entity lives in it before its groups are made",
            Command::PutEntity(entity()),
        )
        .tell("one who is not to make a group cannot have made it", found(3, 2))
        .tell("its first group is made", found(3, 1))
        .tell("its maker may say so again", found(3, 1))
        .tell("who was to make it before has not", found(3, 2))
        .tell("its second group is made", found(4, 2))
        .tell("now an entity may live in it", Command::PutEntity(entity()))
        .tell(
            "its view's rows live in the groups of the namespace",
            Command::PutView(samples::payments()),
        )
        .tell("it lives there for ever", Command::PutEntity(samples::card()))
        .tell(
            "a zone that the home needs cannot leave",
            Command::SetNodeState(NodeId::new(3), NodeState::Decommissioning),
        )
        .tell("the home can be given up", put(Policy::Anywhere, None))
        .ends_as("namespace");
}

#[test]
fn a_view_is_declared_installed_and_grows() {
    let mut wider = samples::payments();
    wider
        .aggregates
        .push(samples::aggregate("amount", Function::Max, 24 * HOUR));
    Story::after([samples::init()])
        .tell("the entity", Command::PutEntity(samples::card()))
        .tell("the view", Command::PutView(samples::payments()))
        .tell("the same view again", Command::PutView(samples::payments()))
        .tell(
            "a data group learns it",
            Command::InstallSchema(samples::installed(samples::payments(), 1)),
        )
        .tell(
            "it is active",
            Command::ActivateView {
                name: "payments".to_owned(),
                schema_version: 1,
            },
        )
        .tell("the service", Command::PutService(samples::service()))
        .tell("another aggregate", Command::PutView(wider))
        .tell(
            "the service goes",
            Command::Remove(Removable::Service, "fraud".to_owned()),
        )
        .ends_as("catalog");
}

#[test]
fn rows_arrive_late_twice_and_broken() {
    let install = Command::InstallSchema(samples::installed(samples::payments(), 1));
    let mut broken = samples::payment("c1", 0, 5.0);
    broken.values[0] = Value::Null;
    Story::after([install])
        .tell("a row", samples::push(vec![samples::payment("c1", 0, 5.0)]))
        .tell(
            "a late row leaves the current one",
            samples::push(vec![samples::payment("c1", -90, 2.5)]),
        )
        .tell(
            "two rows of one moment in one push: the later one wins",
            samples::push(vec![
                samples::payment("c1", 1, 1.0),
                samples::payment("c1", 1, 3.0),
            ]),
        )
        .tell("a broken row", samples::push(vec![broken]))
        .ends_as("rows");
}

#[test]
fn a_model_is_promoted_and_rolled_back() {
    Story::default()
        .tell("the model", samples::create_model())
        .tell("its first version", samples::create_version())
        .tell("its second version", samples::create_version())
        .tell("the first one leads", samples::set_alias(Some(1), Some(None)))
        .tell(
            "the second one takes over",
            samples::set_alias(Some(2), Some(Some(1))),
        )
        .tell(
            "a late promotion is refused",
            samples::set_alias(Some(1), Some(Some(1))),
        )
        .tell("the alias goes", samples::set_alias(None, None))
        .tell("a dataset", Command::PutDataset(samples::dataset()))
        .tell("the dataset again", Command::PutDataset(samples::dataset()))
        .ends_as("registry");
}

#[test]
fn a_job_changes_its_coordinator_and_finishes() {
    let id = || "job-1".to_owned();
    let claim = |node| Command::ClaimJob {
        id: id(),
        node: NodeId::new(node),
    };
    let metrics = BTreeMap::from([("auc".to_owned(), 0.75)]);
    Story::default()
        .tell("the job", samples::submit_job())
        .tell("node 1 takes it", claim(1))
        .tell("its first step", samples::advance_job(1, 1))
        .tell("node 2 takes it over", claim(2))
        .tell("node 1 has not heard", samples::advance_job(1, 2))
        .tell("the second step", samples::advance_job(2, 2))
        .tell(
            "it is done",
            Command::FinishJob {
                id: id(),
                epoch: 2,
                version: 3,
                metrics,
            },
        )
        .tell("nothing stops it any more", Command::CancelJob { id: id() })
        .ends_as("job");
}

#[test]
fn drift_is_counted_scored_and_labelled() {
    let deployment = || "fraud-live".to_owned();
    let window = START.floor_to(HOUR);
    let counts = WindowCounts {
        rows: 3,
        features: vec![FeatureCounts {
            bins: vec![1, 2],
            ..FeatureCounts::default()
        }],
    };
    let flush = |sequence| Command::FlushDrift {
        deployment: deployment(),
        source: FlushSource {
            node: NodeId::new(1),
            incarnation: 1,
        },
        sequence,
        windows: vec![(samples::version_id(1), window, counts.clone())],
        predictions: vec![LoggedPrediction {
            id: "q1".to_owned(),
            version: samples::version_id(1),
            score: 0.25,
            at: START,
        }],
    };
    let alert = Alert {
        monitor: "fraud-drift".to_owned(),
        version: samples::version_id(1),
        window,
        features: Vec::new(),
        at: START,
    };
    let report = |rows| Command::ReportDrift {
        deployment: deployment(),
        version: samples::version_id(1),
        window,
        report: DriftReport {
            rows,
            scores: Vec::new(),
            drifted: true,
            scored_at: START,
        },
        alert: Some(alert.clone()),
    };
    let labels = Command::RecordLabels {
        deployment: deployment(),
        window_micros: DAY,
        labels: vec![("q1".to_owned(), 1.0), ("q2".to_owned(), 0.0)],
    };
    Story::default()
        .tell("a first flush", flush(1))
        .tell("the same flush in another request", flush(1))
        .tell("a second flush", flush(2))
        .tell("the verdict", report(6))
        .tell("a second verdict raises no second alert", report(6))
        .tell("labels come", labels)
        .ends_as("drift");
}

#[test]
fn a_pipeline_runs_and_keeps_the_champion() {
    let advance = |from, stage| Command::AdvancePipeline {
        name: "retrain".to_owned(),
        number: 1,
        from,
        stage,
    };
    Story::default()
        .tell("a run", samples::start_pipeline(0))
        .tell("another one must wait", samples::start_pipeline(1))
        .tell(
            "training",
            advance(
                0,
                Stage::Training {
                    dataset_version: 1,
                    job: "job-1".to_owned(),
                },
            ),
        )
        .tell(
            "the gate",
            advance(
                1,
                Stage::Gate {
                    dataset_version: 1,
                    candidate: 2,
                },
            ),
        )
        .tell(
            "an old driver",
            advance(
                1,
                Stage::Failed {
                    reason: "lost".to_owned(),
                },
            ),
        )
        .tell(
            "the champion stays",
            advance(
                2,
                Stage::Kept {
                    candidate: 2,
                    evidence: (0.5, 0.75),
                },
            ),
        )
        .tell("the next run", samples::start_pipeline(60))
        .ends_as("pipeline");
}

#[test]
fn a_mismatch_shows_the_lines_that_differ() {
    assert_eq!(differences("a\nb\nc", "a\nd\nc"), "-b\n+d\n");
    assert_eq!(differences("a\nb", "a\nb"), "");
}
