//! How well a set of voters keeps a policy, and whether a policy can be kept at all.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;
use crate::namespace::{Policy, REGION_SHARE_MAX, REGION_VOTERS, ZONE_VOTERS};
use crate::topology::{Node, NodeState};

/// How well voters keep a policy; larger is better, and only sets of one size compare.
pub type Score = [usize; 4];

/// The score of voters, given by where they are.
pub fn score<'a>(policy: &Policy, voters: impl Iterator<Item = &'a Node>) -> Score {
    let mut regions: BTreeMap<&str, usize> = BTreeMap::new();
    let mut zones: BTreeSet<(&str, &str)> = BTreeSet::new();
    for node in voters {
        *regions.entry(&node.region).or_default() += 1;
        zones.insert((&node.region, &node.zone));
    }
    let at = |home: &str| regions.get(home).copied().unwrap_or(0);
    match policy {
        Policy::Anywhere => [regions.len(), zones.len(), 0, 0],
        Policy::SurviveZone { home } => {
            let at_home = zones.iter().filter(|(region, _)| region == home).count();
            [at(home), at_home, zones.len(), 0]
        }
        Policy::SurviveRegion { home } => {
            let within = regions.values().map(|count| REGION_SHARE_MAX.min(*count)).sum();
            [at(home).min(REGION_SHARE_MAX), within, regions.len(), zones.len()]
        }
    }
}

/// Whether the active nodes among `nodes` suffice for a policy; else what is missing.
pub fn feasible<'a>(policy: &Policy, nodes: impl Iterator<Item = &'a Node>) -> Result<(), String> {
    let mut zones: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for node in nodes.filter(|node| node.state == NodeState::Active) {
        zones.entry(&node.region).or_default().insert(&node.zone);
        *counts.entry(&node.region).or_default() += 1;
    }
    let there: Vec<&str> = counts.keys().copied().collect();
    let there = there.join(", ");
    if let Some(home) = policy.home().filter(|home| !counts.contains_key(home)) {
        return Err(format!(
            "no active node is in region `{home}`; regions with active nodes: {there}"
        ));
    }
    match policy {
        Policy::Anywhere => Ok(()),
        Policy::SurviveZone { home } => {
            let found = zones.get(home.as_str()).map_or(0, BTreeSet::len);
            if found >= ZONE_VOTERS {
                return Ok(());
            }
            Err(format!(
                "to survive the loss of a zone, region `{home}` needs active nodes in {ZONE_VOTERS} zones and has them in {found}"
            ))
        }
        Policy::SurviveRegion { home } => {
            let share = |count: &usize| REGION_SHARE_MAX.min(*count);
            let at_home = counts.get(home.as_str()).map_or(0, share);
            let total: usize = counts.values().map(share).sum();
            if counts.len() >= 3 && at_home == REGION_SHARE_MAX && total >= REGION_VOTERS {
                return Ok(());
            }
            Err(format!(
                "to survive the loss of a region, active nodes are needed in 3 regions, {REGION_SHARE_MAX} of them in \
                 `{home}` and {} in the others, at most {REGION_SHARE_MAX} counting per region; there are {} regions ({there}), \
                 {at_home} nodes at home and {} in the others",
                REGION_VOTERS - REGION_SHARE_MAX,
                counts.len(),
                total - at_home
            ))
        }
    }
}

/// The voters without `out` and with `into`.
pub(super) fn exchanged(
    voters: &BTreeSet<NodeId>,
    out: Option<NodeId>,
    into: Option<NodeId>,
) -> impl Iterator<Item = NodeId> {
    voters
        .iter()
        .copied()
        .filter(move |node| Some(*node) != out)
        .chain(into)
}
