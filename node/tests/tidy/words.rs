//! Words that rot: promises without an issue to keep them, and paths that exist on one machine only.

use crate::mask::is_word_character;
use crate::tree::SourceFile;
use crate::violation::Violation;

const PROMISES: [&str; 2] = ["TODO", "FIXME"];
const MACHINE_PATHS: [&str; 3] = ["/work/", "/root/", "/home/"];

/// This rule's own tests have to say the words.
const EXEMPT: &str = "node/tests/tidy/words.rs";

/// One violation for each line with a promise that names no issue, or with somebody's path.
pub(crate) fn check(file: &SourceFile) -> Vec<Violation> {
    if file.path == EXEMPT {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if let Some(word) = PROMISES.into_iter().find(|word| is_bare_promise(line, word)) {
            let advice = format!("`{word}` without an issue: write `{word}(#123)`, or do it now");
            violations.push(Violation::new(&file.path, index + 1, "words", advice));
        }
        if let Some(path) = MACHINE_PATHS.into_iter().find(|path| is_machine_path(line, path)) {
            let advice = format!("`{path}` is somebody's machine; use a path from the tree or a setting");
            violations.push(Violation::new(&file.path, index + 1, "words", advice));
        }
    }
    violations
}

/// The word, whole, and not followed by `(#number)`.
fn is_bare_promise(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let names_issue = after
            .strip_prefix("(#")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        !before.ends_with(is_word_character) && !after.starts_with(is_word_character) && !names_issue
    })
}

/// The path from the root of a machine, with something behind it; not a part of a longer path or an address.
fn is_machine_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + path.len()..]);
        let inside_longer = before.ends_with(|c: char| is_word_character(c) || ".-~}*".contains(c));
        !inside_longer && after.starts_with(|c: char| is_word_character(c) || c == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check(&SourceFile::sample("README.md", text))
            .iter()
            .map(|violation| violation.line)
            .collect()
    }

    #[test]
    fn a_promise_names_its_issue() {
        assert_eq!(lines("// TODO: later\n// FIXME later\n// TODO(#)\n"), [1, 2, 3]);
        assert!(lines("// TODO(#12): when openraft 0.10 is out\n// METHODTODO\n").is_empty());
    }

    #[test]
    fn a_machine_path_is_reported() {
        assert_eq!(
            lines("see /work/main\n\"/home/ann/covey\"\ncd /root/.cargo\n"),
            [1, 2, 3]
        );
        assert!(lines("$HOME/work/a https://example.com/home/page network/work/a /workspace/a\n").is_empty());
    }
}
