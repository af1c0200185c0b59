//! The state on a disk is the one that its position says: each entry is taken in once, in order.

use std::collections::BTreeMap;

use covey_state::NodeId;

use super::{Property, Scene};
use crate::event::{Durable, Event};

/// See the page's head.
#[derive(Default)]
pub(super) struct StateWithPosition {
    /// The versions of each model after each entry that made one.
    counts: BTreeMap<String, BTreeMap<u64, u64>>,
    /// The last entry that each node's present state has taken in.
    positions: BTreeMap<NodeId, u64>,
}

impl Property for StateWithPosition {
    fn name(&self) -> &'static str {
        "state with its position"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for event in scene.events {
            match event {
                Event::Started { node, durable, .. } => {
                    self.check_start(*node, durable)?;
                    self.positions.insert(*node, durable.applied);
                }
                Event::Applied(applied) => {
                    let position = self.positions.entry(applied.node).or_default();
                    if applied.index <= *position {
                        return Err(format!(
                            "{} is given entry {} but has taken in entry {position}",
                            applied.node, applied.index
                        ));
                    }
                    *position = applied.index;
                    if let Some((model, number)) = &applied.made {
                        let counts = self.counts.entry(model.clone()).or_default();
                        let before = counts
                            .range(..applied.index)
                            .next_back()
                            .map_or(0, |(_, count)| *count);
                        counts.entry(applied.index).or_insert((*number).max(before));
                    }
                }
                Event::Forgot { node } => drop(self.positions.remove(node)),
                Event::Stopped { .. }
                | Event::VotersAsked { .. }
                | Event::Placed { .. }
                | Event::LetGo { .. }
                | Event::Granted { .. }
                | Event::Appended(_)
                | Event::Asked { .. }
                | Event::Counted(_)
                | Event::Read(_)
                | Event::Recounted(_) => {}
            }
        }
        Ok(())
    }
}

impl StateWithPosition {
    fn check_start(&self, node: NodeId, durable: &Durable) -> Result<(), String> {
        for (model, count) in &durable.counts {
            let known = self.counts.get(model);
            let expected = known.and_then(|known| known.range(..=durable.applied).next_back());
            let expected = expected.map_or(0, |(_, count)| *count);
            if *count != expected {
                return Err(format!(
                    "{node} starts at entry {} with {count} versions of {model} instead of {expected}",
                    durable.applied
                ));
            }
        }
        Ok(())
    }
}
