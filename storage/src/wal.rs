//! What RocksDB does not tell of its write-ahead logs, looked for before a database is opened.
//!
//! A record whose length reaches beyond the end of the file counts as torn by a crash, and it and what follows are dropped
//! without a word. A flipped bit in a length looks the same, but then the checksum still fits the length before it was
//! flipped. Whoever has acknowledged that record must not go on without it. And a flipped bit in the type of a record can
//! make it look like one of a recycled file, which RocksDB 11.8 tries to read again for ever; no file here is recycled.
//!
//! Nothing is written for this and nothing is kept: the files are read once more when a node starts.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use crate::error::{Error, Place};

/// The records of a file are cut into blocks of this size.
const BLOCK_BYTES: usize = 32 << 10;
/// Checksum, length and type of a record.
const HEADER_BYTES: usize = 7;
/// The types of records in recycled files.
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];
/// RocksDB rotates its checksums and adds this, so that checksums of checksums do not become trivial.
const MASK_DELTA: u32 = 0xa282_ead8;

/// Looks through every write-ahead log in the directory of a database.
pub(crate) fn check(directory: &Path) -> Result<(), Error> {
    let files = fs::read_dir(directory).map_err(Error::file("list directory", directory))?;
    for file in files {
        let path = file.map_err(Error::file("list directory", directory))?.path();
        if path.extension().is_some_and(|ending| ending == "log") {
            check_file(&path, check_block)?;
        }
    }
    Ok(())
}

/// Where the write-ahead logs of a database that refused to open are damaged, or else the database: RocksDB tells no file.
pub(crate) fn damaged_place(directory: &Path) -> Place {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let logs = files.map(|file| file.path());
    let logs = logs.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let found = logs.filter_map(|path| match check_file(&path, check_sums) {
        Err(Error::Corrupt { place, .. }) => Some(place),
        _ => None,
    });
    let database = || Place::Database {
        path: directory.to_owned(),
    };
    found.min_by_key(Place::to_string).unwrap_or_else(database)
}

/// What is wrong in a block, and where.
type Check = fn(&[u8]) -> Result<(), (usize, String)>;

fn check_file(path: &Path, check: Check) -> Result<(), Error> {
    let mut file = File::open(path).map_err(Error::file("open", path))?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut offset = 0;
    loop {
        block.clear();
        let read = take_block(&mut file, &mut block).map_err(Error::file("read", path))?;
        if let Err((at, reason)) = check(&block) {
            let (path, offset) = (path.to_owned(), offset + at as u64);
            let place = Place::WriteAheadLog { path, offset };
            return Err(Error::Corrupt { place, reason });
        }
        if read < BLOCK_BYTES {
            return Ok(());
        }
        offset += BLOCK_BYTES as u64;
    }
}

fn take_block(file: &mut File, block: &mut Vec<u8>) -> io::Result<usize> {
    file.take(BLOCK_BYTES as u64).read_to_end(block)
}

/// Where a block is damaged in a way that RocksDB would pass over, and how that shows.
fn check_block(block: &[u8]) -> Result<(), (usize, String)> {
    let mut at = 0;
    while let Some((header, rest)) = block[at..].split_first_chunk::<HEADER_BYTES>() {
        let [c0, c1, c2, c3, low, high, kind] = *header;
        let length = u16::from_le_bytes([low, high]);
        if RECYCLED.contains(&kind) {
            return Err((at, format!("a record is of type {kind}, which is never written")));
        }
        // Space that was never written.
        if kind == 0 && length == 0 {
            return Ok(());
        }
        if usize::from(length) > rest.len() {
            // Only at the end of the file is that passed over.
            let last = block.len() < BLOCK_BYTES;
            let written = unmask(u32::from_le_bytes([c0, c1, c2, c3]));
            return match unflipped(&block[at + 6..], length, written).filter(|_| last) {
                Some(fits) => Err((at, format!("a record is {fits} bytes long and says {length}"))),
                None => Ok(()),
            };
        }
        at += HEADER_BYTES + usize::from(length);
    }
    Ok(())
}

/// Where a block has a whole record that is not what was written.
fn check_sums(block: &[u8]) -> Result<(), (usize, String)> {
    let mut at = 0;
    while let Some((header, rest)) = block[at..].split_first_chunk::<HEADER_BYTES>() {
        let [c0, c1, c2, c3, low, high, kind] = *header;
        let length = usize::from(u16::from_le_bytes([low, high]));
        if kind == 0 && length == 0 {
            return Ok(());
        }
        // Records end with their block; only at the end of the file may one be cut short.
        if length > rest.len() && block.len() < BLOCK_BYTES {
            return Ok(());
        }
        let end = at + HEADER_BYTES + length;
        let written = unmask(u32::from_le_bytes([c0, c1, c2, c3]));
        let fits = block
            .get(at + 6..end)
            .is_some_and(|from_type| crc32c::crc32c(from_type) == written);
        if !fits {
            return Err((at, "the checksum of a record does not fit".to_owned()));
        }
        at = end;
    }
    Ok(())
}

/// The length with one bit flipped back, if the checksum over the type and so many bytes fits then.
fn unflipped(from_type: &[u8], length: u16, checksum: u32) -> Option<u16> {
    let candidates = (0..u16::BITS).map(|bit| length ^ (1 << bit));
    candidates
        .filter(|length| usize::from(*length) < from_type.len())
        .find(|length| crc32c::crc32c(&from_type[..=usize::from(*length)]) == checksum)
}

fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(MASK_DELTA).rotate_left(15)
}
