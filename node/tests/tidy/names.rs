//! A file is named after its noun: no `mod.rs`, and no names that mean "everything else".

use crate::mask::{Masked, is_word_character};
use crate::tree::SourceFile;
use crate::violation::Violation;

const ATTICS: [&str; 10] = [
    "utils",
    "util",
    "common",
    "helpers",
    "helper",
    "misc",
    "types",
    "stuff",
    "shared_types",
    "utilities",
];

/// One violation for each name in the path, or of a module inside the file, that says nothing.
pub(crate) fn check(file: &SourceFile, masked: &Masked) -> Vec<Violation> {
    let mut violations = Vec::new();
    if file.path.ends_with("/mod.rs") {
        let advice = "name the file after its directory and put it beside it";
        violations.push(Violation::new(&file.path, 1, "names", advice));
    }
    let stem = file.path.trim_end_matches(".rs");
    for part in stem.split('/').filter(|part| is_attic(part)) {
        violations.push(Violation::new(&file.path, 1, "names", nameless(part)));
    }
    for (line, _, after) in masked.words("mod") {
        let name = after
            .trim_start()
            .split(|character| !is_word_character(character))
            .next()
            .unwrap_or_default();
        if is_attic(name) {
            violations.push(Violation::new(&file.path, line, "names", nameless(name)));
        }
    }
    violations
}

fn is_attic(name: &str) -> bool {
    ATTICS.contains(&name)
}

fn nameless(name: &str) -> String {
    format!("`{name}` says nothing; name it after the one noun it holds")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::mask;

    fn count(path: &str, text: &str) -> usize {
        check(&SourceFile::sample(path, text), &mask(text)).len()
    }

    #[test]
    fn names_that_say_nothing_are_reported() {
        assert_eq!(count("state/src/id.rs", "mod tests {}\n"), 0);
        assert_eq!(count("state/src/view/mod.rs", ""), 1);
        assert_eq!(count("state/src/utils.rs", ""), 1);
        assert_eq!(count("node/tests/common/cluster.rs", ""), 1);
    }

    #[test]
    fn modules_are_held_to_the_same_names() {
        assert_eq!(count("state/src/id.rs", "pub(crate) mod helpers {}\n"), 1);
        assert_eq!(
            count("state/src/id.rs", "// mod helpers;\nmod types_of_entity;\n"),
            0
        );
    }
}
