//! Crates depend on each other as ARCHITECTURE.md draws it, and the libraries that shape a crate stay inside it.
//!
//! The drawing is the table: the code block that opens with "```arrows", with lines such as `cluster -> storage, state`. A
//! crate without a line of its own depends on none of ours.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::{Dependency, Metadata, Package};
use crate::tree::{SourceFile, Tree};
use crate::violation::Violation;

const DRAWING: &str = "ARCHITECTURE.md";
const FENCE: &str = "```arrows";
const PREFIX: &str = "covey-";

/// Libraries that only these crates may name, so that replacing one is a change in one place.
const CONFINED: [(&str, &[&str]); 6] = [
    ("openraft", &["cluster"]),
    ("rocksdb", &["storage"]),
    ("ractor", &["node"]),
    ("axum", &["node"]),
    ("tonic", &["proto", "cluster", "node", "sim", "jepsen"]),
    ("tokio", &["storage", "cluster", "node", "sim", "jepsen"]),
];

/// For each crate: the line of ARCHITECTURE.md that draws it, and the crates its arrows reach.
type Arrows = BTreeMap<String, (usize, BTreeSet<String>)>;

/// One violation for each arrow that is drawn and not there, or there and not drawn, and for each stray library.
pub(crate) fn check(tree: &Tree, metadata: &Metadata) -> Vec<Violation> {
    let mut violations: Vec<Violation> = metadata.members().flat_map(check_confined).collect();
    match tree.file(DRAWING).map(drawn_arrows) {
        Some(arrows) if !arrows.is_empty() => {
            violations.extend(
                metadata
                    .members()
                    .flat_map(|package| check_drawn(package, &arrows)),
            );
            violations.extend(check_crates_exist(metadata, &arrows));
        }
        _ => {
            let advice =
                "draw the crates: a code block that opens with ```arrows, with lines like `storage -> state`";
            violations.push(Violation::new(DRAWING, 1, "arrows", advice));
        }
    }
    violations
}

fn drawn_arrows(file: &SourceFile) -> Arrows {
    let lines = file.text.lines().enumerate();
    lines
        .skip_while(|(_, line)| *line != FENCE)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("```"))
        .filter_map(|(index, line)| {
            let (from, to) = line.split_once("->")?;
            let reached = to
                .split(',')
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty());
            Some((from.trim().to_owned(), (index + 1, reached.collect())))
        })
        .collect()
}

fn check_drawn(package: &Package, arrows: &Arrows) -> Vec<Violation> {
    let name = short_name(&package.name);
    let nothing = (1, BTreeSet::new());
    let (line, drawn) = arrows.get(name).unwrap_or(&nothing);
    let ordinary = ours(package, |dependency| dependency.kind.as_deref() != Some("dev"));
    let all = ours(package, |_| true);
    let missing_from_drawing = all.difference(drawn).map(|to| {
        let advice =
            format!("{name} depends on {to}, an arrow that {DRAWING} does not draw; see docs/adr to add one");
        Violation::new(&manifest(package), 1, "arrows", advice)
    });
    let missing_from_manifest = drawn.difference(&ordinary).map(|to| {
        let advice = format!("{name} -> {to} is drawn, but {name} does not depend on {to}");
        Violation::new(DRAWING, *line, "arrows", advice)
    });
    missing_from_drawing.chain(missing_from_manifest).collect()
}

/// Everything in the drawing is a crate, and every crate is in the drawing.
fn check_crates_exist(metadata: &Metadata, arrows: &Arrows) -> Vec<Violation> {
    let members: BTreeSet<&str> = metadata
        .members()
        .map(|package| short_name(&package.name))
        .collect();
    let ends = arrows.iter().flat_map(|(from, (_, to))| to.iter().chain([from]));
    let drawn: BTreeSet<&str> = ends.map(String::as_str).collect();
    let line_of = |name: &str| arrows.get(name).map_or(1, |(line, _)| *line);
    let gone = drawn.difference(&members).map(|name| {
        Violation::new(
            DRAWING,
            line_of(name),
            "arrows",
            format!("{name} is drawn, but is no crate of the workspace"),
        )
    });
    let missing = members.difference(&drawn).map(|name| {
        Violation::new(
            DRAWING,
            1,
            "arrows",
            format!("crate {name} is not drawn; add it to the block \"arrows\""),
        )
    });
    gone.chain(missing).collect()
}

fn check_confined(package: &Package) -> Vec<Violation> {
    let name = short_name(&package.name);
    let strays = CONFINED.iter().filter(|(library, crates)| {
        let named = package
            .dependencies
            .iter()
            .any(|dependency| dependency.name == *library);
        named && !crates.contains(&name)
    });
    strays
        .map(|(library, crates)| {
            let advice = format!("{library} belongs to {} alone", crates.join(", "));
            Violation::new(&manifest(package), 1, "arrows", advice)
        })
        .collect()
}

/// The crates of the workspace among the dependencies that `wanted` picks.
fn ours(package: &Package, wanted: impl Fn(&Dependency) -> bool) -> BTreeSet<String> {
    let picked = package
        .dependencies
        .iter()
        .filter(|dependency| wanted(dependency));
    picked
        .filter_map(|dependency| dependency.name.strip_prefix(PREFIX))
        .map(str::to_owned)
        .collect()
}

fn short_name(package: &str) -> &str {
    package.strip_prefix(PREFIX).unwrap_or(package)
}

fn manifest(package: &Package) -> String {
    format!("{}/Cargo.toml", short_name(&package.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWN: &str = "# Covey\n\nWords.\n\n```arrows\nstorage -> state\n```\n";

    fn arrows() -> Arrows {
        drawn_arrows(&SourceFile::sample(DRAWING, DRAWN))
    }

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies.iter().map(|name| Dependency {
            name: (*name).to_owned(),
            kind: None,
        });
        Package {
            id: name.to_owned(),
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            license: None,
            dependencies: dependencies.collect(),
        }
    }

    fn advice(violations: &[Violation]) -> Vec<&str> {
        violations
            .iter()
            .map(|violation| violation.advice.as_str())
            .collect()
    }

    #[test]
    fn the_drawing_is_read_with_its_lines() {
        let state = BTreeSet::from(["state".to_owned()]);
        assert_eq!(arrows(), BTreeMap::from([("storage".to_owned(), (6, state))]));
        assert!(drawn_arrows(&SourceFile::sample(DRAWING, "# Covey\n")).is_empty());
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_reported() {
        assert_eq!(
            check_drawn(&package("covey-storage", &["covey-state", "bytes"]), &arrows()),
            []
        );
        let found = check_drawn(&package("covey-state", &["covey-storage"]), &arrows());
        assert!(
            advice(&found)[0].starts_with("state depends on storage"),
            "{found:?}"
        );
    }

    #[test]
    fn an_arrow_that_is_only_drawn_is_reported() {
        let found = check_drawn(&package("covey-storage", &[]), &arrows());
        assert_eq!(
            advice(&found),
            ["storage -> state is drawn, but storage does not depend on state"]
        );
    }

    #[test]
    fn every_crate_is_drawn_and_everything_drawn_is_a_crate() {
        let packages = vec![package("covey-state", &[]), package("covey-ml", &[])];
        let workspace_members = vec!["covey-state".to_owned(), "covey-ml".to_owned()];
        let found = check_crates_exist(
            &Metadata {
                packages,
                workspace_members,
            },
            &arrows(),
        );
        let expected = [
            "storage is drawn, but is no crate of the workspace",
            "crate ml is not drawn; add it to the block \"arrows\"",
        ];
        assert_eq!(advice(&found), expected);
    }

    #[test]
    fn a_confined_library_elsewhere_is_reported() {
        assert_eq!(check_confined(&package("covey-cluster", &["openraft"])), []);
        let found = check_confined(&package("covey-node", &["openraft"]));
        assert_eq!(advice(&found), ["openraft belongs to cluster alone"]);
    }
}
