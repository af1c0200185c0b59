//! What a node stores on: a directory, or a small file system in memory that can be filled up.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::system::{run, run_at_the_end};

/// How large the small file system is.
const SMALL: &str = "size=384m";
/// The file that takes up the room.
const FILLING: &str = "filling";

/// What nodes store on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DiskKind {
    /// A directory
    Directory,
    /// A small tmpfs for each node, which can become full; needs root
    Tmpfs,
}

/// The disk of one node.
pub(crate) struct Disk {
    kind: DiskKind,
    mount: PathBuf,
}

impl Disk {
    /// A disk at this place, not yet there.
    pub(crate) fn plan(kind: DiskKind, mount: PathBuf) -> Self {
        Self { kind, mount }
    }

    /// The directory for the node's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Makes it. A disk that is there stays.
    pub(crate) async fn make(&self) -> Result<()> {
        if self.mount.is_dir() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.mount)
            .with_context(|| format!("cannot make {}", self.mount.display()))?;
        match self.kind {
            DiskKind::Directory => Ok(()),
            DiskKind::Tmpfs => {
                let place = self.mount.display().to_string();
                run("mount", &["-t", "tmpfs", "-o", SMALL, "covey-jepsen", &place]).await?;
                Ok(())
            }
        }
    }

    /// Takes away what the node has stored.
    pub(crate) fn wipe(&self) -> Result<()> {
        let data = self.data();
        match std::fs::remove_dir_all(&data) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", data.display()))
            }
            _ => Ok(()),
        }
    }

    /// Fills it up to the last byte.
    pub(crate) async fn fill(&self) -> Result<u64> {
        if self.kind != DiskKind::Tmpfs {
            bail!("only a small file system can be filled");
        }
        let path = self.mount.join(FILLING);
        tokio::task::spawn_blocking(move || fill_up(&path)).await?
    }

    /// Gives the room back.
    pub(crate) fn empty(&self) -> Result<()> {
        std::fs::remove_file(self.mount.join(FILLING)).context("cannot give the room back")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.kind == DiskKind::Tmpfs && self.mount.is_dir() {
            run_at_the_end("umount", &["-l", &self.mount.display().to_string()]);
        }
    }
}

/// Writes until there is no more room; gives the bytes that it took.
fn fill_up(path: &Path) -> Result<u64> {
    let mut file = File::create(path).context("cannot fill the disk")?;
    let mut bytes = 0;
    // Large pieces first, then what is left between them.
    for piece in [1 << 20, 1 << 12, 1] {
        let zeros = vec![0_u8; piece];
        loop {
            match file.write_all(&zeros) {
                Ok(()) => bytes += piece as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("cannot fill the disk"),
            }
        }
    }
    Ok(bytes)
}
