//! Checksums of ranges of a group's state, so that replicas can be compared without sending what they hold.
//!
//! One replica splits a stretch of its keys into ranges, the others sum the very same ranges, and where two sums differ
//! the range is split again, down to one key. Memory does not grow with the state: one hash is open at a time.
//!
//! Invariant: every record that went into a sum was verified first. A damaged one ends the summing, named with its key
//! and, where RocksDB knows it, its file.

use std::ops::ControlFlow;

use covey_state::Digest;
use covey_state::key::Table;
use rocksdb::ReadOptions;
use sha2::{Digest as _, Sha256};

use super::layout::{self, PREFIX_BYTES, TABLES, table_name};
use super::view::GroupView;
use crate::error::{Error, Place};

/// Bytes that are read ahead of a long scan.
const READ_AHEAD_BYTES: usize = 1 << 20;

/// A place between two keys of a group, over all tables, in the order in which sums are taken. Places of different
/// replicas can be compared. The default is the beginning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position(Vec<u8>);

impl Position {
    /// After the last key.
    pub fn end() -> Self {
        Self(vec![number(TABLES.len())])
    }

    /// A place as it came from another replica.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// A place as it goes to another replica.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Just before a key, given by its table's place and its stored bytes.
    fn before(table: usize, stored: &[u8]) -> Self {
        let mut bytes = vec![number(table)];
        bytes.extend_from_slice(stored.get(PREFIX_BYTES..).unwrap_or_default());
        Self(bytes)
    }

    /// The place of its table, and the part of the key after the group's prefix.
    fn split(&self) -> (usize, &[u8]) {
        match self.0.split_first() {
            Some((table, key)) => (usize::from(*table), key),
            None => (0, &[]),
        }
    }
}

/// How a stretch of keys is cut into ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Split {
    /// Into ranges of at most so many keys or about so many bytes, and no more than so many ranges.
    Every {
        /// Keys in one range; at least one.
        keys: u64,
        /// Bytes after which a range ends.
        bytes: u64,
        /// Ranges after which the summing ends.
        ranges: usize,
    },
    /// Into ranges that end just before these places, which ascend.
    At(Vec<Position>),
}

/// One range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSum {
    /// Where it ends and the next one begins.
    pub end: Position,
    /// How many keys it holds.
    pub keys: u64,
    /// The bytes of these keys and their values.
    pub bytes: u64,
    /// SHA-256 over all of them.
    pub digest: Digest,
}

/// What is summed of a stretch of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// The ranges, one after the other.
    pub ranges: Vec<RangeSum>,
    /// The first key of them all, if there is any.
    pub first: Option<Place>,
}

impl GroupView {
    /// Sums the ranges from `from` on.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the first record that is damaged.
    pub fn sums(&self, from: &Position, split: &Split) -> Result<Sums, Error> {
        self.check()?;
        let mut sums = Summing::new(split);
        let (first, mut start) = from.split();
        for (place, table) in TABLES.into_iter().enumerate().skip(first) {
            let visit = |stored: &[u8], value: &[u8]| {
                self.verify(table, stored, value)
                    .map_err(|error| self.with_files(error, table, stored))?;
                let flow = sums.take(Position::before(place, stored), value);
                if sums.first.is_none() && flow.is_continue() {
                    sums.first = Some(layout::place(self.group(), table, stored));
                }
                Ok(flow)
            };
            if self.visit(table, start, visit)?.is_break() {
                return Ok(sums.into_sums());
            }
            start = &[];
        }
        sums.finish();
        Ok(sums.into_sums())
    }

    /// Visits the stored bytes of a table from a key on, without keeping what is read in the cache.
    fn visit(
        &self,
        table: Table,
        start: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error>,
    ) -> Result<ControlFlow<()>, Error> {
        let (mut from, end) = layout::group_bounds(self.group());
        from.extend_from_slice(start);
        let mut options: ReadOptions = self.read_options();
        options.set_iterate_upper_bound(end);
        options.fill_cache(false);
        options.set_readahead_size(READ_AHEAD_BYTES);
        let db = self.db();
        let mut iterator = db.raw_iterator_cf_opt(super::family(db, table), options);
        iterator.seek(&from);
        // Where the reader stands, to name it when RocksDB cannot read on.
        let mut last = from;
        while let Some((key, value)) = iterator.item() {
            if visit(key, value)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            last.clear();
            last.extend_from_slice(key);
            iterator.next();
        }
        let read = iterator.status();
        read.map_err(|source| Error::reading(|| layout::place(self.group(), table, &last), source))?;
        Ok(ControlFlow::Continue(()))
    }

    /// Adds the files that may hold a damaged record to what is said of it.
    fn with_files(&self, error: Error, table: Table, stored: &[u8]) -> Error {
        let Error::Corrupt { place, mut reason } = error else {
            return error;
        };
        // That they cannot be listed is not what is to be told here.
        let files = self.db().live_files().unwrap_or_default().into_iter();
        let holding = files.filter(|file| {
            let (first, last) = (file.start_key.as_deref(), file.end_key.as_deref());
            let inside = first.is_none_or(|first| first <= stored) && last.is_none_or(|last| last >= stored);
            file.column_family_name == table_name(table) && inside
        });
        let names: Vec<String> = holding.map(|file| file.name).collect();
        if !names.is_empty() {
            reason.push_str(&format!(", in file {}", names.join(" or ")));
        }
        Error::Corrupt { place, reason }
    }
}

/// Sums on their way.
struct Summing<'a> {
    split: &'a Split,
    ranges: Vec<RangeSum>,
    first: Option<Place>,
    keys: u64,
    bytes: u64,
    hasher: Sha256,
}

impl<'a> Summing<'a> {
    fn new(split: &'a Split) -> Self {
        Self {
            split,
            ranges: Vec::new(),
            first: None,
            keys: 0,
            bytes: 0,
            hasher: Sha256::new(),
        }
    }

    /// Takes the next key, unless the last range ends before it.
    fn take(&mut self, key: Position, value: &[u8]) -> ControlFlow<()> {
        match self.split {
            Split::Every { keys, bytes, ranges } => {
                if self.keys >= *keys || self.bytes >= *bytes {
                    self.close(key.clone());
                    if self.ranges.len() >= *ranges {
                        return ControlFlow::Break(());
                    }
                }
            }
            Split::At(ends) => {
                while let Some(end) = ends.get(self.ranges.len()).filter(|end| **end <= key) {
                    self.close(end.clone());
                }
                if self.ranges.len() >= ends.len() {
                    return ControlFlow::Break(());
                }
            }
        }
        let length = |bytes: &[u8]| (bytes.len() as u64).to_le_bytes();
        for part in [&length(&key.0), key.0.as_slice(), &length(value), value] {
            self.hasher.update(part);
        }
        self.keys += 1;
        self.bytes += (key.0.len() + value.len()) as u64;
        ControlFlow::Continue(())
    }

    /// There are no more keys.
    fn finish(&mut self) {
        match self.split {
            Split::Every { .. } => self.close(Position::end()),
            Split::At(ends) => {
                while let Some(end) = ends.get(self.ranges.len()) {
                    self.close(end.clone());
                }
            }
        }
    }

    fn close(&mut self, end: Position) {
        let hasher = std::mem::take(&mut self.hasher);
        self.ranges.push(RangeSum {
            end,
            keys: std::mem::take(&mut self.keys),
            bytes: std::mem::take(&mut self.bytes),
            digest: Digest::new(hasher.finalize().into()),
        });
    }

    fn into_sums(self) -> Sums {
        Sums {
            ranges: self.ranges,
            first: self.first,
        }
    }
}

fn number(table: usize) -> u8 {
    u8::try_from(table).expect("there are only a few tables")
}
