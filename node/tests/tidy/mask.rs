//! Rust source with its comments and literals blanked, so that a rule sees code and nothing that only looks like it.
//!
//! Not a parser: it knows where comments, strings and characters begin and end, and no more. Blanking keeps every
//! byte's position, so a place in the code is a place in the file.

/// A file's code, and its comments apart.
pub(crate) struct Masked {
    /// The source with a space for every byte of a comment or literal; line breaks stay.
    pub(crate) code: String,
    /// Each comment with the line it begins on, counted from one.
    pub(crate) comments: Vec<(usize, String)>,
}

impl Masked {
    /// Every place where `word` stands as a whole word in the code, as (line, bytes before, bytes after on the line).
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = (usize, &'a str, &'a str)> {
        self.code.lines().enumerate().flat_map(move |(index, line)| {
            line.match_indices(word)
                .map(move |(at, _)| (index + 1, &line[..at], &line[at + word.len()..]))
                .filter(|(_, before, after)| {
                    !before.ends_with(is_word_character) && !after.starts_with(is_word_character)
                })
        })
    }
}

/// True for characters that continue an identifier.
pub(crate) fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

/// Blanks the comments and literals of `source`.
pub(crate) fn mask(source: &str) -> Masked {
    let mut masked = Masked {
        code: String::with_capacity(source.len()),
        comments: Vec::new(),
    };
    let (mut at, mut line) = (0, 1);
    let mut previous = ' ';
    while at < source.len() {
        let (kind, length) = token(&source[at..], previous);
        let text = &source[at..at + length];
        match kind {
            Kind::Code => masked.code.push_str(text),
            Kind::Comment | Kind::Literal => masked.code.extend(text.bytes().map(blank)),
        }
        if kind == Kind::Comment {
            masked.comments.push((line, text.to_owned()));
        }
        line += text.matches('\n').count();
        previous = text.chars().next_back().unwrap_or(' ');
        at += length;
    }
    masked
}

fn blank(byte: u8) -> char {
    if byte == b'\n' { '\n' } else { ' ' }
}

/// What `rest` begins with and how many bytes of it that is. `previous` tells `r"raw"` from the end of a name.
fn token(rest: &str, previous: char) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment_length(rest));
    }
    if let Some(length) = raw_string_length(rest).filter(|_| !is_word_character(previous)) {
        return (Kind::Literal, length);
    }
    if rest.starts_with('"') {
        return (Kind::Literal, string_length(rest));
    }
    if let Some(length) = character_length(rest) {
        return (Kind::Literal, length);
    }
    (Kind::Code, rest.chars().next().map_or(1, char::len_utf8))
}

/// Block comments nest.
fn block_comment_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut depth) = (2, 1);
    while at < bytes.len() && depth > 0 {
        match &bytes[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// `r"…"`, `r#"…"#`, and the same after `b` or `c`; not the raw identifier `r#type`.
fn raw_string_length(rest: &str) -> Option<usize> {
    let after_prefix = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let body = after_prefix.trim_start_matches('#');
    let hashes = after_prefix.len() - body.len();
    let body = body.strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let opening = rest.len() - body.len();
    Some(
        body.find(&closing)
            .map_or(rest.len(), |end| opening + end + closing.len()),
    )
}

fn string_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of a character literal; `None` for a lifetime or anything else.
fn character_length(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    if body.starts_with('\\') {
        return body.get(2..)?.find('\'').map(|end| 1 + 2 + end + 1);
    }
    let character = body.chars().next()?;
    body[character.len_utf8()..]
        .starts_with('\'')
        .then_some(1 + character.len_utf8() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> String {
        let masked = mask(source);
        assert_eq!(masked.code.len(), source.len(), "blanking keeps every position");
        masked.code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_blanked_and_kept_apart() {
        assert_eq!(code("a // b\n/* c /* d */ e */ f"), "a f");
        let masked = mask("let a = 1;\n// why\nlet b = 2; // and why\n");
        assert_eq!(
            masked.comments,
            [(2, "// why".to_owned()), (3, "// and why".to_owned())]
        );
    }

    #[test]
    fn strings_of_every_kind_are_blanked() {
        assert_eq!(code(r#"f("todo \" fn {") g"#), "f( ) g");
        assert_eq!(code("f(r#\"fn \" {\"#, br\"}\") g"), "f( , ) g");
        assert_eq!(code("f(b\"{\") g"), "f(b ) g");
    }

    #[test]
    fn characters_are_blanked_and_lifetimes_stay() {
        assert_eq!(
            code("match c { '{' | '\\'' | '\\u{7d}' | 'é' => f::<'a>(&'static r#type) }"),
            "match c { | | | => f::<'a>(&'static r#type) }"
        );
    }

    #[test]
    fn words_are_whole_words() {
        let masked = mask("fn f() {}\nlet fnord = \"fn\";\npub fn g() {}\n");
        let found: Vec<usize> = masked.words("fn").map(|(line, _, _)| line).collect();
        assert_eq!(found, [1, 3]);
    }
}
