//! A feature row: the values of one entity in one view at one event time.

use serde::{Deserialize, Serialize};

use crate::id::Timestamp;
use crate::value::Value;

/// One version of an entity's row. Values follow the columns of the schema version it was written under.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The view's schema version, which gives the values their names and types.
    pub schema_version: u32,
    /// When the fact was true in the world.
    pub event_time: Timestamp,
    /// When the producer says that it made the row; breaks ties of `event_time`.
    pub created_time: Timestamp,
    /// The log index that brought the row; breaks ties of `created_time`.
    pub log_index: u64,
    /// The row's position in its log entry; breaks the last ties.
    pub ordinal: u32,
    /// One value per column of the schema version.
    pub values: Vec<Value>,
}

/// The total order that decides which of two rows of an entity is the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowVersion {
    /// See [`Row::event_time`].
    pub event_time: Timestamp,
    /// See [`Row::created_time`].
    pub created_time: Timestamp,
    /// See [`Row::log_index`].
    pub log_index: u64,
    /// See [`Row::ordinal`].
    pub ordinal: u32,
}

impl Row {
    /// Where this row stands in the last-write-wins order.
    pub const fn version(&self) -> RowVersion {
        RowVersion {
            event_time: self.event_time,
            created_time: self.created_time,
            log_index: self.log_index,
            ordinal: self.ordinal,
        }
    }
}
