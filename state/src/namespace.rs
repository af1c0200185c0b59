//! Namespaces: groups of their own for some entities, and what those groups are to survive.
//!
//! A namespace's groups are given once and never change. The namespace `default` has the groups that the cluster was
//! made with; it also holds everything that has a name and no rows: models, jobs, datasets, drift windows, runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Timestamp;
use crate::slot::Span;

/// The namespace that is there from the beginning.
pub const DEFAULT_NAMESPACE: &str = "default";
/// Voters, and distinct zones at home, that outlive the loss of a zone.
pub const ZONE_VOTERS: usize = 3;
/// Voters that outlive the loss of a region, at most two of them in any one region.
pub const REGION_VOTERS: usize = 5;
/// The most voters in one region where its loss is to be survived.
pub const REGION_SHARE_MAX: usize = 2;

/// What the groups of a namespace are to survive, and where they are at home.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Policy {
    /// As many voters as the replication factor says, spread over regions and then zones; no home, no learners.
    #[default]
    Anywhere,
    /// Every voter at home, in distinct zones; a learner in every other region.
    SurviveZone {
        /// The region of the voters.
        home: String,
    },
    /// Five voters, two of them at home and at most two in any region; a learner where no voter is.
    SurviveRegion {
        /// The region of the leader.
        home: String,
    },
}

impl Policy {
    /// The home region.
    pub fn home(&self) -> Option<&str> {
        match self {
            Self::Anywhere => None,
            Self::SurviveZone { home } | Self::SurviveRegion { home } => Some(home),
        }
    }

    /// Voters per group where there are enough nodes; `factor` is the cluster's replication factor.
    pub fn voters(&self, factor: usize) -> usize {
        match self {
            Self::Anywhere => factor,
            Self::SurviveZone { .. } => factor.max(ZONE_VOTERS),
            Self::SurviveRegion { .. } => factor.max(REGION_VOTERS),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anywhere => f.write_str("anywhere"),
            Self::SurviveZone { home } => write!(f, "survive zone, home {home}"),
            Self::SurviveRegion { home } => write!(f, "survive region, home {home}"),
        }
    }
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Unique name.
    pub name: String,
    /// Its groups, fixed for ever.
    pub span: Span,
    /// What they are to survive.
    pub policy: Policy,
    /// When it was made.
    pub created_at: Timestamp,
}
