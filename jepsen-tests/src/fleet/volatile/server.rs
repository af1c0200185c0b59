//! The kernel's side: the mount, and the loop that answers.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::volume::Volume;
use super::wire::{Answer, Ask, Attributes, Request, WRITE_MAX, parse, refused};

/// A request is never longer than a write and its header.
const REQUEST_MAX: usize = WRITE_MAX as usize + 4_096;
/// Free blocks that are shown while there is room.
const FREE: u64 = 1 << 23;

/// Mounts on a directory; requests then come from the file that this gives.
pub(super) fn attach(place: &Path) -> Result<File> {
    let device = File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .context("no /dev/fuse")?;
    let descriptor = device.as_raw_fd();
    let options = format!("fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other");
    let options = CString::new(options).context("options have no zero byte")?;
    mount(
        "covey-jepsen",
        place,
        "fuse.volatile",
        MountFlags::NODEV,
        options.as_c_str(),
    )?;
    Ok(device)
}

/// Answers requests until the file system is unmounted.
pub(super) fn serve(mut device: &File, volume: &Mutex<Volume>) {
    let mut buffer = vec![0; REQUEST_MAX];
    loop {
        let read = match device.read(&mut buffer) {
            Ok(read) => read,
            // Interrupted, or the request was taken back before it was read.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INTR | Errno::NOENT)) => {
                continue;
            }
            Err(_) => return,
        };
        let Some(request) = parse(&buffer[..read]) else {
            continue;
        };
        let unique = request.unique;
        let answer = match request.ask {
            Ask::Sync => Some(sync(volume, request.node).map(|()| Answer::default())),
            _ => answer(&mut locked(volume), request),
        };
        let bytes = match answer {
            Some(Ok(answer)) => answer.framed(unique),
            Some(Err(why)) => refused(unique, why),
            None => continue,
        };
        // Nobody waits any more for an answer that cannot be given.
        drop(device.write_all(&bytes));
    }
}

fn locked(volume: &Mutex<Volume>) -> MutexGuard<'_, Volume> {
    volume.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Syncs, in the time that it takes; meanwhile power may be lost, and nothing else is answered.
fn sync(volume: &Mutex<Volume>, node: u64) -> Result<(), Errno> {
    let begun = locked(volume).pace.begin();
    if !begun.takes.is_zero() {
        #[allow(
            clippy::disallowed_methods,
            reason = "the thread is the disk's own, and the disk is slow"
        )]
        // sleep: this is the disk that is slow.
        std::thread::sleep(begun.takes);
    }
    let mut volume = locked(volume);
    volume.pace.end(&begun)?;
    volume.sync(node)
}

/// What is answered, if anything.
fn answer(volume: &mut Volume, request: Request<'_>) -> Option<Result<Answer, Errno>> {
    match request.ask {
        Ask::Forget(times) => {
            volume.forget(request.node, times);
            None
        }
        Ask::ForgetMany(nodes) => {
            for (node, times) in nodes {
                volume.forget(node, times);
            }
            None
        }
        Ask::Interrupt => None,
        ask => Some(carry_out(volume, request.node, ask)),
    }
}

fn carry_out(volume: &mut Volume, node: u64, ask: Ask<'_>) -> Result<Answer, Errno> {
    let done = Answer::default();
    match ask {
        Ask::Init { readahead, flags } => Ok(Answer::init(readahead, flags)),
        Ask::Lookup(name) => {
            let found = volume.find(node, name)?;
            entry(volume, found)
        }
        Ask::Attributes => Ok(Answer::of(attributes(volume, node)?)),
        Ask::Resize(length) => {
            if let Some(length) = length {
                volume.resize(node, length)?;
            }
            Ok(Answer::of(attributes(volume, node)?))
        }
        Ask::MakeDirectory(name) => {
            let made = volume.make(node, name, true)?;
            entry(volume, made)
        }
        Ask::Create(name) => {
            let made = volume.make(node, name, false)?;
            Ok(entry(volume, made)?.opened())
        }
        Ask::Unlink(name) => volume.unlink(node, name).map(|()| done),
        // Flags ask for an exchange, or that nothing be replaced; nobody here needs them.
        Ask::Rename { flags, .. } if flags != 0 => Err(Errno::INVAL),
        Ask::Rename { from, parent, to, .. } => volume.rename((node, from), (parent, to)).map(|()| done),
        Ask::Link { node: old, name } => {
            volume.link(old, (node, name))?;
            entry(volume, old)
        }
        Ask::Open => Ok(done.opened()),
        Ask::Read { offset, length } => Ok(Answer::bytes(volume.read(node, offset, length as usize)?)),
        Ask::Write { offset, data } => {
            volume.write(node, offset, data)?;
            Ok(Answer::written(data.len()))
        }
        Ask::Space => Ok(Answer::space(if volume.is_full() { 0 } else { FREE })),
        Ask::Close => Ok(done),
        Ask::List { offset, length } => Ok(Answer::list(&listed(volume, node)?, offset, length)),
        Ask::Forget(_) | Ask::ForgetMany(_) | Ask::Interrupt | Ask::Sync | Ask::Other => Err(Errno::NOSYS),
    }
}

/// Tells the kernel of a node.
fn entry(volume: &mut Volume, number: u64) -> Result<Answer, Errno> {
    let found = attributes(volume, number)?;
    volume.tell(number);
    Ok(Answer::entry(found))
}

fn attributes(volume: &Volume, number: u64) -> Result<Attributes, Errno> {
    let (is_directory, bytes) = volume.kind(number)?;
    Ok(Attributes {
        number,
        is_directory,
        bytes,
        links: volume.links(number),
    })
}

fn listed(volume: &Volume, number: u64) -> Result<Vec<(OsString, u64, bool)>, Errno> {
    let names = volume.list(number)?.into_iter();
    names
        .map(|(name, node)| Ok((name, node, volume.kind(node)?.0)))
        .collect()
}
