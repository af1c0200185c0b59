//! Every state machine that is given an entry at an index is given the same entry and answers it the same.

use std::collections::BTreeMap;

use super::{Property, Scene};
use crate::event::{Applied, Event};

/// See the page's head.
#[derive(Default)]
pub(super) struct StateMachineSafety {
    applied: BTreeMap<u64, Applied>,
}

impl Property for StateMachineSafety {
    fn name(&self) -> &'static str {
        "state machine safety"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for event in scene.events {
            let Event::Applied(applied) = event else { continue };
            let first = self
                .applied
                .entry(applied.index)
                .or_insert_with(|| applied.clone());
            let same =
                (first.term, first.entry, first.answer) == (applied.term, applied.entry, applied.answer);
            if !same {
                return Err(format!("entry {}: {first:?} and then {applied:?}", applied.index));
            }
        }
        Ok(())
    }
}
