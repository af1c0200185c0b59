//! What one node knows to be committed at an index is what every node knows to be committed there, for ever.

use std::collections::BTreeMap;

use covey_state::NodeId;

use super::{Print, Property, Scene, prints};

/// See the page's head.
#[derive(Default)]
pub(super) struct CommittedStays {
    committed: BTreeMap<u64, (Print, NodeId)>,
    /// How far each start of a node was followed.
    followed: BTreeMap<(NodeId, u64), u64>,
}

impl Property for CommittedStays {
    fn name(&self) -> &'static str {
        "committed stays committed"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for node in scene.nodes {
            let Some(end) = node.status.committed_index else {
                continue;
            };
            let followed = self.followed.entry((node.node, node.incarnation)).or_default();
            if end <= *followed {
                continue;
            }
            for (index, print) in prints(node, *followed + 1, end)? {
                *followed = index;
                let (first, witness) = *self.committed.entry(index).or_insert((print, node.node));
                if first != print {
                    return Err(format!(
                        "entry {index} is {print:?} on {} and was committed as {first:?} on {witness}",
                        node.node
                    ));
                }
            }
            // A snapshot may have brought what is not in the log.
            if node.log.bounds().map_err(|error| error.to_string())?.first_index > end {
                *followed = end;
            }
        }
        Ok(())
    }
}
