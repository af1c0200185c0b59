//! Nobody waits by the clock without saying why: tests wait for the event itself, and the shell's few sleeps carry
//! their reason in a comment `// sleep: …` on the line or right above it.

use crate::mask::Masked;
use crate::tree::SourceFile;
use crate::violation::Violation;

/// One violation for each sleep in a test, and for each other sleep without its reason.
pub(crate) fn check(file: &SourceFile, masked: &Masked) -> Vec<Violation> {
    let tests_begin = first_test_line(file, masked);
    let sleeps = ["sleep", "sleep_until", "sleep_ms"]
        .into_iter()
        .flat_map(|name| masked.words(name));
    sleeps
        .filter(|(_, before, after)| is_call(before, after))
        .filter_map(|(line, _, _)| {
            let advice = if line >= tests_begin {
                "a test waits for the event itself (a watch, a reply, a poll with a deadline)"
            } else if has_reason(file, masked, line) {
                return None;
            } else {
                "say why waiting is right here: `// sleep: reason` above it"
            };
            Some(Violation::new(&file.path, line, "sleep", advice))
        })
        .collect()
}

/// The line from which everything is test code: the whole of a test file, else what follows `#[cfg(test)]`.
fn first_test_line(file: &SourceFile, masked: &Masked) -> usize {
    let is_test_file = file
        .path
        .split('/')
        .any(|part| part == "tests" || part == "tests.rs");
    if is_test_file {
        return 1;
    }
    let test_module = masked.code.lines().position(|line| line.trim() == "#[cfg(test)]");
    test_module.map_or(usize::MAX, |index| index + 1)
}

/// A call of the function, by path or by an imported name; neither its definition nor a method of that name.
fn is_call(before: &str, after: &str) -> bool {
    after.starts_with('(') && !before.ends_with('.') && !before.trim_end().ends_with("fn")
}

/// A comment on the line, or in the unbroken run of comment lines above it, that begins `sleep:`.
fn has_reason(file: &SourceFile, masked: &Masked, line: usize) -> bool {
    let lines: Vec<&str> = file.text.lines().collect();
    let comments_above = lines[..line - 1]
        .iter()
        .rev()
        .take_while(|above| above.trim_start().starts_with("//"))
        .count();
    masked
        .comments
        .iter()
        .filter(|(at, _)| (line - comments_above..=line).contains(at))
        .any(|(_, comment)| {
            comment
                .trim_start_matches('/')
                .trim_start()
                .starts_with("sleep: ")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::mask;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&SourceFile::sample(path, text), &mask(text))
            .iter()
            .map(|violation| violation.line)
            .collect()
    }

    const SHELL: &str = "node/src/actor.rs";

    #[test]
    fn a_sleep_needs_its_reason() {
        assert_eq!(lines(SHELL, "tokio::time::sleep(pause).await;\n"), [1]);
        assert!(
            lines(
                SHELL,
                "// sleep: the peer asked us to back off,\n// so we do.\ntokio::time::sleep(pause).await;\n"
            )
            .is_empty()
        );
        assert!(lines(SHELL, "sleep(pause).await; // sleep: the peer asked for it\n").is_empty());
        assert_eq!(
            lines(SHELL, "// sleep: too far away\n\nsleep(pause).await;\n"),
            [3]
        );
    }

    #[test]
    fn a_test_never_sleeps() {
        let text =
            "fn f() {}\n#[cfg(test)]\nmod tests {\n// sleep: just a little\nstd::thread::sleep(pause);\n}\n";
        assert_eq!(lines(SHELL, text), [5]);
        assert_eq!(
            lines("node/tests/restart.rs", "tokio::time::sleep_until(then).await;\n"),
            [1]
        );
        assert_eq!(lines("node/src/actor/tests.rs", "sleep(pause).await;\n"), [1]);
    }

    #[test]
    fn a_clock_of_our_own_may_have_the_name() {
        assert!(
            lines(
                SHELL,
                "fn sleep(&self) {}\nclock.sleep(pause);\nlet sleeping = \"sleep(1)\";\n"
            )
            .is_empty()
        );
    }
}
