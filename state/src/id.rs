//! Newtype identifiers that print with a prefix and parse back, so that a node can never be mistaken for a group.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that is not the printed form of the identifier it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {expected}")]
pub struct ParseIdError {
    /// What was read.
    pub text: String,
    /// What it should have looked like, for instance `node id such as n3`.
    pub expected: &'static str,
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $prefix:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a raw number.
            pub const fn new(raw: $inner) -> Self {
                Self(raw)
            }

            /// The raw number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix($prefix)
                    .and_then(|digits| digits.parse().ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError { text: text.to_owned(), expected: $expected })
            }
        }
    };
}

number_id!(
    /// A Raft group. Group 0 is the control group; groups 1..=G hold data.
    GroupId, u64, "g", "group id such as g3"
);
number_id!(
    /// A node, allocated by the control group and never used again after removal.
    NodeId, u64, "n", "node id such as n3"
);
number_id!(
    /// A feature view's short number inside keys; names stay in the catalog.
    ViewId, u32, "v", "view id such as v3"
);

impl GroupId {
    /// The group that holds the cluster's own description.
    pub const CONTROL: Self = Self::new(0);
}

/// A moment in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The smallest moment that can be written.
    pub const MIN: Self = Self(i64::MIN);
    /// The largest moment that can be written.
    pub const MAX: Self = Self(i64::MAX);

    /// A moment from microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This moment moved by `micros`, stopping at the ends of the range.
    #[must_use]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// The largest multiple of `step_micros` that is not after this moment.
    #[must_use]
    pub const fn floor_to(self, step_micros: i64) -> Self {
        Self(self.0.div_euclid(step_micros).saturating_mul(step_micros))
    }
}

/// A SHA-256 digest, printed as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Wraps the 32 bytes of a digest.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes)
            .map(|()| Self(bytes))
            .map_err(|_| ParseIdError {
                text: text.to_owned(),
                expected: "SHA-256 digest of 64 hexadecimal digits",
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_parses_its_own_printed_form() {
        assert_eq!("g7".parse(), Ok(GroupId::new(7)));
        assert_eq!(NodeId::new(3).to_string().parse(), Ok(NodeId::new(3)));
        assert_eq!(ViewId::new(9).to_string().parse(), Ok(ViewId::new(9)));
        let digest = Digest::of(b"covey");
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        assert!("n7".parse::<GroupId>().is_err());
        assert!("7".parse::<NodeId>().is_err());
    }

    #[test]
    fn floor_goes_down_also_before_the_epoch() {
        assert_eq!(
            Timestamp::from_micros(-1).floor_to(10),
            Timestamp::from_micros(-10)
        );
        assert_eq!(
            Timestamp::from_micros(19).floor_to(10),
            Timestamp::from_micros(10)
        );
    }
}
