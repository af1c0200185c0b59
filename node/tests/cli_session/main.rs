//! A user's session at the command line against a real node, from definitions to predictions, in JSON throughout.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

#[path = "../support/nodes.rs"]
mod nodes;
mod operations;
mod surprises;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use nodes::Nodes;

const DEFINITIONS: &str = "\
kind: Namespace
name: shops
groups: 2
---
kind: Entity
name: shop
namespace: shops
join_keys: [{name: shop, type: string}]
---
kind: FeatureView
name: sales
entity: shop
columns:
  - {name: amount, type: float64, min: 0}
  - {name: sold_out, type: bool}
aggregates:
  - {column: amount, function: mean, window: 1d}
---
kind: FeatureService
name: demand
views: [{view: sales, features: [amount_mean_1d]}]
request: [{name: amount, type: float64}]
";

/// How often a command is tried that has to wait for something; each try takes a while.
const TRIES: usize = 200;

/// A terminal whose commands go to one node.
struct Session {
    nodes: Nodes,
    folder: tempfile::TempDir,
}

impl Session {
    async fn begin(nodes: usize) -> Self {
        let nodes = Nodes::start(nodes, 2).await;
        Self {
            nodes,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let endpoint = format!("http://{}", self.nodes.node(0).api());
        let mut command = Command::new(env!("CARGO_BIN_EXE_covey"));
        command
            .args(arguments)
            .args(["--endpoint", &endpoint, "--output", "json", "--user", "ada"]);
        command.output().unwrap()
    }

    /// Runs a command that must succeed and answers with what it printed.
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "covey {}: {said}", arguments.join(" "));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must succeed and answers with what it said to people.
    fn said(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = [output.stdout, output.stderr]
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .concat();
        assert!(output.status.success(), "covey {}: {said}", arguments.join(" "));
        said
    }

    /// Runs a command until it succeeds and answers with what it printed.
    fn eventually(&self, arguments: &[&str]) -> Value {
        for _ in 0..TRIES {
            let output = self.run(arguments);
            if output.status.success() {
                return serde_json::from_slice(&output.stdout).unwrap();
            }
        }
        self.json(arguments)
    }

    /// Runs a command that must be refused and answers with what it said.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "covey {}", arguments.join(" "));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("next:"), "{said}");
        said
    }
}

/// Sales of 20 shops on 10 days, every third one sold out; two further rows are wrong, each in its own way.
fn sales() -> String {
    let mut csv = "shop,event_time,amount,sold_out\n".to_owned();
    for number in 0..200 {
        let (shop, day, sold_out) = (number % 20, 1 + number / 20, number % 3 == 0);
        let amount = if sold_out {
            90 + number % 10
        } else {
            10 + number % 10
        };
        writeln!(csv, "s{shop},2024-01-{day:02}T12:00:00Z,{amount},{sold_out}").unwrap();
    }
    csv + "s1,2024-01-01T12:00:00Z,-5,true\ns2,2024-01-01T12:00:00Z,many,true\n"
}

fn declare_and_push(session: &Session) {
    let definitions = session.file("shop.yaml", DEFINITIONS);
    let planned = session.json(&["apply", "--dry-run", "-f", &definitions]);
    assert_eq!(planned[2]["change"], "create");
    assert_eq!(
        session.json(&["feature", "list"]),
        Value::Array(Vec::new()),
        "a dry run declares nothing"
    );
    session.json(&["apply", "-f", &definitions]);
    let again = session.json(&["apply", "-f", &definitions]);
    assert!(
        again
            .as_array()
            .unwrap()
            .iter()
            .all(|object| object["change"] == "unchanged"),
        "{again}"
    );

    let rows = session.file("sales.csv", &sales());
    let push = [
        "feature",
        "push",
        "sales",
        "--file",
        rows.as_str(),
        "--producer",
        "till",
        "--batch-size",
        "50",
    ];
    let pushed = session.json(&push);
    assert_eq!(
        (&pushed["accepted"], &pushed["refused"]),
        (&200.into(), &2.into())
    );
    let again = session.json(&push);
    assert_eq!(
        (&again["accepted"], &again["refused"], &again["reasons"]),
        (&pushed["accepted"], &pushed["refused"], &pushed["reasons"]),
        "the same rows of the same producer get the same answer"
    );
    let letters = session.json(&["feature", "dead-letters", "sales"]);
    assert_eq!(letters.as_array().unwrap().len(), 2, "{letters}");
    let row = session.json(&[
        "feature",
        "get",
        "demand",
        "--row",
        "shop=s0",
        "amount=3",
        "--as-of",
        "2024-01-01T13:00:00Z",
        "--consistency",
        &format!("at-least={}", pushed["positions"].as_str().unwrap()),
    ]);
    assert_eq!(
        (&row[0]["feature"], &row[0]["value"]),
        (&"sales__amount_mean_1d".into(), &90.0.into())
    );
}

fn build_and_train(session: &Session) {
    let built = session.json(&[
        "dataset",
        "build",
        "demand",
        "--service",
        "demand",
        "--label",
        "sold_out",
        "--spine-view",
        "sales",
        "--from",
        "2024-01-01",
        "--until",
        "2024-02-01",
    ]);
    assert_eq!(built["rows"], 200);
    assert_eq!(
        session.json(&["dataset", "verify", "demand@1"])["identical"],
        true
    );
    let train = [
        "train",
        "--dataset",
        "demand",
        "--algorithm",
        "logistic_regression",
        "--model",
        "demand",
    ];
    let trained = session.json(&[&train[..], &["--alias", "champion", "--id", "first", "--wait"]].concat());
    assert_eq!(
        (&trained["state"], &trained["version"]),
        (&"succeeded".into(), &1.into())
    );
    let moves = session.json(&["model", "alias", "history", "demand", "champion"]);
    assert_eq!(
        (&moves[0]["version"], &moves[0]["by"]),
        (&1.into(), &"ada".into())
    );
    let at = |at| session.json(&["model", "alias", "history", "demand", "champion", "--at", at]);
    assert_eq!(
        at("2001-01-01"),
        Value::Array(Vec::new()),
        "it did not exist then"
    );
    assert_eq!(at("2100-01-01")[0]["version"], 1);
    let said = session.refused(&[
        "model",
        "alias",
        "set",
        "demand",
        "champion",
        "1",
        "--expected",
        "7",
    ]);
    assert!(said.contains('7'), "{said}");
    let said = session.refused(&[
        "train",
        "--dataset",
        "demand",
        "--algorithm",
        "guess",
        "--model",
        "demand",
    ]);
    assert!(said.contains("`guess`"), "{said}");
}

fn serve_and_watch(session: &Session) {
    let deploy = [
        "deploy",
        "demand",
        "--model",
        "demand",
        "--alias",
        "champion",
        "--log-predictions",
    ];
    let deployed = session.json(&deploy);
    assert_eq!(deployed["replicas"][0]["state"], "ready");
    let shown = session.json(&["model", "show", "demand", "--alias", "champion"]);
    assert_eq!(
        (&shown["dataset"], &shown["job"], &shown["deployments"]),
        (&"demand@1".into(), &"first".into(), &vec!["demand"].into())
    );
    let asked = session.file("asked.csv", "id,shop,amount\na,s1,95\nb,s2,12\n");
    let predict = [
        "predict",
        "demand",
        "--file",
        asked.as_str(),
        "--id-column",
        "id",
        "--as-of",
        "2024-01-05",
    ];
    let predicted = session.json(&predict);
    let score = |row: usize| predicted[row]["prediction"].as_f64().unwrap();
    assert!(score(0) > score(1), "{predicted}");
    session.json(&["drift", "flush", "demand"]);
    let outcomes = session.file(
        "outcomes.jsonl",
        "{\"id\":\"a\",\"label\":true}\n{\"id\":\"z\",\"label\":0}\n",
    );
    let joined = session.json(&["label", "push", "demand", "--file", &outcomes]);
    assert_eq!(
        (&joined["joined"], &joined["without_prediction"]),
        (&1.into(), &1.into())
    );
    let said = session.refused(&["predict", "nobody", "--row", "shop=s1"]);
    assert!(said.contains("`nobody`"), "{said}");
}

/// What an operator looks at and is refused on a cluster of one node.
fn look_after_the_groups(session: &Session) {
    let spaces = session.json(&["namespace", "list"]);
    assert_eq!(
        (&spaces[1]["namespace"], &spaces[1]["groups"]),
        (&"shops".into(), &"3-4".into())
    );
    let group = session.json(&["group", "show", "g3"]);
    assert_eq!(
        (&group["namespace"], &group["settled"]),
        (&"shops".into(), &true.into())
    );
    assert_eq!(group["replicas"][0]["role"], "leader");
    assert_eq!(
        session.json(&["rebalance", "--dry-run"]),
        Value::Array(Vec::new())
    );
    let said = session.refused(&["group", "move", "g3", "--from", "n1", "--to", "n2"]);
    assert!(said.contains("`n2` does not exist"), "{said}");
    let said = session.refused(&["group", "transfer-leader", "g3", "--to", "n2"]);
    assert!(said.contains("whose voters are n1"), "{said}");
    let said = session.refused(&[
        "namespace",
        "set",
        "shops",
        "--home",
        "local",
        "--survive",
        "zone",
    ]);
    assert!(
        said.contains("needs active nodes in 3 zones and has them in 1"),
        "{said}"
    );
    let said = session.refused(&["namespace", "create", "shops"]);
    assert!(said.contains("namespace set"), "{said}");
    assert_eq!(session.json(&["namespace", "create", "scratch"])["made"], true);
    assert_eq!(session.json(&["namespace", "show", "scratch"])["groups"], "5-5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_gets_from_definitions_to_predictions_and_every_answer_is_json() {
    let session = Session::begin(1).await;
    declare_and_push(&session);
    surprises::another_file_of_a_producer_is_no_repetition(&session);
    build_and_train(&session);
    surprises::a_training_set_that_is_defined_otherwise_is_to_be_built(&session);
    serve_and_watch(&session);
    surprises::ids_that_look_like_numbers_are_texts(&session);
    surprises::a_deployment_is_ready_when_it_serves_what_was_asked_for(&session);
    look_after_the_groups(&session);
    let status = session.json(&["status"]);
    assert_eq!(status["nodes"][0]["state"], "active");
    assert_eq!(
        (&status["nodes"][0]["health"], &status["groups"]),
        (&"live".into(), &5.into())
    );
}
