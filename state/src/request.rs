//! Requests: a command with the identity that makes repeating it harmless.
//!
//! Invariant: a request id is answered once; every repeat within the retention gets that answer and changes nothing;
//! a repeat that comes later still is refused, never carried out a second time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::answer::Answer;
use crate::command::Command;
use crate::id::Timestamp;
use crate::rejection::Rejection;
use crate::window::DAY;

/// How long answers are remembered, in microseconds of the group's clock.
pub const RETENTION_MICROS: i64 = DAY;
/// At most this many remembered answers are forgotten per request.
pub const FORGET_PER_REQUEST: usize = 2;

/// Who asks, and which of their requests it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RequestId {
    /// A random id made for one request, with a part number for what was split over groups or entries.
    Unique(u128, u32),
    /// A producer's own numbering, with a part number likewise.
    Producer(String, u64, u32),
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unique(id, part) => write!(f, "{id:032x}.{part}"),
            Self::Producer(producer, sequence, part) => write!(f, "{producer}:{sequence}.{part}"),
        }
    }
}

/// What a log entry carries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The identity that repeats share.
    pub id: RequestId,
    /// The proposer's clock when the request was first made; the group's clock never goes back for it.
    pub at: Timestamp,
    /// Who asks, for the audit trail.
    pub by: String,
    /// What to do.
    pub command: Command,
}

/// What is remembered of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Remembered {
    /// The group's clock when it was decided.
    pub at: Timestamp,
    /// What it was answered.
    pub outcome: Result<Answer, Rejection>,
}

/// The version byte that entries begin with today.
pub const ENTRY_VERSION: u8 = 1;

/// Bytes that are not an entry this binary understands.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The entry was written by a newer binary.
    #[error("log entry has version {0}, this binary understands up to {ENTRY_VERSION}")]
    Version(u8),
    /// The entry is empty.
    #[error("log entry is empty")]
    Empty,
    /// The entry is damaged.
    #[error("log entry cannot be decoded")]
    Damaged(#[source] postcard::Error),
}

impl Request {
    /// The bytes of a log entry: a version byte, then the request.
    pub fn encode(&self) -> Vec<u8> {
        let start = vec![ENTRY_VERSION];
        postcard::to_extend(self, start).expect("a request holds only types that postcard can write")
    }

    /// Reads the bytes of a log entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        postcard::from_bytes(body(bytes)?).map_err(DecodeError::Damaged)
    }

    /// Reads only [`Request::at`]: identity and time come first in an entry.
    pub fn time_of(bytes: &[u8]) -> Result<Timestamp, DecodeError> {
        let first = postcard::take_from_bytes::<(RequestId, Timestamp)>(body(bytes)?);
        first.map(|((_, at), _)| at).map_err(DecodeError::Damaged)
    }
}

/// An entry without its version byte.
fn body(bytes: &[u8]) -> Result<&[u8], DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((&ENTRY_VERSION, body)) => Ok(body),
        Some((&version, _)) => Err(DecodeError::Version(version)),
    }
}
