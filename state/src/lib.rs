//! What the groups of a Covey cluster agree on, as pure data and pure functions.
//!
//! A group's replicated state is an ordered map from [`Key`] to [`Record`]. A committed [`Request`] is decided by
//! [`plan()`] against a [`View`] of that map and yields a list of [`Change`]s; staging the changes is the only way the
//! map moves. Nothing here touches a clock, a file, a socket or a random number: time and ids arrive in the request.
//!
//! Invariants: `plan` is deterministic; a repeated request changes nothing and gets its first answer; a refusal
//! changes nothing but the record of the answer; every named predicate in [`invariants`] holds after every request.

pub mod answer;
pub mod catalog;
pub mod change;
pub mod command;
pub mod dataset;
pub mod deployment;
pub mod entity;
pub mod exact_sum;
pub mod id;
pub mod invariants;
pub mod job;
pub mod key;
pub mod monitor;
pub mod namespace;
pub mod pipeline;
pub mod placement;
pub mod plan;
pub mod read;
pub mod record;
pub mod registry;
pub mod rejection;
pub mod request;
pub mod row;
pub mod slot;
pub mod tile;
pub mod topology;
pub mod value;
pub mod view;
pub mod window;

pub use change::Change;
pub use command::Command;
pub use id::{Digest, GroupId, NodeId, Timestamp, ViewId};
pub use key::Key;
pub use plan::{Decision, Position, plan};
pub use record::Record;
pub use rejection::Rejection;
pub use request::{Request, RequestId};
pub use row::Row;
pub use value::{DataType, Value};
pub use view::{Fault, MemoryView, View};
