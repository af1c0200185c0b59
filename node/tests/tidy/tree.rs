//! The files of the tree: what git would commit, or, outside a checkout, what lies under the top directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Directories that hold output, never sources. git knows them from .gitignore.
const OUTPUT_DIRECTORIES: [&str; 4] = [".git", "target", "bench-results", "covey-demo"];

/// A text file and its path from the top of the tree, with `/` between the parts.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    /// True for Rust sources.
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The first line that contains `needle`, counted from one; one where nothing does.
    pub(crate) fn line_of(&self, needle: &str) -> usize {
        self.text
            .lines()
            .position(|line| line.contains(needle))
            .map_or(1, |index| index + 1)
    }

    /// A file that exists only in a test.
    #[cfg(test)]
    pub(crate) fn sample(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}

/// Every text file of the tree, read once. Files that are not UTF-8 (data) are left out.
pub(crate) struct Tree {
    root: PathBuf,
    files: Vec<SourceFile>,
}

impl Tree {
    /// Reads the tree this test runs in: where it was built from may be another one, because clones share a target folder.
    pub(crate) fn read() -> Self {
        let root = Path::new("..")
            .canonicalize()
            .expect("the node package lies one level below the top");
        let paths = tracked_by_git(&root).unwrap_or_else(|| walk(&root));
        let files = paths
            .into_iter()
            .filter_map(|path| {
                Some(SourceFile {
                    text: fs::read_to_string(root.join(&path)).ok()?,
                    path,
                })
            })
            .collect();
        Self { root, files }
    }

    /// The top directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Every text file.
    pub(crate) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The file at `path`, if it is there.
    pub(crate) fn file(&self, path: &str) -> Option<&SourceFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Files that are tracked, or new and not ignored. `None` where git or its checkout is missing.
fn tracked_by_git(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|output| output.status.success() && !output.stdout.is_empty())?;
    let listing = String::from_utf8(output.stdout).ok()?;
    Some(listing.split_terminator('\0').map(str::to_owned).collect())
}

fn walk(root: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the tree can be listed") {
            let entry = entry.expect("an entry of the tree can be read");
            let path = entry.path();
            if !path.is_dir() {
                let relative = path.strip_prefix(root).expect("the walk stays below the top");
                paths.push(relative.to_string_lossy().replace('\\', "/"));
            } else if !OUTPUT_DIRECTORIES.contains(&entry.file_name().to_string_lossy().as_ref()) {
                directories.push(path);
            }
        }
    }
    paths.sort();
    paths
}

#[test]
fn git_and_a_walk_both_find_this_file() {
    let tree = Tree::read();
    let this = "node/tests/tidy/tree.rs";
    assert!(tree.file(this).is_some());
    assert!(walk(tree.root()).iter().any(|path| path == this));
}

#[test]
fn a_line_is_found_by_what_it_contains() {
    let file = SourceFile::sample("a.md", "first\nsecond\n");
    assert_eq!((file.line_of("second"), file.line_of("absent")), (2, 1));
}
