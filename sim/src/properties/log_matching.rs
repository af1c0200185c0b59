//! Two logs that have an entry of the same index and election have the same entry there and the same entries before it.

use std::collections::BTreeMap;

use covey_state::NodeId;

use super::{Election, Print, Property, Scene, prints};

/// The hash of an entry, that of the chain before it where it is known, and whose log it was first seen in.
type Met = (Print, Option<Print>, NodeId);

/// See the page's head.
///
/// Each entry is remembered with a hash of the chain of entries before it that this page has seen, under its index and
/// election. Two logs that reach the same index and election must come with the same chain.
#[derive(Default)]
pub(super) struct LogMatching {
    /// What stands at an index from an election, and what stood before it.
    entries: BTreeMap<(u64, Election), Met>,
    /// The last entry of each log that was looked at.
    seen: BTreeMap<(NodeId, u64), (u64, Option<Print>)>,
}

impl Property for LogMatching {
    fn name(&self) -> &'static str {
        "log matching"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for node in scene.nodes {
            let bounds = node.log.bounds().map_err(|error| error.to_string())?;
            let Some(last) = bounds.last else { continue };
            let (end, newest) = self
                .seen
                .get(&(node.node, node.incarnation))
                .copied()
                .unwrap_or((0, None));
            let tip = prints(node, last.index, last.index)?
                .pop()
                .map(|(_, print)| print);
            if (end, newest) == (last.index, tip) {
                continue;
            }
            // A log that was cut back is looked at from its last committed entry on.
            let kept = node.status.committed_index.unwrap_or(0).min(end.min(last.index));
            let mut before: Option<(u64, Print)> = None;
            for (index, print) in prints(node, kept.max(bounds.first_index), last.index)? {
                let previous = before
                    .filter(|(earlier, _)| earlier + 1 == index)
                    .map(|(_, print)| print);
                self.meet(node.node, index, print, previous)?;
                before = Some((index, print));
            }
            self.seen.insert((node.node, node.incarnation), (last.index, tip));
        }
        Ok(())
    }
}

impl LogMatching {
    fn meet(
        &mut self,
        node: NodeId,
        index: u64,
        print: Print,
        previous: Option<Print>,
    ) -> Result<(), String> {
        let known = self
            .entries
            .entry((index, print.election))
            .or_insert((print, previous, node));
        if known.0 != print {
            return Err(format!(
                "entry {index} of {:?} is {:?} on {} and {print:?} on {node}",
                print.election, known.0, known.2
            ));
        }
        match (known.1, previous) {
            (Some(one), Some(other)) if one != other => Err(format!(
                "before entry {index} of {:?} stands {one:?} on {} and {other:?} on {node}",
                print.election, known.2
            )),
            (None, Some(_)) => {
                known.1 = previous;
                Ok(())
            }
            (Some(_) | None, _) => Ok(()),
        }
    }
}
