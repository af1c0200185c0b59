//! What a decision does to the map: the only thing that moves it.

use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::record::Record;

/// One change of a group's replicated map. Staging it cannot fail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)]
pub enum Change {
    /// The key holds this record from now on.
    Put(Key, Record),
    /// The key holds nothing from now on.
    Delete(Key),
}
