//! A disk that loses power and can be slow: a file system in memory, mounted through FUSE, which knows what has been synced and forgets the
//! rest on demand.
//!
//! It speaks the kernel's protocol itself, because it needs twenty of its requests and no library. What it promises is what
//! a journaling file system promises: synced bytes stay; of unsynced appends any prefix may stay; a name is durable once its
//! directory or its file was synced; a rename is atomic.

mod bytes;
mod pace;
mod server;
mod volume;
mod wire;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

pub(crate) use bytes::Lost;
use volume::Volume;

/// A mounted file system; dropping it unmounts it.
pub(crate) struct Volatile {
    mount: PathBuf,
    volume: Arc<Mutex<Volume>>,
}

impl Volatile {
    /// Mounts an empty one in a directory that exists.
    pub(crate) fn mount(place: &Path) -> Result<Self> {
        let volume = Arc::new(Mutex::new(Volume::new()));
        let device = server::attach(place).with_context(|| format!("cannot mount on {}", place.display()))?;
        let served = volume.clone();
        std::thread::Builder::new()
            .name("volatile".to_owned())
            .spawn(move || server::serve(&device, &served))
            .context("no thread for a file system")?;
        Ok(Self {
            mount: place.to_owned(),
            volume,
        })
    }

    /// From now on nothing is made durable, not even by syncs that are under way: a process that is killed in one waits for
    /// its end, and power does not.
    pub(crate) fn cut_power(&self) {
        self.volume().pace.cut_power();
    }

    /// Forgets what was not synced, as a power cut would, and has power again; whoever used it must have ended.
    pub(crate) fn lose_power(&self, seed: u64) -> Lost {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        self.volume().lose_power(&mut random)
    }

    /// Whether there is room for more.
    pub(crate) fn set_full(&self, full: bool) {
        self.volume().set_full(full);
    }

    /// Has every sync take this long.
    pub(crate) fn slow_down(&self, sync: Duration) {
        self.volume().pace.slow_down(sync);
    }

    /// Has syncs take no time again; gives how many were held up.
    pub(crate) fn speed_up(&self) -> u64 {
        self.volume().pace.speed_up()
    }

    fn volume(&self) -> std::sync::MutexGuard<'_, Volume> {
        self.volume.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Volatile {
    fn drop(&mut self) {
        // What cannot be unmounted any more has been unmounted by somebody else.
        let _ = rustix::mount::unmount(&self.mount, rustix::mount::UnmountFlags::DETACH);
    }
}
