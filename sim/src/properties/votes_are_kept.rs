//! A node votes for one candidate in a term, and what it has told a candidate is on its disk when it starts again.

use std::collections::BTreeMap;

use covey_state::NodeId;

use super::{Property, Scene};
use crate::event::Event;

/// See the page's head.
#[derive(Default)]
pub(super) struct VotesAreKept {
    given: BTreeMap<(NodeId, u64), NodeId>,
    newest: BTreeMap<NodeId, u64>,
}

impl Property for VotesAreKept {
    fn name(&self) -> &'static str {
        "votes are kept"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for event in scene.events {
            match event {
                Event::Granted {
                    node,
                    term,
                    candidate,
                } => {
                    let first = *self.given.entry((*node, *term)).or_insert(*candidate);
                    if first != *candidate {
                        return Err(format!(
                            "{node} voted for {first} and for {candidate} in term {term}"
                        ));
                    }
                    let newest = self.newest.entry(*node).or_default();
                    *newest = (*newest).max(*term);
                }
                Event::Started { node, durable, .. } => {
                    let newest = self.newest.get(node).copied().unwrap_or(0);
                    if durable.term < newest {
                        let term = durable.term;
                        return Err(format!(
                            "{node} starts in term {term} but has voted in term {newest}"
                        ));
                    }
                }
                Event::Stopped { .. } | Event::Applied(_) | Event::Appended(_) | Event::Read(_) => {}
            }
        }
        Ok(())
    }
}
