//! A node never votes for less than it has voted for, and what it has told a candidate is on its disk when it starts again.
//!
//! Votes are ordered by term and then by candidate.

use std::collections::BTreeMap;

use covey_state::NodeId;

use super::{Property, Scene};
use crate::event::Event;

/// See the page's head.
#[derive(Default)]
pub(super) struct VotesAreKept {
    given: BTreeMap<NodeId, (u64, NodeId)>,
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
                    let newest = self.given.entry(*node).or_insert(vote);
                    if vote < *newest {
                        return Err(format!("{node} has voted for {newest:?} and then for {vote:?}"));
                    }
                    *newest = vote;
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
                Event::Stopped { .. } | Event::Applied(_) | Event::Appended(_) | Event::Read(_) => {}
            }
        }
        Ok(())
    }
}
