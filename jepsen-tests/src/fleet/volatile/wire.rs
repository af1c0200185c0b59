//! The kernel's requests and answers, as bytes: `include/uapi/linux/fuse.h`, version 7.31, native byte order.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::io::Errno;

/// The version that is spoken.
const MAJOR: u32 = 7;
/// Likewise.
const MINOR: u32 = 31;
/// The largest write of the kernel.
pub(super) const WRITE_MAX: u32 = 128 * 1024;
/// The header of a request.
const HEADER: usize = 40;
/// `FUSE_BIG_WRITES`: writes of more than a page.
const BIG_WRITES: u32 = 1 << 5;
/// `FATTR_SIZE`: the length of a file is to change.
const SET_SIZE: u32 = 1 << 3;

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// What its answer is recognized by.
    pub(super) unique: u64,
    /// The file or directory.
    pub(super) node: u64,
    /// What is asked.
    pub(super) ask: Ask<'a>,
}

/// What is asked of a file system.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask<'a> {
    Init {
        readahead: u32,
        flags: u32,
    },
    Lookup(&'a OsStr),
    Forget(u64),
    ForgetMany(Vec<(u64, u64)>),
    Attributes,
    Resize(Option<u64>),
    MakeDirectory(&'a OsStr),
    Unlink(&'a OsStr),
    Rename {
        from: &'a OsStr,
        parent: u64,
        to: &'a OsStr,
        flags: u32,
    },
    Link {
        node: u64,
        name: &'a OsStr,
    },
    Open,
    Read {
        offset: u64,
        length: u32,
    },
    Write {
        offset: u64,
        data: &'a [u8],
    },
    Space,
    Close,
    Sync,
    List {
        offset: u64,
        length: u32,
    },
    Create(&'a OsStr),
    Interrupt,
    /// Something that this file system does not do.
    Other,
}

/// Reads a request; `None` if the bytes are none.
pub(super) fn parse(bytes: &[u8]) -> Option<Request<'_>> {
    let (opcode, unique, node) = (u32_at(bytes, 4)?, u64_at(bytes, 8)?, u64_at(bytes, 16)?);
    let body = bytes.get(HEADER..)?;
    let ask = match opcode {
        1 => Ask::Lookup(name(body)?),
        2 => Ask::Forget(u64_at(body, 0)?),
        3 => Ask::Attributes,
        4 => Ask::Resize((u32_at(body, 0)? & SET_SIZE != 0).then_some(u64_at(body, 16)?)),
        9 => Ask::MakeDirectory(name(body.get(8..)?)?),
        10 | 11 => Ask::Unlink(name(body)?),
        12 => rename(body.get(8..)?, u64_at(body, 0)?, 0)?,
        13 => Ask::Link {
            node: u64_at(body, 0)?,
            name: name(body.get(8..)?)?,
        },
        14 | 27 => Ask::Open,
        15 => Ask::Read {
            offset: u64_at(body, 8)?,
            length: u32_at(body, 16)?,
        },
        16 => Ask::Write {
            offset: u64_at(body, 8)?,
            data: body.get(40..40 + u32_at(body, 16)? as usize)?,
        },
        17 => Ask::Space,
        18 | 25 | 29 | 38 => Ask::Close,
        20 | 30 => Ask::Sync,
        26 => Ask::Init {
            readahead: u32_at(body, 8)?,
            flags: u32_at(body, 12)?,
        },
        28 => Ask::List {
            offset: u64_at(body, 8)?,
            length: u32_at(body, 16)?,
        },
        35 => Ask::Create(name(body.get(16..)?)?),
        36 => Ask::Interrupt,
        42 => Ask::ForgetMany(forgotten(body)?),
        45 => rename(body.get(16..)?, u64_at(body, 0)?, u32_at(body, 8)?)?,
        _ => Ask::Other,
    };
    Some(Request { unique, node, ask })
}

fn rename(names: &[u8], parent: u64, flags: u32) -> Option<Ask<'_>> {
    let from = name(names)?;
    let to = name(names.get(from.len() + 1..)?)?;
    Some(Ask::Rename {
        from,
        parent,
        to,
        flags,
    })
}

/// Nodes, and how often each.
fn forgotten(body: &[u8]) -> Option<Vec<(u64, u64)>> {
    let count = u32_at(body, 0)? as usize;
    (0..count)
        .map(|place| Some((u64_at(body, 8 + 16 * place)?, u64_at(body, 16 + 16 * place)?)))
        .collect()
}

/// A name up to its zero byte.
fn name(bytes: &[u8]) -> Option<&OsStr> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some(OsStr::from_bytes(&bytes[..end]))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(four))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let eight = bytes.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_ne_bytes(eight))
}

/// A file or a directory as the kernel wants to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) number: u64,
    pub(super) is_directory: bool,
    pub(super) bytes: u64,
    pub(super) links: u32,
}

/// An answer under way.
#[derive(Debug, Default)]
pub(super) struct Answer(Vec<u8>);

impl Answer {
    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    /// What is agreed on at the beginning.
    pub(super) fn init(readahead: u32, flags: u32) -> Self {
        let queues = 64 | 48 << 16;
        let agreed = Self::default()
            .u32(MAJOR)
            .u32(MINOR)
            .u32(readahead)
            .u32(flags & BIG_WRITES);
        let mut answer = agreed.u32(queues).u32(WRITE_MAX).u32(1).u32(0);
        answer.0.resize(64, 0);
        answer
    }

    /// The attributes of a node that was found or made; they may change at any time, so the kernel keeps none.
    pub(super) fn entry(found: Attributes) -> Self {
        let entry = Self::default()
            .u64(found.number)
            .u64(0)
            .u64(0)
            .u64(0)
            .u32(0)
            .u32(0);
        entry.attributes(found)
    }

    /// The attributes of a node that was asked for.
    pub(super) fn of(found: Attributes) -> Self {
        Self::default().u64(0).u32(0).u32(0).attributes(found)
    }

    fn attributes(self, found: Attributes) -> Self {
        let mode = if found.is_directory { 0o040_755 } else { 0o100_644 };
        let sizes = self
            .u64(found.number)
            .u64(found.bytes)
            .u64(found.bytes.div_ceil(512));
        let times = sizes.u64(0).u64(0).u64(0).u32(0).u32(0).u32(0);
        let links = if found.is_directory { 2 } else { found.links };
        times.u32(mode).u32(links).u32(0).u32(0).u32(0).u32(4_096).u32(0)
    }

    /// A node that was opened.
    pub(super) fn opened(self) -> Self {
        self.u64(0).u32(0).u32(0)
    }

    /// How much was written.
    pub(super) fn written(bytes: usize) -> Self {
        Self::default()
            .u32(u32::try_from(bytes).unwrap_or(u32::MAX))
            .u32(0)
    }

    /// Bytes of a file.
    pub(super) fn bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// How much room there is, in blocks of 4 KiB.
    pub(super) fn space(free: u64) -> Self {
        let all = 1 << 24;
        let blocks = Self::default()
            .u64(all)
            .u64(free)
            .u64(free)
            .u64(1 << 20)
            .u64(1 << 20);
        let mut answer = blocks.u32(4_096).u32(255).u32(4_096);
        answer.0.resize(80, 0);
        answer
    }

    /// Names of a directory from an offset on, as many as there is room for.
    pub(super) fn list(names: &[(OsString, u64, bool)], offset: u64, length: u32) -> Self {
        let mut answer = Self::default();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (place, (name, number, is_directory)) in names.iter().enumerate().skip(from) {
            let name = name.clone().into_vec();
            let kind = if *is_directory { 4 } else { 8 };
            let padded = (24 + name.len()).next_multiple_of(8);
            if answer.0.len() + padded > length as usize {
                break;
            }
            let end = answer.0.len() + padded;
            let bytes = u32::try_from(name.len()).unwrap_or(0);
            answer = answer.u64(*number).u64(place as u64 + 1).u32(bytes).u32(kind);
            answer.0.extend(name);
            answer.0.resize(end, 0);
        }
        answer
    }

    /// The whole answer to a request.
    pub(super) fn framed(self, unique: u64) -> Vec<u8> {
        frame(unique, 0, &self.0)
    }
}

/// The whole answer to a request that is refused.
pub(super) fn refused(unique: u64, why: Errno) -> Vec<u8> {
    frame(unique, -why.raw_os_error(), &[])
}

fn frame(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    [
        &length.to_ne_bytes(),
        &error.to_ne_bytes(),
        &unique.to_ne_bytes()[..],
        body,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(opcode: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[4..8].copy_from_slice(&opcode.to_ne_bytes());
        bytes[8..16].copy_from_slice(&7_u64.to_ne_bytes());
        bytes[16..24].copy_from_slice(&1_u64.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn a_rename_has_two_names() {
        let body = [&9_u64.to_ne_bytes()[..], b"old\0new\0"].concat();
        let expected = Ask::Rename {
            from: OsStr::new("old"),
            parent: 9,
            to: OsStr::new("new"),
            flags: 0,
        };
        assert_eq!(parse(&request(12, &body)).unwrap().ask, expected);
    }

    #[test]
    fn what_is_cut_off_is_no_request() {
        assert_eq!(parse(&request(12, b"short")), None);
        assert_eq!(parse(&request(1, b"no end")), None);
        assert_eq!(parse(&[0; 10]), None);
    }

    #[test]
    fn answers_have_the_lengths_that_the_kernel_expects() {
        let found = Attributes {
            number: 3,
            is_directory: false,
            bytes: 5,
            links: 1,
        };
        assert_eq!(Answer::init(0, u32::MAX).framed(1).len(), 16 + 64);
        assert_eq!(Answer::entry(found).framed(1).len(), 16 + 128);
        assert_eq!(Answer::of(found).framed(1).len(), 16 + 104);
        assert_eq!(Answer::entry(found).opened().framed(1).len(), 16 + 144);
        assert_eq!(Answer::space(1).framed(1).len(), 16 + 80);
        assert_eq!(Answer::written(1).framed(1).len(), 16 + 8);
    }

    #[test]
    fn a_listing_goes_on_where_it_ended() {
        let names: Vec<(OsString, u64, bool)> = (1..10).map(|n| (OsString::from("name"), n, false)).collect();
        let first = Answer::list(&names, 0, 100);
        assert_eq!(first.0.len(), 96);
        let rest = Answer::list(&names, 3, 1_000);
        assert_eq!(rest.0.len(), 6 * 32);
    }
}
