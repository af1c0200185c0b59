//! A leader has every entry that was committed by an earlier election.

use std::collections::{BTreeMap, BTreeSet};

use covey_cluster::Role;
use covey_state::NodeId;

use super::{Print, Property, Scene, prints};

/// See the page's head.
#[derive(Default)]
pub(super) struct LeaderCompleteness {
    committed: BTreeMap<u64, Print>,
    followed: BTreeMap<(NodeId, u64), u64>,
    /// Leaders that were looked at.
    checked: BTreeSet<(u64, NodeId)>,
}

impl Property for LeaderCompleteness {
    fn name(&self) -> &'static str {
        "leader completeness"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for node in scene.nodes.iter().filter(|node| node.status.role == Role::Leader) {
            let term = node.status.term;
            if !self.checked.insert((term, node.node)) {
                continue;
            }
            let bounds = node.log.bounds().map_err(|error| error.to_string())?;
            let end = bounds.last.as_ref().map_or(0, |last| last.index);
            let held: BTreeMap<u64, Print> = prints(node, bounds.first_index, end)?.into_iter().collect();
            let purged = |index: u64| index < bounds.first_index;
            let missing = self.committed.iter().find(|(index, print)| {
                print.election < (term, node.node) && !purged(**index) && held.get(index) != Some(print)
            });
            if let Some((index, print)) = missing {
                let held = held.get(index);
                return Err(format!(
                    "{} leads in term {term}; entry {index} was committed as {print:?} and is {held:?} there",
                    node.node
                ));
            }
        }
        for node in scene.nodes {
            let Some(end) = node.status.committed_index else {
                continue;
            };
            let followed = self.followed.entry((node.node, node.incarnation)).or_default();
            if end > *followed {
                let found = prints(node, *followed + 1, end)?;
                *followed = found.last().map_or(*followed, |(index, _)| *index);
                self.committed.extend(found);
            }
        }
        Ok(())
    }
}
