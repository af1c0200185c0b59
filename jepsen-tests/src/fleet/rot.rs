//! Bits that flip on a node's disk: in its log, its state or a snapshot, wherever chance has it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

/// What a file is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// A table of the database of the logs.
    LogTable,
    /// Its write-ahead log.
    LogJournal,
    /// A table of the database of the states.
    StateTable,
    /// Its write-ahead log.
    StateJournal,
    /// Anything in the directory of a snapshot.
    Snapshot,
}

impl Part {
    /// All of them.
    const ALL: [Self; 5] = [
        Self::LogTable,
        Self::LogJournal,
        Self::StateTable,
        Self::StateJournal,
        Self::Snapshot,
    ];

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::LogTable => "a table of the log",
            Self::LogJournal => "the write-ahead log of the log",
            Self::StateTable => "a table of the state",
            Self::StateJournal => "the write-ahead log of the state",
            Self::Snapshot => "a snapshot",
        }
    }

    /// Whether a node that runs reads it, and does not append to it.
    fn is_read_while_running(self) -> bool {
        match self {
            Self::LogTable | Self::StateTable | Self::Snapshot => true,
            Self::LogJournal | Self::StateJournal => false,
        }
    }

    /// The files of a node that are this, with their lengths; empty ones are left out.
    fn files(self, data: &Path) -> Vec<(PathBuf, u64)> {
        let (folder, ending) = match self {
            Self::LogTable => ("raft", Some("sst")),
            Self::LogJournal => ("raft", Some("log")),
            Self::StateTable => ("state/db", Some("sst")),
            Self::StateJournal => ("state/db", Some("log")),
            Self::Snapshot => ("snapshots", None),
        };
        let mut files = Vec::new();
        gather(&data.join(folder), &mut files);
        let fits =
            |path: &Path| ending.is_none_or(|ending| path.extension().is_some_and(|its| its == ending));
        files.retain(|(path, bytes)| *bytes > 0 && fits(path));
        // A directory lists its files in any order.
        files.sort();
        files
    }
}

/// Whether the node runs while a bit flips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    Running,
    Stopped,
}

/// A bit that was flipped.
#[derive(Debug, Clone)]
pub(crate) struct Flipped {
    /// What is damaged.
    pub(crate) part: Part,
    /// Its file.
    pub(crate) path: PathBuf,
    /// The byte.
    pub(crate) offset: u64,
    /// Its bit.
    pub(crate) bit: u8,
    /// What the byte was.
    was: u8,
}

impl Flipped {
    /// The name of the file.
    pub(crate) fn file_name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Whether it is still there: the file may be gone, or have been written anew.
    pub(crate) fn is_there(&self) -> Result<bool> {
        let name = || format!("cannot read {}", self.path.display());
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.with_context(name)?,
        };
        let mut byte = [0];
        match file.read_exact_at(&mut byte, self.offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            read => {
                read.with_context(name)?;
                Ok(byte[0] == self.was ^ (1 << self.bit))
            }
        }
    }

    /// Flips it back if it is still there, and tells whether it was. The node must have ended.
    pub(crate) fn undo(&self) -> Result<bool> {
        let is_there = self.is_there()?;
        if is_there {
            let name = || format!("cannot mend {}", self.path.display());
            let file = File::options().write(true).open(&self.path).with_context(name)?;
            write(&file, self.offset, self.was).with_context(name)?;
        }
        Ok(is_there)
    }
}

/// Flips a bit below the directory of a node's data: every part is as likely, and in it every byte.
pub(crate) fn flip(data: &Path, node: Node, random: &mut Xoshiro256PlusPlus) -> Result<Flipped> {
    let mut parts: Vec<(Part, Vec<(PathBuf, u64)>)> = Part::ALL
        .into_iter()
        .filter(|part| node == Node::Stopped || part.is_read_while_running())
        .map(|part| (part, part.files(data)))
        .collect();
    parts.retain(|(_, files)| !files.is_empty());
    let (part, files) = parts.choose(random).with_context(|| {
        format!(
            "there is nothing below {} in which a bit could flip",
            data.display()
        )
    })?;
    let (path, _) = files
        .choose_weighted(random, |(_, bytes)| *bytes)
        .context("no file can be chosen")?;
    let name = || format!("cannot flip a bit of {}", path.display());
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .with_context(name)?;
    let bytes = file.metadata().with_context(name)?.len();
    let (offset, bit) = (random.gen_range(0..bytes.max(1)), random.gen_range(0..8));
    let mut was = [0];
    file.read_exact_at(&mut was, offset).with_context(name)?;
    write(&file, offset, was[0] ^ (1 << bit)).with_context(name)?;
    Ok(Flipped {
        part: *part,
        path: path.clone(),
        offset,
        bit,
        was: was[0],
    })
}

/// What the database of a file says of itself beside what its node logs.
pub(crate) fn database_log(path: &Path) -> String {
    let mut logs = Vec::new();
    gather(path.parent().unwrap_or(path), &mut logs);
    let is_log = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("LOG"))
    };
    let texts = logs
        .into_iter()
        .map(|(path, _)| path)
        .filter(is_log)
        .map(fs::read);
    let bytes: Vec<u8> = texts.filter_map(Result::ok).flatten().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn write(file: &File, offset: u64, byte: u8) -> io::Result<()> {
    file.write_all_at(&[byte], offset)?;
    // It is to outlive a power cut, too.
    file.sync_all()
}

/// Every file below a directory; one that goes meanwhile is left out.
fn gather(directory: &Path, files: &mut Vec<(PathBuf, u64)>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        match entry.metadata() {
            Ok(found) if found.is_dir() => gather(&entry.path(), files),
            Ok(found) if found.is_file() => files.push((entry.path(), found.len())),
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that finds something else than it expects fails"
)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const FILES: [&str; 6] = [
        "raft/000007.sst",
        "raft/000008.log",
        "raft/MANIFEST-000005",
        "state/db/000009.sst",
        "state/db/000010.log",
        "snapshots/g1/0/record",
    ];

    fn node() -> tempfile::TempDir {
        let data = tempfile::tempdir().unwrap();
        for file in FILES {
            let path = data.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, [0x55; 100]).unwrap();
        }
        data
    }

    #[test]
    fn one_bit_of_one_file_is_flipped_and_flipped_back() {
        let data = node();
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            let flipped = flip(data.path(), Node::Stopped, &mut random).unwrap();
            seen.insert(flipped.part);
            let damaged: Vec<(u8, u8)> = FILES
                .iter()
                .flat_map(|file| fs::read(data.path().join(file)).unwrap())
                .filter(|byte| *byte != 0x55)
                .map(|byte| (byte, byte ^ 0x55))
                .collect();
            assert_eq!(damaged.len(), 1, "seed {seed}");
            assert_eq!(damaged[0].1.count_ones(), 1, "seed {seed}");
            assert!(flipped.undo().unwrap() && !flipped.undo().unwrap(), "seed {seed}");
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), Part::ALL);
    }

    #[test]
    fn a_running_node_keeps_its_write_ahead_logs_and_a_file_that_is_gone_needs_no_mending() {
        let data = node();
        for seed in 0..50 {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            let flipped = flip(data.path(), Node::Running, &mut random).unwrap();
            assert!(flipped.part.is_read_while_running(), "seed {seed}: {flipped:?}");
            assert!(flipped.undo().unwrap());
        }
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let flipped = flip(data.path(), Node::Stopped, &mut random).unwrap();
        fs::remove_file(&flipped.path).unwrap();
        assert!(!flipped.undo().unwrap());
    }
}
