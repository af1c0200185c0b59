//! What an operator types: jobs, pipelines, drift, deployments from files, nodes that come and go.

use serde_json::Value;

use crate::nodes::until;
use crate::{Session, build_and_train, declare_and_push};

const OPERATIONS: &str = "\
kind: Deployment
name: demand-live
model: demand
alias: champion
log_predictions: true
---
kind: Pipeline
name: demand-again
model: demand
alias: champion
dataset: demand
algorithm: logistic_regression
holdout: 3d
gate: {metric: log_loss, margin: -10.0}
cooldown: 1d
---
kind: Monitor
name: demand-drift
deployment: demand-live
window: 1d
rows_min: 1
psi_threshold: 100.0
ks_threshold: 0.3
drift_share: 0.5
watch: [amount]
pipeline: demand-again
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_declares_watches_retrains_and_cancels_from_the_command_line() {
    let session = Session::begin(1).await;
    declare_and_push(&session);
    build_and_train(&session);
    operations_are_declared_from_a_file(&session);
    jobs_are_listed_shown_watched_and_ended(&session);
    drift_is_listed(&session);
    a_pipeline_is_started_by_hand(&session);
}

fn operations_are_declared_from_a_file(session: &Session) {
    let file = session.file("operations.yaml", OPERATIONS);
    let changes = |applied: &Value| -> Vec<String> {
        let objects = applied.as_array().unwrap().iter();
        objects
            .map(|object| {
                format!(
                    "{} {}",
                    object["kind"].as_str().unwrap(),
                    object["change"].as_str().unwrap()
                )
            })
            .collect()
    };
    let applied = session.json(&["apply", "-f", &file]);
    assert_eq!(
        changes(&applied),
        ["Pipeline create", "Deployment create", "Monitor create"]
    );
    let again = session.json(&["apply", "-f", &file]);
    assert_eq!(
        changes(&again),
        ["Pipeline unchanged", "Deployment unchanged", "Monitor unchanged"]
    );
    let changed = session.file("changed.yaml", &OPERATIONS.replace("rows_min: 1", "rows_min: 2"));
    let applied = session.json(&["apply", "-f", &changed]);
    assert_eq!(changes(&applied)[2], "Monitor update");
    session.json(&["apply", "-f", &file]);
    let monitors = session.json(&["drift", "monitors"]);
    assert_eq!(
        (
            &monitors[0]["monitor"],
            &monitors[0]["ks"],
            &monitors[0]["new categories"]
        ),
        (&"demand-drift".into(), &0.3.into(), &Value::Null)
    );
    let nobody = session.file(
        "nobody.yaml",
        &OPERATIONS
            .replace("demand-live", "nobody")
            .replacen("nobody", "x", 1),
    );
    let said = session.refused(&["apply", "-f", &nobody]);
    assert!(said.contains("`nobody`"), "{said}");
}

fn jobs_are_listed_shown_watched_and_ended(session: &Session) {
    let jobs = session.json(&["job", "list"]);
    assert_eq!(
        (&jobs[0]["job"], &jobs[0]["dataset"]),
        (&"first".into(), &"demand@1".into())
    );
    let shown = session.json(&["job", "show", "first"]);
    assert_eq!(
        (&shown["state"], &shown["version"]),
        (&"succeeded".into(), &1.into())
    );
    assert_eq!(session.json(&["job", "watch", "first"]), shown);
    let said = session.refused(&["job", "cancel", "first"]);
    assert!(said.contains("finished with version 1"), "{said}");
    let said = session.refused(&["job", "show", "second"]);
    assert!(said.contains("`second`"), "{said}");
}

fn drift_is_listed(session: &Session) {
    // All of them more than any amount of the training set.
    let rows = "id,shop,amount\na,s1,900\nb,s2,901\nc,s3,902\n";
    let asked = session.file("far.csv", rows);
    let predict = [
        "predict",
        "demand-live",
        "--file",
        &asked,
        "--id-column",
        "id",
        "--as-of",
        "2024-01-05",
    ];
    session.json(&predict);
    assert_eq!(session.json(&["drift", "flush", "demand-live"])["rows"], 3);
    let windows = session.json(&["drift", "list", "demand-live"]);
    assert_eq!(
        (
            &windows[0]["rows"],
            &windows[0]["model"],
            &windows[0]["version"],
            &windows[0]["drifted"]
        ),
        (&3.into(), &"demand".into(), &1.into(), &true.into())
    );
    let features = session.json(&["drift", "list", "demand-live", "--features"]);
    let amount = features
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["feature"] == "amount")
        .unwrap();
    assert!(
        amount["ks"].as_f64().unwrap() > 0.9 && amount["drifted"] == true,
        "{amount}"
    );
    let alerts = session.json(&["drift", "alerts", "demand-live"]);
    assert_eq!(
        (&alerts[0]["monitor"], &alerts[0]["model"]),
        (&"demand-drift".into(), &"demand".into())
    );
    assert_eq!(
        session.json(&["drift", "performance", "demand-live"]),
        Value::Array(Vec::new())
    );
}

fn a_pipeline_is_started_by_hand(session: &Session) {
    let pipelines = session.json(&["pipeline", "list"]);
    assert_eq!(pipelines[0]["pipeline"], "demand-again");
    // The alert has started the first run; this one waits until that has ended and its cool-down is over.
    let start = [
        "pipeline",
        "start",
        "demand-again",
        "--reason",
        "a test",
        "--wait",
        "60s",
        "--as-of",
    ];
    let said = session.refused(&[&start[..], &["2024-01-06"]].concat());
    assert!(said.contains("demand-again"), "{said}");
    let run = session.eventually(&[&start[..], &["2024-01-11"]].concat());
    assert_eq!(
        (&run["run"], &run["stage"], &run["trigger"]),
        (&2.into(), &"promoted".into(), &"a test".into())
    );
    let runs = session.json(&["pipeline", "runs", "demand-again"]);
    assert_eq!((&runs[0]["run"], &runs[1]["run"]), (&2.into(), &1.into()));
    let said = session.refused(&["pipeline", "start", "nothing"]);
    assert!(said.contains("`nothing`"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_drains_decommissions_and_removes_a_node_from_the_command_line() {
    let session = Session::begin(4).await;
    let ids = |nodes: &Value| -> Vec<String> {
        let nodes = nodes.as_array().unwrap().iter();
        nodes
            .map(|node| node["node"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&session.json(&["node", "list"])), ["n1", "n2", "n3", "n4"]);
    let command = session.said(&["node", "add", "--data-dir", "n5"]);
    assert!(
        command.contains("covey start --data-dir n5") && command.contains("--join"),
        "{command}"
    );
    session.said(&["node", "wait", "n4", "--wait", "60s"]);

    session.said(&["node", "drain", "n3", "--wait", "60s"]);
    let third = || session.json(&["node", "list"])[2].clone();
    let drained = third();
    assert_eq!(
        (&drained["state"], &drained["leaders"]),
        (&"draining".into(), &0.into())
    );
    session.said(&["node", "undrain", "n3"]);
    assert_eq!(third()["state"], "active");

    let said = session.refused(&["node", "remove", "n3"]);
    assert!(said.contains("n3"), "{said}");
    session.said(&["node", "decommission", "n3", "--wait", "90s"]);
    until("the emptied node may go", || async {
        session
            .run(&["node", "remove", "n3"])
            .status
            .success()
            .then_some(())
    })
    .await;
    assert_eq!(third()["state"], "removed");
    let said = session.refused(&["node", "undrain", "n3"]);
    assert!(said.contains("removed"), "{said}");
    let said = session.refused(&["node", "drain", "n9"]);
    assert!(said.contains("n9"), "{said}");
}
