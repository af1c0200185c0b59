//! The placement never falls below the replication factor: neither what is decided nor, in every committed membership and
//! on both sides of a change that is half done, who votes. Only a replica that its group has let go because it is
//! damaged may be missing, until it votes again.

use std::collections::BTreeSet;

use covey_state::NodeId;

use super::{Observed, Property, Scene, Side, memberships};
use crate::event::Event;

/// See the page's head.
#[derive(Default)]
pub(super) struct ReplicationKept {
    /// Replicas that were let go, and whether a membership without them was seen.
    let_go: Vec<(NodeId, bool)>,
    /// The first entry that was not looked at yet, on whichever node knows first that it is committed.
    next: u64,
}

impl Property for ReplicationKept {
    fn name(&self) -> &'static str {
        "placement never below the replication factor"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for event in scene.events {
            match event {
                Event::Placed { voters } if voters.len() < scene.replication => {
                    return Err(format!("only {voters:?} are to vote"));
                }
                Event::LetGo { node } => self.let_go.push((*node, false)),
                _ => {}
            }
        }
        for node in scene.nodes {
            self.follow(node, scene.replication)?;
        }
        Ok(())
    }
}

impl ReplicationKept {
    /// Looks at the entries that nobody had known to be committed.
    fn follow(&mut self, node: &Observed, replication: usize) -> Result<(), String> {
        let Some(end) = node.status.committed_index.filter(|end| *end >= self.next) else {
            return Ok(());
        };
        for (index, sides) in memberships(node, self.next, end)?.1 {
            self.meet(index, &sides, replication)?;
        }
        self.next = end + 1;
        Ok(())
    }

    fn meet(&mut self, index: u64, sides: &BTreeSet<Side>, replication: usize) -> Result<(), String> {
        for side in sides {
            let missing = self.let_go.iter().map(|(node, _)| *node);
            let counted: BTreeSet<NodeId> = side.iter().copied().chain(missing).collect();
            if counted.len() < replication {
                return Err(format!("entry {index} has only {side:?} vote"));
            }
        }
        for (node, seen) in &mut self.let_go {
            *seen |= sides.iter().any(|side| !side.contains(node));
        }
        let back = |node: &NodeId| sides.iter().all(|side| side.contains(node));
        self.let_go.retain(|(node, seen)| !(*seen && back(node)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sides;
    use super::*;

    #[test]
    fn a_replica_may_be_missing_only_from_when_it_is_let_go_until_it_votes_again() {
        let mut page = ReplicationKept::default();
        assert!(page.meet(1, &sides([&[1, 2, 3]]), 3).is_ok());
        page.let_go.push((NodeId::new(3), false));
        assert!(page.meet(2, &sides([&[1, 2, 3], &[1, 2]]), 3).is_ok());
        assert!(page.meet(3, &sides([&[1, 2]]), 3).is_ok());
        assert!(page.meet(4, &sides([&[1, 2, 3]]), 3).is_ok());
        assert!(page.let_go.is_empty());
        let words = page.meet(5, &sides([&[1, 2, 3], &[2, 3]]), 3).unwrap_err();
        assert!(words.contains("entry 5"), "{words}");
    }
}
