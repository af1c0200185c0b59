//! A file has at most 400 lines and a function at most 70, so that each can be read in one sitting.

use crate::mask::{Masked, is_word_character};
use crate::tree::SourceFile;
use crate::violation::Violation;

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// One violation for a file that is too long.
pub(crate) fn check_file(file: &SourceFile) -> Option<Violation> {
    let lines = file.text.lines().count();
    (lines > FILE_LINES_MAX).then(|| {
        let advice =
            format!("{lines} lines, at most {FILE_LINES_MAX}; give one of its nouns a file of its own");
        Violation::new(&file.path, lines, "file-length", advice)
    })
}

/// One violation for each function that is too long, from `fn` to its closing brace.
pub(crate) fn check_functions(file: &SourceFile, masked: &Masked) -> Vec<Violation> {
    functions(&masked.code)
        .filter(|function| function.lines > FUNCTION_LINES_MAX)
        .map(|function| {
            let Function { name, line, lines } = function;
            let advice = format!(
                "fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}; keep the branches, move the work"
            );
            Violation::new(&file.path, line, "function-length", advice)
        })
        .collect()
}

struct Function<'a> {
    name: &'a str,
    line: usize,
    lines: usize,
}

fn functions(code: &str) -> impl Iterator<Item = Function<'_>> {
    code.match_indices("fn ").filter_map(|(at, keyword)| {
        let (before, rest) = (&code[..at], &code[at + keyword.len()..]);
        if before.ends_with(is_word_character) {
            return None;
        }
        let name_length = rest.find(|character| !is_word_character(character))?;
        let opening = body_opening(rest)?;
        let body = &rest[opening..opening + body_length(&rest[opening..])];
        let lines = rest[..opening].matches('\n').count() + body.matches('\n').count() + 1;
        Some(Function {
            name: &rest[..name_length],
            line: before.matches('\n').count() + 1,
            lines,
        })
    })
}

/// Where the body's brace is; `None` for a function without a body and for a function type.
fn body_opening(signature: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, byte) in signature.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' | b'}' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// How far the braces that open at the start of `code` reach.
fn body_length(code: &str) -> usize {
    let mut depth = 0_i32;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::mask;

    fn long_function(lines: usize) -> String {
        format!(
            "impl A {{\n    fn long(a: [u8; 2]) -> u8 {{\n{}    }}\n}}\n",
            "        f(\"}\"); // }\n".repeat(lines - 2)
        )
    }

    fn check(text: &str) -> Vec<Violation> {
        check_functions(&SourceFile::sample("a.rs", text), &mask(text))
    }

    #[test]
    fn a_file_of_401_lines_is_too_long() {
        assert!(check_file(&SourceFile::sample("a.rs", &"\n".repeat(400))).is_none());
        assert!(check_file(&SourceFile::sample("a.rs", &"\n".repeat(401))).is_some());
    }

    #[test]
    fn a_function_of_71_lines_is_too_long() {
        assert_eq!(check(&long_function(70)), []);
        let found = check(&long_function(71));
        assert_eq!((found.len(), found[0].line), (1, 2));
        assert!(
            found[0].advice.starts_with("fn long has 71 lines"),
            "{}",
            found[0].advice
        );
    }

    #[test]
    fn functions_without_a_body_have_no_length() {
        let text = format!(
            "trait A {{ fn f(&self); }}\nstruct B {{ g: fn (u8) }}\n{}",
            "\n".repeat(100)
        );
        assert_eq!(check(&text), []);
    }
}
