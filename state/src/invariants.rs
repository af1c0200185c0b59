//! Named predicates over a whole map that hold after every request.
//!
//! They read everything, so they are for tests and for checking a snapshot, not for the path of a request. A map is one
//! group's; what a group does not hold holds trivially.

mod catalog;
mod cluster;
mod drift;
mod features;
mod registry;
mod requests;
mod work;

use std::fmt;

use crate::view::MemoryView;

/// A predicate over a map, with its name.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// The name that tests and reports give it.
    pub name: &'static str,
    /// Describes the first violation it finds.
    pub check: fn(&MemoryView) -> Result<(), String>,
}

/// A predicate that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The predicate's name.
    pub invariant: &'static str,
    /// What is wrong where.
    pub description: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.description)
    }
}

/// Every predicate.
pub const ALL: &[Invariant] = &[
    Invariant {
        name: "ONE_ANSWER_PER_REQUEST",
        check: requests::one_answer_per_request,
    },
    Invariant {
        name: "CLOCK_IS_NOT_BEHIND",
        check: requests::clock_is_not_behind,
    },
    Invariant {
        name: "NODE_IDS_BELOW_NEXT",
        check: cluster::node_ids_below_next,
    },
    Invariant {
        name: "PEER_ADDRESSES_ARE_UNIQUE",
        check: cluster::peer_addresses_are_unique,
    },
    Invariant {
        name: "PLACEMENTS_HOLD_PRESENT_NODES",
        check: cluster::placements_hold_present_nodes,
    },
    Invariant {
        name: "EVERY_GROUP_IS_PLACED",
        check: cluster::every_group_is_placed,
    },
    Invariant {
        name: "UNMADE_GROUPS_HAVE_ONE_VOTER",
        check: cluster::unmade_groups_have_one_voter,
    },
    Invariant {
        name: "NAMESPACES_SHARE_OUT_THE_GROUPS",
        check: cluster::namespaces_share_out_the_groups,
    },
    Invariant {
        name: "DEPLOYMENTS_FIT_THEIR_REPLICAS",
        check: cluster::deployments_fit_their_replicas,
    },
    Invariant {
        name: "VIEW_IDS_BELOW_NEXT",
        check: catalog::view_ids_below_next,
    },
    Invariant {
        name: "VIEWS_FOLLOW_THEIR_ENTITY",
        check: catalog::views_follow_their_entity,
    },
    Invariant {
        name: "SERVICES_LIST_FEATURES_THAT_EXIST",
        check: catalog::services_list_features_that_exist,
    },
    Invariant {
        name: "MONITORS_WATCH_WHAT_EXISTS",
        check: catalog::monitors_watch_what_exists,
    },
    Invariant {
        name: "SCHEMA_HEAD_IS_NEWEST",
        check: catalog::schema_head_is_newest,
    },
    Invariant {
        name: "LATEST_IS_NEWEST_HISTORY",
        check: features::latest_is_newest_history,
    },
    Invariant {
        name: "TILES_EQUAL_HISTORY",
        check: features::tiles_equal_history,
    },
    Invariant {
        name: "ALIAS_POINTS_TO_A_VERSION",
        check: registry::alias_points_to_a_version,
    },
    Invariant {
        name: "ALIAS_HISTORY_ENDS_AT_THE_ALIAS",
        check: registry::alias_history_ends_at_the_alias,
    },
    Invariant {
        name: "VERSIONS_COUNT_FROM_ONE",
        check: registry::versions_count_from_one,
    },
    Invariant {
        name: "JOB_EPOCHS",
        check: work::job_epochs,
    },
    Invariant {
        name: "ONE_OPEN_PIPELINE_RUN",
        check: work::one_open_pipeline_run,
    },
    Invariant {
        name: "REPORTS_HAVE_WINDOWS",
        check: drift::reports_have_windows,
    },
    Invariant {
        name: "OPEN_WINDOWS_ARE_INDEXED",
        check: drift::open_windows_are_indexed,
    },
    Invariant {
        name: "THE_BOOK_COUNTS_WHAT_IS_KEPT",
        check: drift::the_book_counts_what_is_kept,
    },
    Invariant {
        name: "PREDICTIONS_HAVE_AN_AGE",
        check: drift::predictions_have_an_age,
    },
    Invariant {
        name: "OPEN_WORK_IS_INDEXED",
        check: work::open_work_is_indexed,
    },
];

/// Every predicate that does not hold in `view`.
pub fn violations(view: &MemoryView) -> Vec<Violation> {
    ALL.iter()
        .filter_map(|invariant| {
            let description = (invariant.check)(view).err()?;
            Some(Violation {
                invariant: invariant.name,
                description,
            })
        })
        .collect()
}

/// Fails with a description where a predicate does not hold.
fn hold(holds: bool, description: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(description()) }
}
