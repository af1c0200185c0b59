//! A linearizable read shows everything that was acknowledged, or shown by such a read, before it was asked for; and an
//! append comes after everything that was acknowledged before it was asked for.

use std::collections::BTreeSet;

use covey_cluster::Consistency;

use super::{Floors, Property, Scene, appends, reads};

/// See the page's head.
#[derive(Default)]
pub(super) struct LinearizableReads {
    floors: Floors,
    /// Requests that were acknowledged before.
    known: BTreeSet<String>,
}

impl Property for LinearizableReads {
    fn name(&self) -> &'static str {
        "linearizable reads"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for append in appends(scene) {
            let floor = self.floors.before(&append.model, append.invoked);
            if self.known.insert(append.request.clone()) && append.number <= floor {
                return Err(format!(
                    "{append:?} although version {floor} was acknowledged before"
                ));
            }
            self.floors.note(&append.model, append.answered, append.number);
        }
        for read in reads(scene).filter(|read| read.consistency == Consistency::Linearizable) {
            let floor = self.floors.before(&read.model, read.invoked);
            if read.count < floor {
                return Err(format!(
                    "{read:?} although version {floor} was acknowledged before"
                ));
            }
            self.floors.note(&read.model, read.answered, read.count);
        }
        Ok(())
    }
}
