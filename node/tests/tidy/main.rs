//! The style of the tree as a test: it reads, reports every violation at once, and never writes.
//!
//! STYLE.md lists the rules for people. A rule here is a small function from a file (or from what cargo says about
//! the workspace) to violations, in a file named after it, with tests that show it can fail.

mod arrows;
mod deploy;
mod header;
mod length;
mod licence;
mod mask;
mod metadata;
mod names;
mod sleep;
mod tree;
mod unfinished;
mod violation;
mod words;

use mask::mask;
use metadata::Metadata;
use tree::{SourceFile, Tree};
use violation::Violation;

#[test]
fn the_tree_keeps_its_style() {
    let tree = Tree::read();
    let metadata = Metadata::read(tree.root());
    let mut violations: Vec<Violation> = tree.files().iter().flat_map(check_file).collect();
    violations.extend(arrows::check(&tree, &metadata));
    violations.extend(licence::check(&tree, &metadata));
    violations.extend(deploy::check(&tree));
    violations.sort();
    violations.dedup();
    let report: String = violations
        .iter()
        .map(|violation| format!("{violation}\n"))
        .collect();
    assert!(
        violations.is_empty(),
        "{} violations of STYLE.md:\n\n{report}",
        violations.len()
    );
}

fn check_file(file: &SourceFile) -> Vec<Violation> {
    let mut violations = words::check(file);
    if file.is_rust() {
        let masked = mask(&file.text);
        violations.extend(length::check_file(file));
        violations.extend(length::check_functions(file, &masked));
        violations.extend(header::check(file));
        violations.extend(names::check(file, &masked));
        violations.extend(unfinished::check(file, &masked));
        violations.extend(sleep::check(file, &masked));
    }
    violations
}
