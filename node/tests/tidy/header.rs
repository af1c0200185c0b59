//! Every Rust file begins by saying what it is.

use crate::tree::SourceFile;
use crate::violation::Violation;

/// One violation for a file whose first line is not `//!` and some words.
pub(crate) fn check(file: &SourceFile) -> Option<Violation> {
    let first = file.text.lines().next().unwrap_or_default();
    let says_something = first
        .strip_prefix("//!")
        .is_some_and(|words| !words.trim().is_empty());
    let advice = "begin with `//!`: what this file is, what it is not, which invariant it keeps";
    (!says_something).then(|| Violation::new(&file.path, 1, "header", advice))
}

#[test]
fn a_file_without_a_header_is_reported() {
    assert_eq!(check(&SourceFile::sample("a.rs", "//! Words.\n")), None);
    for text in ["", "//!\n", "\n//! Words.\n", "// Words.\n", "use std::fs;\n"] {
        assert!(check(&SourceFile::sample("a.rs", text)).is_some(), "{text:?}");
    }
}
