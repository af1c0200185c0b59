//! Durable steps on plain files: what has returned from here survives a power loss.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use covey_state::Digest;
use sha2::Digest as _;

use crate::error::Error;

const COPY_BUFFER_BYTES: usize = 256 << 10;

/// Makes the directory and its parents. Their names are durable: a synced file is of no use in a directory that is gone.
pub(crate) fn create_dir(path: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = path.ancestors().take_while(|dir| !dir.exists()).collect();
    fs::create_dir_all(path).map_err(Error::file("create directory", path))?;
    for parent in missing.into_iter().filter_map(Path::parent) {
        let here = parent.as_os_str().is_empty();
        sync_dir(if here { Path::new(".") } else { parent })?;
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::file("sync directory", path))
}

/// Removes a directory with all it holds; one that is not there is fine.
pub(crate) fn remove_dir(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove directory", path)(error))
        }
        _ => Ok(()),
    }
}

/// The length and digest of what a file holds.
pub(crate) fn digest_file(path: &Path) -> Result<(u64, Digest), Error> {
    let source = File::open(path).map_err(Error::file("open", path))?;
    pump(source, std::io::sink()).map_err(Error::file("read", path))
}

/// Copies a file durably and tells the length and digest of what was copied.
pub(crate) fn copy_synced(from: &Path, to: &Path) -> Result<(u64, Digest), Error> {
    let source = File::open(from).map_err(Error::file("open", from))?;
    let target = File::create(to).map_err(Error::file("create", to))?;
    let copied = pump(source, &target).map_err(Error::file("write", to))?;
    target.sync_all().map_err(Error::file("sync", to))?;
    Ok(copied)
}

fn pump(mut source: impl Read, mut target: impl Write) -> std::io::Result<(u64, Digest)> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    let mut length = 0;
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            return Ok((length, Digest::new(hasher.finalize().into())));
        }
        hasher.update(&buffer[..count]);
        target.write_all(&buffer[..count])?;
        length += count as u64;
    }
}
