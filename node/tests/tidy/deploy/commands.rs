//! The files of deploy/ call a CLI that exists: each command line's subcommand, options and COVEY_* variables stand in
//! the help of the binary that was just built.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::{compose, containerfile, unit, violation};
use crate::tree::SourceFile;
use crate::violation::Violation;

/// The binary's name in command lines.
const BINARY: &str = "covey";
/// The command that reads the variables of the environment file.
const START: &str = "start";

/// One use of the CLI: where it is written, the subcommand, and the options or variables that its help must name.
#[derive(Debug, PartialEq)]
pub(crate) struct Call {
    path: String,
    line: usize,
    subcommand: String,
    names: Vec<String>,
}

impl Call {
    /// Reads the words behind the binary: subcommand first, then options.
    fn new(file: &SourceFile, line: usize, words: &[impl AsRef<str>]) -> Self {
        let mut words = words.iter().map(AsRef::as_ref);
        let subcommand = words.next().unwrap_or_default().to_owned();
        let options = words.filter(|word| word.starts_with("--"));
        let names = options
            .map(|option| option.split('=').next().unwrap_or(option).to_owned())
            .collect();
        Self {
            path: file.path.clone(),
            line,
            subcommand,
            names,
        }
    }
}

/// The call in `ExecStart=`.
pub(super) fn in_unit(file: &SourceFile) -> Vec<Call> {
    let (settings, _) = unit::parse(file);
    let starts = settings.iter().filter(|setting| setting.key == "ExecStart");
    starts
        .map(|setting| {
            let words: Vec<&str> = setting.value.split_whitespace().skip(1).collect();
            Call::new(file, setting.line, &words)
        })
        .collect()
}

/// The variables of the environment file, also those that are there to be uncommented.
pub(super) fn in_environment(file: &SourceFile) -> Vec<Call> {
    let lines = file.text.lines().enumerate();
    let settings = lines.filter_map(|(index, line)| {
        let setting = line.strip_prefix('#').unwrap_or(line);
        let (name, _) = setting.split_once('=')?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        (is_name || !line.starts_with('#')).then(|| (index, name.to_owned()))
    });
    settings
        .map(|(index, name)| Call {
            path: file.path.clone(),
            line: index + 1,
            subcommand: START.to_owned(),
            names: vec![name],
        })
        .collect()
}

/// The call in `CMD`; the binary is the entry point.
pub(super) fn in_containerfile(file: &SourceFile) -> Vec<Call> {
    let instructions = containerfile::parse(file);
    let commands = instructions
        .iter()
        .filter(|instruction| instruction.name == "CMD");
    commands
        .filter_map(|instruction| {
            let words = containerfile::words_of(&instruction.arguments)?;
            Some(Call::new(file, instruction.line, &words))
        })
        .collect()
}

/// Each service's command with its environment, and its health check.
pub(super) fn in_compose(file: &SourceFile) -> Vec<Call> {
    let Ok(document) = compose::parse(file) else {
        return Vec::new();
    };
    let mut calls: Vec<Call> = Vec::new();
    for (_, service) in compose::services(&document) {
        let mut command = call_in(file, "command:", &service["command"]);
        if let Some(call) = &mut command {
            let variables = service["environment"].as_object().into_iter().flatten();
            call.names.extend(variables.map(|(name, _)| name.clone()));
        }
        let health = call_in(file, "test:", &service["healthcheck"]["test"]);
        for call in [command, health].into_iter().flatten() {
            if !calls.contains(&call) {
                calls.push(call);
            }
        }
    }
    calls
}

/// The call that a list of words makes, with or without `CMD, covey` in front.
fn call_in(file: &SourceFile, anchor: &str, words: &Value) -> Option<Call> {
    let words: Vec<&str> = words.as_array()?.iter().filter_map(Value::as_str).collect();
    let words = words.strip_prefix(&["CMD", BINARY]).unwrap_or(&words);
    Some(Call::new(file, file.line_of(anchor), words))
}

/// One violation for each call that the binary would refuse.
pub(super) fn check(calls: &[Call]) -> Vec<Violation> {
    let mut helps: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut violations = Vec::new();
    for call in calls {
        let help = helps
            .entry(&call.subcommand)
            .or_insert_with(|| help_of(&call.subcommand));
        violations.extend(refusals(call, help.as_deref()));
    }
    violations
}

fn refusals(call: &Call, help: Option<&str>) -> Vec<Violation> {
    let Some(help) = help else {
        let advice = format!("`{BINARY} {}` is no command of the CLI", call.subcommand);
        return vec![violation(&call.path, call.line, advice)];
    };
    let is_named = |name: &String| {
        let mut words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        words.any(|word| word == name)
    };
    let unknown = call.names.iter().filter(|name| !is_named(name));
    unknown
        .map(|name| {
            let advice = format!("`{BINARY} {} --help` does not know {name}", call.subcommand);
            violation(&call.path, call.line, advice)
        })
        .collect()
}

/// What `covey <subcommand> --help` prints; `None` when there is no such subcommand.
fn help_of(subcommand: &str) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_covey"))
        .args([subcommand, "--help"])
        .output()
        .expect("cargo built the binary for this test");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success() && help.contains("Usage: ")).then_some(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "Usage: covey start [OPTIONS]\n  --data-dir <DIR>  where  [env: COVEY_DATA_DIR=]\n";

    fn call(words: &[&str]) -> Call {
        Call::new(&SourceFile::sample("a.service", ""), 3, words)
    }

    #[test]
    fn options_that_the_help_does_not_name_are_reported() {
        assert_eq!(refusals(&call(&["start", "--data-dir=/a"]), Some(HELP)), []);
        let found = refusals(&call(&["start", "--data", "/a"]), Some(HELP));
        assert_eq!(
            found[0].to_string(),
            "a.service:3: deploy: `covey start --help` does not know --data"
        );
    }

    #[test]
    fn variables_are_held_to_the_same_help() {
        let file = SourceFile::sample(
            "covey.env",
            "# Words = words.\nCOVEY_DATA_DIR=/a\nCOVEY_DATA=/a\n#COVEY_DATE=/a\n",
        );
        let found: Vec<usize> = in_environment(&file)
            .iter()
            .flat_map(|call| refusals(call, Some(HELP)))
            .map(|v| v.line)
            .collect();
        assert_eq!(found, [3, 4]);
    }

    #[test]
    fn a_command_that_is_not_there_is_reported() {
        assert_eq!(refusals(&call(&["sevre"]), None).len(), 1);
    }

    #[test]
    fn calls_are_found_in_every_kind_of_file() {
        let unit = SourceFile::sample("a", "[Service]\nExecStart=/usr/bin/covey start --data-dir /a\n");
        let image = SourceFile::sample("a", "FROM b:1\nCMD [\"start\", \"--data-dir\", \"/a\"]\n");
        let services = [
            "services:",
            "  a: { command: [start, --data-dir, /a], environment: { COVEY_ZONE: a } }",
            "  b: { healthcheck: { test: [CMD, covey, status] } }",
        ];
        let nodes = SourceFile::sample("a", &services.join("\n"));
        let start = |line| Call::new(&SourceFile::sample("a", ""), line, &["start", "--data-dir"]);
        assert_eq!(in_unit(&unit), [start(2)]);
        assert_eq!(in_containerfile(&image), [start(2)]);
        let with_zone = Call {
            names: vec!["--data-dir".to_owned(), "COVEY_ZONE".to_owned()],
            ..start(2)
        };
        assert_eq!(in_compose(&nodes), [with_zone, Call::new(&nodes, 3, &["status"])]);
    }
}
