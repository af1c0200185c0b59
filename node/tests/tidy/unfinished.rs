//! Nothing is left half done: no placeholder, no debugging print, no test that is skipped or wants a panic.

use crate::mask::Masked;
use crate::tree::SourceFile;
use crate::violation::Violation;

const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];
const ATTRIBUTES: [(&str, &str); 2] = [
    ("ignore", "a test runs or is deleted"),
    (
        "should_panic",
        "assert on the error that is returned; a panic is a fault, not an answer",
    ),
];

/// One violation for each placeholder macro and each banned test attribute.
pub(crate) fn check(file: &SourceFile, masked: &Masked) -> Vec<Violation> {
    let mut violations = Vec::new();
    for name in MACROS {
        for (line, _, after) in masked.words(name) {
            if after.starts_with('!') && !after.starts_with("!=") {
                let advice = format!("`{name}!` is not finished work; write it or leave it out");
                violations.push(Violation::new(&file.path, line, "unfinished", advice));
            }
        }
    }
    for (name, reason) in ATTRIBUTES {
        for (line, before, _) in masked.words(name) {
            if is_attribute(before) {
                let advice = format!("`#[{name}]`: {reason}");
                violations.push(Violation::new(&file.path, line, "unfinished", advice));
            }
        }
    }
    violations
}

/// True when `before` ends at the start of an attribute, or inside a `cfg_attr`.
fn is_attribute(before: &str) -> bool {
    let before = before.trim_end();
    before.ends_with("#[")
        || before
            .rfind("#[cfg_attr(")
            .is_some_and(|at| !before[at..].contains(']'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::mask;

    fn lines(text: &str) -> Vec<usize> {
        check(&SourceFile::sample("a.rs", text), &mask(text))
            .iter()
            .map(|violation| violation.line)
            .collect()
    }

    #[test]
    fn placeholders_are_reported() {
        assert_eq!(
            lines("fn f() {\n    todo!()\n}\nfn g() { dbg!(1); unimplemented!(\"h\") }\n"),
            [2, 4, 4]
        );
    }

    #[test]
    fn skipped_tests_are_reported() {
        assert_eq!(
            lines(
                "#[ignore]\n#[ignore = \"slow\"]\n#[cfg_attr(miri, ignore)]\n#[should_panic(expected = \"a\")]\n"
            ),
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn the_same_words_elsewhere_are_not() {
        assert!(
            lines("// todo!()\nlet todo = \"dbg!\"; let ignore = todo != 1;\n#[serde(skip)] struct A;\n")
                .is_empty()
        );
    }
}
