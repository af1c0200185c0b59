//! Typed feature values. A view's column has one [`DataType`]; a [`Value`] is what a row holds in it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Timestamp;

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataType {
    /// True or false.
    Bool,
    /// 64-bit signed integer.
    Int64,
    /// 64-bit IEEE 754 number; NaN is refused on entry, so that equality means equality of bits.
    Float64,
    /// UTF-8 text.
    String,
    /// Microseconds since the epoch.
    Timestamp,
}

impl DataType {
    /// Whether sums and means over this type make sense.
    pub const fn is_numeric(self) -> bool {
        match self {
            Self::Int64 | Self::Float64 | Self::Bool => true,
            Self::String | Self::Timestamp => false,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::String => "string",
            Self::Timestamp => "timestamp",
        })
    }
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// No value.
    Null,
    /// A [`DataType::Bool`].
    Bool(bool),
    /// A [`DataType::Int64`].
    Int64(i64),
    /// A [`DataType::Float64`], never NaN.
    Float64(f64),
    /// A [`DataType::String`].
    String(String),
    /// A [`DataType::Timestamp`].
    Timestamp(Timestamp),
}

impl Value {
    /// The type of this value, or `None` for null.
    pub const fn data_type(&self) -> Option<DataType> {
        match self {
            Self::Null => None,
            Self::Bool(_) => Some(DataType::Bool),
            Self::Int64(_) => Some(DataType::Int64),
            Self::Float64(_) => Some(DataType::Float64),
            Self::String(_) => Some(DataType::String),
            Self::Timestamp(_) => Some(DataType::Timestamp),
        }
    }

    /// Whether there is no value.
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value as a number, for aggregates and models; `None` for null, text and times.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Bool(flag) => Some(if *flag { 1.0 } else { 0.0 }),
            // Integers beyond 2^53 round to the nearest float, as everywhere in this field.
            #[allow(clippy::cast_precision_loss)]
            Self::Int64(number) => Some(*number as f64),
            Self::Float64(number) => Some(*number),
            Self::Null | Self::String(_) | Self::Timestamp(_) => None,
        }
    }

    /// Bit-for-bit equality, the one that `served is trained` is checked with.
    pub fn same_bits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float64(a), Self::Float64(b)) => a.to_bits() == b.to_bits(),
            _ => self == other,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int64(number) => write!(f, "{number}"),
            Self::Float64(number) => write!(f, "{number}"),
            Self::String(text) => write!(f, "{text:?}"),
            Self::Timestamp(at) => write!(f, "{}us", at.micros()),
        }
    }
}
