//! Where definitions come from: files, documents within them, and faults that say where they are.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Kind;
use crate::cli::trouble::Trouble;

/// The file itself, or the YAML files of the folder in name order.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, Trouble> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let trouble = |error: std::io::Error| Trouble::file(path, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(trouble)? {
        let file = entry.map_err(trouble)?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// One document of a file. Its text begins with as many empty lines as stand before it in the file, so that the
/// parser counts lines as an editor does.
#[derive(Debug, Clone)]
pub(super) struct Document {
    number: usize,
    first_line: u64,
    text: String,
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    document: usize,
    line: u64,
    column: u64,
    reason: String,
}

impl Fault {
    /// The fault as the user sees it.
    pub(super) fn in_file(self, file: &str) -> Trouble {
        let Self {
            document,
            line,
            column,
            reason,
        } = self;
        let what = format!("{file}:{line}:{column} (document {document}): {reason}");
        Trouble::refused(what, "correct the file and apply it again; nothing has changed")
    }
}

/// The documents of a YAML text: a line that begins with `---` always starts a new one. Empty ones are left out.
pub(super) fn documents(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut body = String::new();
    let mut first_line = 1;
    let mut finish = |body: &mut String, first_line: u64| {
        let means_something = body
            .lines()
            .any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
        if means_something {
            let leading = "\n".repeat(usize::try_from(first_line - 1).unwrap_or(0));
            documents.push((first_line, leading + body));
        }
        body.clear();
    };
    for (line, number) in text.lines().zip(1_u64..) {
        if line == "---" || line.starts_with("--- ") {
            finish(&mut body, first_line);
            first_line = number + 1;
        } else {
            body.push_str(line);
            body.push('\n');
        }
    }
    finish(&mut body, first_line);
    let numbered = documents.into_iter().zip(1..);
    numbered
        .map(|((first_line, text), number)| Document {
            number,
            first_line,
            text,
        })
        .collect()
}

impl Document {
    /// The kind that the document says it is.
    pub(super) fn kind(&self) -> Result<Kind, Fault> {
        #[derive(Deserialize)]
        struct Head {
            kind: Kind,
        }
        self.read::<Head>().map(|head| head.kind)
    }

    /// The document as a `T`.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_saphyr::from_str(&self.text).map_err(|error| {
            let error = error.without_snippet();
            let place = error.location().map(|place| (place.line(), place.column()));
            let (line, column) = place
                .filter(|(line, _)| *line > 0)
                .unwrap_or((self.first_line, 1));
            Fault {
                document: self.number,
                line,
                column,
                reason: reason(error),
            }
        })
    }

    /// Something wrong with the document as a whole.
    pub(super) fn fault(&self, reason: String) -> Fault {
        Fault {
            document: self.number,
            line: self.first_line,
            column: 1,
            reason,
        }
    }
}

/// The parser's text without the place, which is said in front already.
fn reason(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.split(" at line ").next().unwrap_or(first).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_line_numbers_and_empty_ones_are_left_out() {
        let documents = documents("# only a remark\n---\na: 1\n---\n\n---\nb: 2\n");
        let places: Vec<_> = documents
            .iter()
            .map(|document| (document.number, document.first_line))
            .collect();
        assert_eq!(places, [(1, 3), (2, 7)]);
        assert_eq!(documents[1].text.lines().count(), 7);
    }
}
