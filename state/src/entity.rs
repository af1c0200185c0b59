//! Entity keys: the typed join keys that name the thing a feature is about.
//!
//! Invariant: the order of two keys equals the order of their stored bytes, part by part, integers before texts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::value::DataType;

/// One part of an entity key. Only types with an exact order and equality may be join keys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyPart {
    /// An integer join key.
    Int64(i64),
    /// A text join key.
    String(String),
}

impl KeyPart {
    /// The type of the join key.
    pub const fn data_type(&self) -> DataType {
        match self {
            Self::Int64(_) => DataType::Int64,
            Self::String(_) => DataType::String,
        }
    }
}

impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int64(number) => write!(f, "{number}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

/// An entity's key: the parts in the order of the entity's declared join keys. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityKey(pub Vec<KeyPart>);

impl EntityKey {
    /// A key of one text part.
    pub fn text(part: impl Into<String>) -> Self {
        Self(vec![KeyPart::String(part.into())])
    }

    /// A key of one integer part.
    pub fn integer(part: i64) -> Self {
        Self(vec![KeyPart::Int64(part)])
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, part) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("/")?;
            }
            write!(f, "{part}")?;
        }
        Ok(())
    }
}
