//! What is stored, and what of it would survive. Pure: no kernel, no clock.
//!
//! Invariant: `synced` is what a power cut leaves; only a sync moves it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use rand::Rng;
use rustix::io::Errno;

use super::bytes::{Bytes, Lost};
use super::pace::Pace;

/// The number of the directory in which everything is.
pub(super) const ROOT: u64 = 1;

/// The names in a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    now: BTreeMap<OsString, u64>,
    synced: BTreeMap<OsString, u64>,
}

/// A file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    File(Bytes),
    Directory(Names),
}

/// The file system.
#[derive(Debug)]
pub(super) struct Volume {
    nodes: BTreeMap<u64, Node>,
    /// How often the kernel was told of a node since it last forgot it.
    known: BTreeMap<u64, u64>,
    next: u64,
    full: bool,
    /// How long syncs take.
    pub(super) pace: Pace,
}

impl Volume {
    /// One with an empty root.
    pub(super) fn new() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Directory(Names::default()))]),
            known: BTreeMap::new(),
            next: ROOT + 1,
            full: false,
            pace: Pace::default(),
        }
    }

    /// Whether writes are refused.
    pub(super) fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// Whether writes are refused now.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether it is a directory, and how many bytes a file has.
    pub(super) fn kind(&self, number: u64) -> Result<(bool, u64), Errno> {
        match self.nodes.get(&number).ok_or(Errno::NOENT)? {
            Node::File(bytes) => Ok((false, bytes.now.len() as u64)),
            Node::Directory(_) => Ok((true, 0)),
        }
    }

    /// How many names a file has.
    pub(super) fn links(&self, number: u64) -> u32 {
        let named = self.directories().flat_map(|names| names.now.values());
        u32::try_from(named.filter(|named| **named == number).count()).unwrap_or(u32::MAX)
    }

    /// What a name means.
    pub(super) fn find(&self, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        self.names(parent)?.now.get(name).copied().ok_or(Errno::NOENT)
    }

    /// All names of a directory with what they mean.
    pub(super) fn list(&self, number: u64) -> Result<Vec<(OsString, u64)>, Errno> {
        let names = self.names(number)?.now.iter();
        Ok(names.map(|(name, node)| (name.clone(), *node)).collect())
    }

    /// Makes an empty file or directory.
    pub(super) fn make(&mut self, parent: u64, name: &OsStr, is_directory: bool) -> Result<u64, Errno> {
        if self.full {
            return Err(Errno::NOSPC);
        }
        if self.names(parent)?.now.contains_key(name) {
            return Err(Errno::EXIST);
        }
        let number = self.next;
        self.next += 1;
        let node = match is_directory {
            true => Node::Directory(Names::default()),
            false => Node::File(Bytes::default()),
        };
        self.nodes.insert(number, node);
        self.names_mut(parent)?.now.insert(name.to_owned(), number);
        Ok(number)
    }

    /// Gives a file one more name.
    pub(super) fn link(&mut self, number: u64, (parent, name): (u64, &OsStr)) -> Result<(), Errno> {
        self.bytes(number)?;
        match self.names_mut(parent)?.now.insert(name.to_owned(), number) {
            None => Ok(()),
            Some(before) => {
                self.names_mut(parent)?.now.insert(name.to_owned(), before);
                Err(Errno::EXIST)
            }
        }
    }

    /// Takes a name away; of a directory only if it is empty.
    pub(super) fn unlink(&mut self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        let number = self.find(parent, name)?;
        if let Some(Node::Directory(names)) = self.nodes.get(&number)
            && !names.now.is_empty()
        {
            return Err(Errno::NOTEMPTY);
        }
        self.names_mut(parent)?.now.remove(name);
        Ok(())
    }

    /// Moves a name; what had the new one before loses it.
    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        let number = self.find(from.0, from.1)?;
        if let Ok(replaced) = self.find(to.0, to.1)
            && let Some(Node::Directory(names)) = self.nodes.get(&replaced)
            && !names.now.is_empty()
        {
            return Err(Errno::NOTEMPTY);
        }
        self.names_mut(from.0)?.now.remove(from.1);
        self.names_mut(to.0)?.now.insert(to.1.to_owned(), number);
        Ok(())
    }

    /// Bytes of a file from an offset on, at most so many.
    pub(super) fn read(&self, number: u64, offset: u64, length: usize) -> Result<&[u8], Errno> {
        let bytes = &self.bytes(number)?.now;
        let from = usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
        Ok(&bytes[from..bytes.len().min(from.saturating_add(length))])
    }

    /// Writes bytes into a file.
    pub(super) fn write(&mut self, number: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        if self.full {
            return Err(Errno::NOSPC);
        }
        let bytes = self.bytes_mut(number)?;
        let from = usize::try_from(offset).map_err(|_| Errno::FBIG)?;
        let until = from.checked_add(data.len()).ok_or(Errno::FBIG)?;
        bytes.differ_from(from);
        if bytes.now.len() < until {
            bytes.now.resize(until, 0);
        }
        bytes.now[from..until].copy_from_slice(data);
        Ok(())
    }

    /// Makes a file this long.
    pub(super) fn resize(&mut self, number: u64, length: u64) -> Result<(), Errno> {
        let length = usize::try_from(length).map_err(|_| Errno::FBIG)?;
        let bytes = self.bytes_mut(number)?;
        bytes.differ_from(length);
        bytes.now.resize(length, 0);
        Ok(())
    }

    /// Syncs a file, its names and the directories above them; or a directory, its names and those above it.
    pub(super) fn sync(&mut self, number: u64) -> Result<(), Errno> {
        match self.nodes.get_mut(&number).ok_or(Errno::NOENT)? {
            Node::File(bytes) => bytes.sync(),
            Node::Directory(names) => {
                let moved: Vec<u64> = names.now.values().copied().collect();
                names.synced = names.now.clone();
                for node in moved {
                    self.forget_old_names(node);
                }
            }
        }
        self.sync_names_of(number);
        Ok(())
    }

    fn sync_names_of(&mut self, number: u64) {
        let mut above = Vec::new();
        for (parent, node) in &mut self.nodes {
            let Node::Directory(names) = node else { continue };
            for (name, _) in names.now.iter().filter(|(_, named)| **named == number) {
                names.synced.insert(name.clone(), number);
                above.push(*parent);
            }
        }
        for parent in above {
            self.forget_old_names(number);
            self.sync_names_of(parent);
        }
    }

    /// A rename is atomic: where the new name is durable, the old one is not there any more.
    fn forget_old_names(&mut self, number: u64) {
        for node in self.nodes.values_mut() {
            if let Node::Directory(names) = node {
                let now = &names.now;
                names
                    .synced
                    .retain(|name, named| *named != number || now.get(name) == Some(&number));
            }
        }
    }

    /// Leaves what was synced, and of unsynced appends a part.
    pub(super) fn lose_power(&mut self, random: &mut impl Rng) -> Lost {
        self.pace.restore_power();
        let mut lost = Lost::default();
        for node in self.nodes.values_mut() {
            match node {
                Node::File(bytes) => bytes.lose_power(random, &mut lost),
                Node::Directory(names) => {
                    let changed = names
                        .now
                        .iter()
                        .filter(|(name, node)| names.synced.get(*name) != Some(*node));
                    let removed = names.synced.keys().filter(|name| !names.now.contains_key(*name));
                    lost.names += (changed.count() + removed.count()) as u64;
                    names.now = names.synced.clone();
                }
            }
        }
        self.drop_unreachable();
        lost
    }

    fn drop_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut ahead = vec![ROOT];
        while let Some(number) = ahead.pop() {
            if let Some(Node::Directory(names)) = self.nodes.get(&number) {
                let named = names.now.values().chain(names.synced.values());
                ahead.extend(named.copied().filter(|named| reached.insert(*named)));
            }
        }
        self.nodes.retain(|number, _| reached.contains(number));
    }

    /// The kernel is told of a node.
    pub(super) fn tell(&mut self, number: u64) {
        *self.known.entry(number).or_default() += 1;
    }

    /// The kernel forgets what it was told so many times. A node that it does not know any more and that has no name, now or
    /// after a power cut, is gone.
    pub(super) fn forget(&mut self, number: u64, times: u64) {
        let known = self.known.entry(number).or_default();
        *known = known.saturating_sub(times);
        if *known > 0 {
            return;
        }
        self.known.remove(&number);
        let named = self
            .directories()
            .flat_map(|names| names.now.values().chain(names.synced.values()))
            .any(|named| *named == number);
        if !named && number != ROOT {
            self.nodes.remove(&number);
        }
    }

    fn directories(&self) -> impl Iterator<Item = &Names> {
        self.nodes.values().filter_map(|node| match node {
            Node::Directory(names) => Some(names),
            Node::File(_) => None,
        })
    }

    fn names(&self, number: u64) -> Result<&Names, Errno> {
        match self.nodes.get(&number).ok_or(Errno::NOENT)? {
            Node::Directory(names) => Ok(names),
            Node::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn names_mut(&mut self, number: u64) -> Result<&mut Names, Errno> {
        match self.nodes.get_mut(&number).ok_or(Errno::NOENT)? {
            Node::Directory(names) => Ok(names),
            Node::File(_) => Err(Errno::NOTDIR),
        }
    }

    fn bytes(&self, number: u64) -> Result<&Bytes, Errno> {
        match self.nodes.get(&number).ok_or(Errno::NOENT)? {
            Node::File(bytes) => Ok(bytes),
            Node::Directory(_) => Err(Errno::ISDIR),
        }
    }

    fn bytes_mut(&mut self, number: u64) -> Result<&mut Bytes, Errno> {
        match self.nodes.get_mut(&number).ok_or(Errno::NOENT)? {
            Node::File(bytes) => Ok(bytes),
            Node::Directory(_) => Err(Errno::ISDIR),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::*;

    fn name(name: &str) -> &OsStr {
        OsStr::new(name)
    }

    fn cut(volume: &mut Volume) -> Lost {
        volume.lose_power(&mut Xoshiro256PlusPlus::seed_from_u64(3))
    }

    #[test]
    fn synced_bytes_stay_and_of_later_ones_a_prefix() {
        for seed in 0..100 {
            let mut volume = Volume::new();
            let file = volume.make(ROOT, name("log"), false).unwrap();
            volume.write(file, 0, b"synced").unwrap();
            volume.sync(file).unwrap();
            volume.write(file, 6, b"unsynced").unwrap();
            let lost = volume.lose_power(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
            let left = volume.read(file, 0, 100).unwrap();
            assert!(
                left.starts_with(b"synced") && b"syncedunsynced".starts_with(left),
                "{left:?}"
            );
            assert_eq!(lost.bytes as usize + left.len(), 14);
        }
    }

    #[test]
    fn an_unsynced_overwrite_is_undone() {
        let mut volume = Volume::new();
        let file = volume.make(ROOT, name("a"), false).unwrap();
        volume.write(file, 0, b"before").unwrap();
        volume.sync(file).unwrap();
        volume.write(file, 1, b"EF").unwrap();
        volume.resize(file, 3).unwrap();
        assert_eq!(volume.read(file, 0, 9).unwrap(), b"bEF");
        cut(&mut volume);
        assert_eq!(volume.read(file, 0, 9).unwrap(), b"before");
    }

    #[test]
    fn a_file_whose_name_was_not_synced_is_gone() {
        let mut volume = Volume::new();
        let kept = volume.make(ROOT, name("kept"), false).unwrap();
        volume.sync(kept).unwrap();
        volume.make(ROOT, name("gone"), false).unwrap();
        volume.unlink(ROOT, name("kept")).unwrap();
        assert_eq!(cut(&mut volume).names, 2);
        assert_eq!(volume.find(ROOT, name("kept")), Ok(kept));
        assert_eq!(volume.find(ROOT, name("gone")), Err(Errno::NOENT));
    }

    #[test]
    fn a_synced_rename_leaves_one_name() {
        let mut volume = Volume::new();
        let folder = volume.make(ROOT, name("folder"), true).unwrap();
        let file = volume.make(ROOT, name("new"), false).unwrap();
        volume.sync(file).unwrap();
        volume
            .rename((ROOT, name("new")), (folder, name("CURRENT")))
            .unwrap();
        volume.sync(folder).unwrap();
        cut(&mut volume);
        assert_eq!(volume.find(folder, name("CURRENT")), Ok(file));
        assert_eq!(volume.find(ROOT, name("new")), Err(Errno::NOENT));
        assert_eq!(volume.links(file), 1);
    }

    #[test]
    fn a_full_disk_takes_nothing() {
        let mut volume = Volume::new();
        let file = volume.make(ROOT, name("a"), false).unwrap();
        volume.set_full(true);
        assert_eq!(volume.write(file, 0, b"x"), Err(Errno::NOSPC));
        assert_eq!(volume.make(ROOT, name("b"), false), Err(Errno::NOSPC));
        volume.set_full(false);
        assert_eq!(volume.write(file, 0, b"x"), Ok(()));
    }
}
