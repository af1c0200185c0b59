//! One broken rule at one line: the only thing the rules produce.

use std::fmt;

/// Where a rule is broken and what to do about it. Sorts by path, then line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// Path from the top of the tree.
    pub(crate) path: String,
    /// Counted from one.
    pub(crate) line: usize,
    /// The rule's name, as STYLE.md lists it.
    pub(crate) rule: &'static str,
    /// What is wrong, in words that say what to do.
    pub(crate) advice: String,
}

impl Violation {
    /// A violation in `path` at `line`.
    pub(crate) fn new(path: &str, line: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule,
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}: {}: {}",
            self.path, self.line, self.rule, self.advice
        )
    }
}

#[test]
fn a_violation_prints_as_a_place_an_editor_can_open() {
    let violation = Violation::new("state/src/id.rs", 7, "header", "say what this file is");
    assert_eq!(
        violation.to_string(),
        "state/src/id.rs:7: header: say what this file is"
    );
}
