//! What a loss of power leaves of a node's directory.
//!
//! Everything synced stays. Of what was only written a part stays that chance decides, cut off anywhere, as a page
//! cache and a torn write leave it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::chance::Chance;

/// The lengths of the write-ahead logs in a directory.
pub(crate) type Lengths = BTreeMap<PathBuf, u64>;

/// The write-ahead logs in a directory, and how long they are.
pub(crate) fn logs(directory: &Path) -> io::Result<Lengths> {
    let mut lengths = Lengths::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            lengths.insert(path.clone(), fs::metadata(&path)?.len());
        }
    }
    Ok(lengths)
}

/// Copies a directory with all it holds, as it is now. The database in it may be tidying up; then it is copied anew.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    loop {
        let before = listing(from)?;
        copy_once(from, to)?;
        if listing(from)? == before {
            return Ok(());
        }
        remove(to)?;
    }
}

/// Removes a directory with all it holds. A task of another node, which was asking this one for something, may still hold the
/// database in it, and that finishes a file in the background; then it is removed once more.
pub(crate) fn remove(directory: &Path) -> io::Result<()> {
    loop {
        match fs::remove_dir_all(directory) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => return removed,
        }
    }
}

/// Every file below a directory with its length, without what the database writes for people.
fn listing(directory: &Path) -> io::Result<Lengths> {
    let mut found = Lengths::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(listing(&entry.path())?);
        } else if !entry.file_name().to_string_lossy().starts_with("LOG") {
            found.insert(
                entry.path(),
                entry.metadata().map_or(0, |metadata| metadata.len()),
            );
        }
    }
    Ok(found)
}

fn copy_once(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_once(&entry.path(), &target)?;
        } else if let Err(error) = fs::copy(entry.path(), target)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Cuts the newest log of a copied directory somewhere behind what was synced.
pub(crate) fn tear(original: &Path, copied: &Path, synced: &Lengths, chance: &mut Chance) -> io::Result<u64> {
    let Some((newest, length)) = logs(copied)?.pop_last() else {
        return Ok(0);
    };
    let name = newest.file_name().unwrap_or_default();
    let kept = synced.get(&original.join(name)).copied().unwrap_or(0).min(length);
    let cut = if chance.happens(0.5) {
        kept
    } else {
        chance.within(kept, length)
    };
    fs::OpenOptions::new().write(true).open(&newest)?.set_len(cut)?;
    Ok(length - cut)
}

/// Adds to the newest log of a copied directory a part of what the original got afterwards: it was on its way to the
/// disk when the power went.
pub(crate) fn straggle(original: &Path, copied: &Path, chance: &mut Chance) -> io::Result<u64> {
    let Some((newest, length)) = logs(copied)?.pop_last() else {
        return Ok(0);
    };
    let written = fs::read(original.join(newest.file_name().unwrap_or_default()))?;
    let late = written.len() as u64 - length.min(written.len() as u64);
    let kept = if chance.happens(0.5) {
        0
    } else {
        chance.within(0, late)
    };
    let part = written.iter().copied().skip(length as usize).take(kept as usize);
    let mut file = fs::OpenOptions::new().append(true).open(&newest)?;
    file.write_all(&part.collect::<Vec<u8>>())?;
    Ok(kept)
}
