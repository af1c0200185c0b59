//! The command line as a user meets it: the built binary, its output and its exit codes, without a cluster.

#![allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]

use std::path::Path;
use std::process::{Command, Output};

/// Where nobody listens: port 9 of this machine is reserved for discarding.
const NOBODY: &str = "http://127.0.0.1:9";

fn covey(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_covey"));
    let surroundings = std::env::vars().filter(|(name, _)| name.starts_with("COVEY_"));
    for (name, _) in surroundings {
        command.env_remove(name);
    }
    command
        .env("COVEY_ENDPOINT", NOBODY)
        .env("COVEY_TIMEOUT", "2s")
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The lines of a help text that name verbs.
fn verbs_of(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  "));
    let first_words = lines
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    first_words
        .filter(|verb| *verb != "help")
        .map(str::to_owned)
        .collect()
}

/// Looks at the help of a verb and of every verb beneath it; answers with how many it has seen.
fn look_at_help(verb: &[&str]) -> usize {
    let output = covey(&[verb, &["--help"]].concat());
    assert_eq!(
        code(&output),
        0,
        "covey {} --help: {}",
        verb.join(" "),
        stderr(&output)
    );
    let help = stdout(&output);
    let beneath = verbs_of(&help);
    if beneath.is_empty() {
        assert!(
            help.contains("Examples:"),
            "covey {} --help has no examples",
            verb.join(" ")
        );
    }
    1 + beneath
        .iter()
        .map(|name| look_at_help(&[verb, &[name.as_str()]].concat()))
        .sum::<usize>()
}

#[test]
fn every_verb_explains_itself_with_examples() {
    let seen = look_at_help(&[]);
    assert!(seen > 45, "only {seen} verbs were found");
}

#[test]
fn an_unknown_verb_is_wrong_usage() {
    let output = covey(&["conquer"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("conquer"));
}

#[test]
fn without_a_verb_the_help_is_shown() {
    let mut bare = Command::new(env!("CARGO_BIN_EXE_covey"));
    let output = bare.env_clear().output().unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("covey demo"), "{}", stderr(&output));
}

#[test]
fn completion_scripts_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let output = covey(&["completion", shell]);
        assert_eq!(code(&output), 0);
        assert!(
            stdout(&output).contains("decommission"),
            "the script for {shell} does not know the verbs"
        );
    }
}

#[test]
fn the_version_is_json_for_programs() {
    let output = covey(&["version", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_cluster_that_cannot_be_reached_is_told_from_a_refusal() {
    let output = covey(&["status"]);
    assert_eq!(code(&output), 3);
    let said = stderr(&output);
    assert!(
        said.contains(NOBODY) && said.contains("next:") && said.contains("covey start"),
        "{said}"
    );
}

#[test]
fn a_node_that_belongs_to_no_cluster_says_how_to_make_or_join_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("n1");
    let data = data.to_str().unwrap();
    let output = covey(&[
        "start",
        "--data-dir",
        data,
        "--api-listen",
        "127.0.0.1:17400",
        "--peer-listen",
        "127.0.0.1:17401",
    ]);
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("covey init") && said.contains("--join"), "{said}");
}

#[test]
fn a_node_either_makes_a_cluster_or_joins_one() {
    let output = covey(&["start", "--init", "flights", "--join", "127.0.0.1:17400"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("--init") && said.contains("--join"), "{said}");
}

#[test]
fn a_second_init_changes_nothing_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("n1");
    let arguments = ["init", "--data-dir", data.to_str().unwrap(), "--output", "json"];
    let first = covey(&arguments);
    assert_eq!(code(&first), 0, "{}", stderr(&first));
    let made: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(made["node"], "n1");
    let second = covey(&arguments);
    assert_eq!(code(&second), 1);
    let said = stderr(&second);
    assert!(
        said.contains("already belongs to") && said.contains("next:"),
        "{said}"
    );
}

#[test]
fn an_impossible_cluster_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("n1");
    let output = covey(&["init", "--data-dir", data.to_str().unwrap(), "--groups", "12"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("groups = 12"), "{}", stderr(&output));
}

#[test]
fn the_definitions_of_the_demo_are_checked_without_a_cluster() {
    let examples = Path::new("../examples/flights");
    let output = covey(&[
        "apply",
        "--dry-run",
        "-f",
        examples.to_str().unwrap(),
        "--output",
        "json",
    ]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let objects: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let kinds: Vec<&str> = objects
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|object| object["kind"].as_str())
        .collect();
    assert_eq!(kinds.first(), Some(&"Entity"));
    assert_eq!(kinds.last(), Some(&"Monitor"));
}

#[test]
fn malformed_yaml_is_refused_by_file_line_and_field_before_a_cluster_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("views.yaml");
    let text =
        "kind: Entity\nname: a\njoin_keys: [{name: a, type: string}]\n---\nkind: Entity\nname: b\nkeys: []\n";
    std::fs::write(&file, text).unwrap();
    let output = covey(&["apply", "-f", file.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    let said = stderr(&output);
    for part in ["views.yaml:7:", "document 2", "`keys`", "nothing has changed"] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
}

#[test]
fn a_wrong_number_or_pair_is_wrong_usage() {
    let train = [
        "train",
        "--dataset",
        "d",
        "--algorithm",
        "k_means",
        "--model",
        "m",
        "--set",
    ];
    let output = covey(&[&train[..], &["clusters=many"]].concat());
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("`many`"), "{}", stderr(&output));
    assert_eq!(code(&covey(&["predict", "d", "--row", "no-pair"])), 2);
    assert_eq!(code(&covey(&["status", "--timeout", "soon"])), 2);
}

#[test]
fn an_ordinary_user_without_tools_is_told_which_packages_to_install_and_nothing_changes() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let script = Path::new("../deploy/prerequisites.sh");
    let folder = tempfile::tempdir().unwrap();
    // What every Debian has, an `id` that is nobody's root, and none of the tools that Covey needs.
    let tools = folder.path().join("bin");
    std::fs::create_dir(&tools).unwrap();
    for tool in ["bash", "dirname", "sed", "sort", "head", "cut"] {
        let found = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(tool));
        symlink(found.iter().find(|path| path.exists()).unwrap(), tools.join(tool)).unwrap();
    }
    let id = tools.join("id");
    std::fs::write(&id, "#!/bin/sh\necho 1000\n").unwrap();
    std::fs::set_permissions(&id, PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new(tools.join("bash"))
        .arg(script)
        .env_clear()
        .env("PATH", &tools)
        .env("HOME", folder.path())
        .output()
        .unwrap();
    assert_eq!(code(&output), 1, "{}", stderr(&output));
    let said = stderr(&output);
    for part in [
        "apt-get install -y build-essential",
        "curl",
        "Rust 1.",
        "rustup-init.sh",
        "same make target",
    ] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing was installed"
    );
}
