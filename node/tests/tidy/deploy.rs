//! What lies under deploy/ is well formed, and calls the CLI as the CLI is.
//!
//! No container engine and no systemd is needed: each file is parsed here. Where `systemd-analyze` is there, it has its
//! say too.

mod commands;
mod compose;
mod containerfile;
mod unit;

use crate::tree::{SourceFile, Tree};
use crate::violation::Violation;

const UNIT: &str = "deploy/covey.service";
const ENVIRONMENT: &str = "deploy/covey.env";
const CONTAINERFILE: &str = "deploy/Containerfile";
const COMPOSE: &str = "deploy/compose.yaml";

/// Everything wrong with the files of deploy/.
pub(crate) fn check(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut calls = Vec::new();
    for path in [UNIT, ENVIRONMENT, CONTAINERFILE, COMPOSE] {
        let Some(file) = tree.file(path) else {
            violations.push(violation(path, 1, "the file is missing"));
            continue;
        };
        violations.extend(check_form(file, tree));
        calls.extend(calls_in(file));
    }
    violations.extend(commands::check(&calls));
    violations
}

fn check_form(file: &SourceFile, tree: &Tree) -> Vec<Violation> {
    match file.path.as_str() {
        UNIT => [unit::check(file), unit::ask_systemd(file)].concat(),
        CONTAINERFILE => containerfile::check(file, tree),
        COMPOSE => compose::check(file, tree),
        ENVIRONMENT => check_beginnings(file),
        _ => Vec::new(),
    }
}

/// The environment file says how the first node makes the cluster, and how the others join it.
fn check_beginnings(file: &SourceFile) -> Vec<Violation> {
    let missing = ["COVEY_INIT=", "COVEY_JOIN="]
        .into_iter()
        .filter(|setting| !file.text.contains(setting));
    missing
        .map(|setting| {
            violation(
                &file.path,
                1,
                format!("says nothing of {setting}, so no cluster forms"),
            )
        })
        .collect()
}

fn calls_in(file: &SourceFile) -> Vec<commands::Call> {
    match file.path.as_str() {
        UNIT => commands::in_unit(file),
        ENVIRONMENT => commands::in_environment(file),
        CONTAINERFILE => commands::in_containerfile(file),
        COMPOSE => commands::in_compose(file),
        _ => Vec::new(),
    }
}

fn violation(path: &str, line: usize, advice: impl Into<String>) -> Violation {
    Violation::new(path, line, "deploy", advice)
}
