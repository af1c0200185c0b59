//! The compose file: keys that exist, names that are defined, ports and durations that parse, services that are locked
//! down.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::violation;
use crate::tree::{SourceFile, Tree};
use crate::violation::Violation;

const TOP_KEYS: [&str; 7] = [
    "name", "services", "volumes", "networks", "configs", "secrets", "include",
];
const BUILD_KEYS: [&str; 4] = ["context", "dockerfile", "args", "target"];
const HEALTH_KEYS: [&str; 7] = [
    "test",
    "interval",
    "timeout",
    "retries",
    "start_period",
    "start_interval",
    "disable",
];
const HEALTH_DURATIONS: [&str; 4] = ["interval", "timeout", "start_period", "start_interval"];
const SERVICE_KEYS: [&str; 22] = [
    "build",
    "cap_drop",
    "command",
    "depends_on",
    "entrypoint",
    "environment",
    "expose",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "labels",
    "networks",
    "ports",
    "profiles",
    "read_only",
    "restart",
    "security_opt",
    "stop_grace_period",
    "tmpfs",
    "ulimits",
    "volumes",
];

/// Everything wrong with the file.
pub(super) fn check(file: &SourceFile, tree: &Tree) -> Vec<Violation> {
    let mut problems = match parse(file) {
        Ok(document) => check_document(&document),
        Err(problem) => vec![("".to_owned(), problem)],
    };
    problems.extend(check_dockerfiles(file, tree));
    problems
        .into_iter()
        .map(|(anchor, advice)| violation(&file.path, file.line_of(&anchor), advice))
        .collect()
}

/// Words of the file near the fault, and what is wrong there.
type Problem = (String, String);

/// The document with anchors and merge keys resolved.
pub(super) fn parse(file: &SourceFile) -> Result<Map<String, Value>, String> {
    serde_saphyr::from_str(&file.text).map_err(|error| format!("not YAML: {error}"))
}

/// The services by name.
pub(super) fn services(document: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    document
        .get("services")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn check_document(document: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = unknown_keys(document, "the file", |key| {
        TOP_KEYS.contains(&key) || key.starts_with("x-")
    });
    if services(document).count() < 3 {
        problems.push((
            "services:".to_owned(),
            "three nodes make a cluster that survives one".to_owned(),
        ));
    }
    problems.extend(check_beginnings(document));
    let names: BTreeSet<&str> = services(document).map(|(name, _)| name.as_str()).collect();
    let volumes = keys_of(document.get("volumes"));
    let mut host_ports = BTreeSet::new();
    for (name, service) in services(document) {
        let Some(service) = service.as_object() else {
            problems.push((format!("{name}:"), format!("service {name} is not a mapping")));
            continue;
        };
        problems.extend(check_service(name, service));
        problems.extend(check_ports(name, service, &mut host_ports));
        problems.extend(check_names(name, service, (&names, &volumes)));
    }
    problems
}

/// One node makes the cluster and all others join it: with none there is no cluster, with two there are two.
fn check_beginnings(document: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut founders = 0;
    for (name, service) in services(document) {
        let command = strings(service.get("command"));
        let has = |option: &str| command.contains(&option);
        founders += usize::from(has("--init"));
        if has("--init") == has("--join") {
            problems.push((
                format!("{name}:"),
                format!("service {name}: needs --init or --join, or it never belongs to a cluster"),
            ));
        }
    }
    if founders != 1 {
        problems.push((
            "services:".to_owned(),
            format!("{founders} services start with --init; exactly one makes the cluster"),
        ));
    }
    problems
}

fn unknown_keys(map: &Map<String, Value>, owner: &str, known: impl Fn(&str) -> bool) -> Vec<Problem> {
    let unknown = map.keys().filter(|key| !known(key));
    unknown
        .map(|key| {
            (
                format!("{key}:"),
                format!("{owner}: `{key}` is not a key that tidy knows"),
            )
        })
        .collect()
}

fn check_service(name: &str, service: &Map<String, Value>) -> Vec<Problem> {
    let owner = format!("service {name}");
    let mut problems = unknown_keys(service, &owner, |key| SERVICE_KEYS.contains(&key));
    let mut require = |holds: bool, anchor: &str, advice: &str| {
        if !holds {
            problems.push((anchor.to_owned(), format!("{owner}: {advice}")));
        }
    };
    require(
        service.contains_key("image") || service.contains_key("build"),
        name,
        "needs an image or a build",
    );
    require(
        service.get("read_only") == Some(&Value::Bool(true)),
        name,
        "needs read_only: true",
    );
    require(
        strings(service.get("cap_drop")) == ["ALL"],
        name,
        "needs cap_drop: [ALL]",
    );
    let grace = service.get("stop_grace_period");
    require(
        grace.is_none_or(is_duration),
        "stop_grace_period",
        "stop_grace_period is no duration",
    );
    let health = service.get("healthcheck").and_then(Value::as_object);
    require(health.is_some(), name, "needs a healthcheck");
    for (key, value) in health.into_iter().flatten() {
        let known = HEALTH_KEYS.contains(&key.as_str());
        require(
            known,
            key,
            &format!("healthcheck: `{key}` is not a key that tidy knows"),
        );
        let is_sound = !HEALTH_DURATIONS.contains(&key.as_str()) || is_duration(value);
        require(is_sound, key, &format!("healthcheck: {key} is no duration"));
    }
    if let Some(build) = service.get("build").and_then(Value::as_object) {
        problems.extend(unknown_keys(build, &owner, |key| BUILD_KEYS.contains(&key)));
    }
    problems
}

/// Ports are `[address:]host:container`, and no two services want the same one of the host.
fn check_ports(name: &str, service: &Map<String, Value>, taken: &mut BTreeSet<u16>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for port in strings(service.get("ports")) {
        let mut parts = port.rsplit(':').map(|part| part.parse::<u16>().ok());
        let (container, host) = (parts.next().flatten(), parts.next().flatten());
        let advice = match (container, host) {
            (Some(_), Some(host)) if taken.insert(host) => continue,
            (Some(_), Some(host)) => format!("service {name}: port {host} of the host is taken twice"),
            _ => format!("service {name}: `{port}` is not [address:]host:container"),
        };
        problems.push((port.to_owned(), advice));
    }
    problems
}

/// What a service refers to is defined: services it waits for, volumes it mounts.
fn check_names(
    name: &str,
    service: &Map<String, Value>,
    (services, volumes): (&BTreeSet<&str>, &BTreeSet<&str>),
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let awaited = service.get("depends_on");
    let awaited = strings(awaited).into_iter().chain(keys_of(awaited));
    for other in awaited.filter(|other| !services.contains(other)) {
        problems.push((
            other.to_owned(),
            format!("service {name} depends on {other}, which is not a service"),
        ));
    }
    for mount in strings(service.get("volumes")) {
        let (volume, target) = mount.split_once(':').unwrap_or((mount, ""));
        if !target.starts_with('/') {
            problems.push((
                mount.to_owned(),
                format!("service {name}: `{mount}` is not volume:/path"),
            ));
        } else if !volume.starts_with(['.', '/']) && !volumes.contains(volume) {
            problems.push((
                mount.to_owned(),
                format!("service {name}: volume {volume} is not defined"),
            ));
        }
    }
    problems
}

/// Each `dockerfile:` names a file of the tree (the context is the top).
fn check_dockerfiles(file: &SourceFile, tree: &Tree) -> Vec<Problem> {
    let named = file
        .text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("dockerfile:"))
        .map(str::trim);
    let missing = named.filter(|path| tree.file(path).is_none());
    missing
        .map(|path| (path.to_owned(), format!("dockerfile {path} is not in the tree")))
        .collect()
}

/// A duration such as `5s` or `1m30s`.
fn is_duration(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let numbers = text
        .split_inclusive(|c: char| c.is_ascii_alphabetic())
        .all(|part| {
            let digits = part.trim_end_matches(['h', 'm', 's']);
            digits.len() < part.len() && digits.parse::<u32>().is_ok()
        });
    !text.is_empty() && numbers
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    value
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn keys_of(value: Option<&Value>) -> BTreeSet<&str> {
    value
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
x-node: &node { image: covey, read_only: true, cap_drop: [ALL], healthcheck: { test: [CMD, covey], interval: 1m30s } }
services:
  a: { <<: *node, command: [start, --init, x], ports: ['127.0.0.1:7400:7400'], volumes: ['data:/var/lib/covey'], stop_grace_period: 60s }
  b: { <<: *node, command: [start, --join, 'a:7400'], ports: ['7410:7400'], depends_on: [a] }
  c: { <<: *node, command: [start, --join, 'a:7400'], depends_on: { a: { condition: service_healthy } } }
volumes:
  data: {}
";

    fn problems(text: &str) -> Vec<String> {
        let document = parse(&SourceFile::sample("compose.yaml", text)).expect("YAML");
        check_document(&document)
            .into_iter()
            .map(|(_, advice)| advice)
            .collect()
    }

    #[track_caller]
    fn assert_problem(from: &str, to: &str, expected: &str) {
        assert!(GOOD.contains(from), "{from}");
        assert_eq!(problems(&GOOD.replace(from, to)), [expected]);
    }

    #[test]
    fn a_good_file_has_no_problems() {
        assert_eq!(problems(GOOD), Vec::<String>::new());
        assert!(parse(&SourceFile::sample("compose.yaml", "a: [")).is_err());
    }

    #[test]
    fn keys_are_checked() {
        assert_problem(
            "volumes:\n",
            "volume: {}\nvolumes:\n",
            "the file: `volume` is not a key that tidy knows",
        );
        assert_problem(
            "ports: ['7410",
            "port: ['7410",
            "service b: `port` is not a key that tidy knows",
        );
    }

    #[test]
    fn names_are_checked() {
        assert_problem("[a]", "[d]", "service b depends on d, which is not a service");
        assert_problem(
            "{ a: {",
            "{ d: {",
            "service c depends on d, which is not a service",
        );
        assert_problem("'data:/", "'date:/", "service a: volume date is not defined");
    }

    #[test]
    fn values_are_checked() {
        assert_problem(
            "7410:7400",
            "7400:7400",
            "service b: port 7400 of the host is taken twice",
        );
        assert_problem(
            "'7410:7400'",
            "'7410'",
            "service b: `7410` is not [address:]host:container",
        );
        assert_problem("60s", "sixty", "service a: stop_grace_period is no duration");
    }

    #[test]
    fn exactly_one_node_makes_the_cluster() {
        let none = problems(&GOOD.replace("--init, x", "--insecure"));
        assert_eq!(none.len(), 2, "{none:?}");
        assert!(none[0].contains("service a: needs --init or --join"), "{none:?}");
        assert!(none[1].starts_with("0 services start with --init"), "{none:?}");
        let two = problems(&GOOD.replacen("--join, 'a:7400'", "--init, y", 1));
        assert_eq!(
            two,
            ["2 services start with --init; exactly one makes the cluster"]
        );
    }

    #[test]
    fn services_are_locked_down() {
        let loose = GOOD.replace("read_only: true, cap_drop: [ALL], ", "");
        assert_eq!(problems(&loose).len(), 6);
    }
}
