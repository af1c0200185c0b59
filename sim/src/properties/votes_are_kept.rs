//! What a node has told a candidate is on its disk when it starts again, and from then on it votes for nothing less.
//!
//! Votes are ordered by term and then by candidate. Two answers that a node gives between two starts may leave it in
//! any order, so only a start divides them.

use std::collections::BTreeMap;

use covey_state::NodeId;

use super::{Property, Scene};
use crate::event::Event;

/// See the page's head.
#[derive(Default)]
pub(super) struct VotesAreKept {
    /// The greatest vote that each node has given.
    given: BTreeMap<NodeId, (u64, NodeId)>,
    /// The greatest vote that each node had given when it started.
    before: BTreeMap<NodeId, (u64, NodeId)>,
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
                    let vote = (*term, *candidate);
                    if let Some(before) = self.before.get(node).filter(|before| vote < **before) {
                        return Err(format!(
                            "{node} votes for {vote:?} but has voted for {before:?} before its start"
                        ));
                    }
                    let newest = self.given.entry(*node).or_insert(vote);
                    *newest = (*newest).max(vote);
                }
                Event::Started { node, durable, .. } => {
                    let held = durable.candidate.map(|candidate| (durable.term, candidate));
                    let newest = self.given.get(node).copied();
                    if held < newest {
                        return Err(format!(
                            "{node} starts with the vote {held:?} but has given {newest:?}"
                        ));
                    }
                }
                Event::Forgot { node } => {
                    self.given.remove(node);
                    self.before.remove(node);
                }
                Event::Stopped { .. }
                | Event::VotersAsked { .. }
                | Event::Placed { .. }
                | Event::LetGo { .. }
                | Event::Applied(_)
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
