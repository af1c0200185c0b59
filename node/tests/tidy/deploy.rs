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
    for (path, check_one) in [
        (UNIT, check_unit as Check),
        (ENVIRONMENT, |file, _| (Vec::new(), commands::in_environment(file))),
        (CONTAINERFILE, |file, tree| (containerfile::check(file, tree), commands::in_containerfile(file))),
        (COMPOSE, |file, tree| (compose::check(file, tree), commands::in_compose(file))),
    ] {
        match tree.file(path) {
            Some(file) => {
                let (wrong, called) = check_one(file, tree);
                violations.extend(wrong);
                calls.extend(called);
            }
            None => violations.push(violation(path, 1, "the file is missing")),
        }
    }
    violations.extend(commands::check(&calls));
    violations
}

/// What is wrong with a file, and the calls of the CLI it makes.
type Check = fn(&SourceFile, &Tree) -> (Vec<Violation>, Vec<commands::Call>);

fn check_unit(file: &SourceFile, _: &Tree) -> (Vec<Violation>, Vec<commands::Call>) {
    let mut violations = unit::check(file);
    violations.extend(unit::ask_systemd(file));
    (violations, commands::in_unit(file))
}

fn violation(path: &str, line: usize, advice: impl Into<String>) -> Violation {
    Violation::new(path, line, "deploy", advice)
}
