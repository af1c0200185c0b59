//! What a node stores on: a directory, a small file system in memory that can be filled up, or one that can lose power.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::system::{run, run_at_the_end};
use super::volatile::{Lost, Volatile};

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
    /// A file system of our own that can become full and lose power; needs root
    Volatile,
}

/// The disk of one node.
pub(crate) struct Disk {
    kind: DiskKind,
    mount: PathBuf,
    volatile: OnceLock<Volatile>,
}

impl Disk {
    /// A disk at this place, not yet there.
    pub(crate) fn plan(kind: DiskKind, mount: PathBuf) -> Self {
        let volatile = OnceLock::new();
        Self {
            kind,
            mount,
            volatile,
        }
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
            DiskKind::Volatile => {
                let mounted = Volatile::mount(&self.mount)?;
                self.volatile
                    .set(mounted)
                    .map_err(|_| anyhow!("the disk is there twice"))
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
        match self.kind {
            DiskKind::Directory => bail!("the whole machine's disk is not to be filled"),
            DiskKind::Tmpfs => {}
            DiskKind::Volatile => self.volatile()?.set_full(true),
        }
        let path = self.mount.join(FILLING);
        tokio::task::spawn_blocking(move || fill_up(&path)).await?
    }

    /// Gives the room back.
    pub(crate) fn empty(&self) -> Result<()> {
        if self.kind == DiskKind::Volatile {
            self.volatile()?.set_full(false);
            return Ok(());
        }
        std::fs::remove_file(self.mount.join(FILLING)).context("cannot give the room back")
    }

    /// Has every sync take this long.
    pub(crate) fn slow_down(&self, sync: Duration) -> Result<()> {
        self.volatile()?.slow_down(sync);
        Ok(())
    }

    /// Has syncs take no time again; gives how many were held up.
    pub(crate) fn speed_up(&self) -> Result<u64> {
        Ok(self.volatile()?.speed_up())
    }

    /// From now on it makes nothing durable.
    pub(crate) fn cut_power(&self) -> Result<()> {
        self.volatile()?.cut_power();
        Ok(())
    }

    /// Forgets what was not synced, and has power again; the node must have ended.
    pub(crate) fn lose_power(&self, seed: u64) -> Result<Lost> {
        Ok(self.volatile()?.lose_power(seed))
    }

    fn volatile(&self) -> Result<&Volatile> {
        self.volatile
            .get()
            .context("this disk is none of ours: it cannot lose power, nor be slow")
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
    let mut file = match File::create(path) {
        Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(0),
        created => created.context("cannot fill the disk")?,
    };
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
