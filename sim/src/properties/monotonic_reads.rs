//! A client that asks for at least what it has seen never sees less.

use std::collections::BTreeMap;

use covey_cluster::Consistency;

use super::{Property, Scene, reads};

/// See the page's head.
#[derive(Default)]
pub(super) struct MonotonicReads {
    /// What each client has seen of each model, and at which entry.
    seen: BTreeMap<(usize, String), (u64, u64)>,
}

impl Property for MonotonicReads {
    fn name(&self) -> &'static str {
        "monotonic reads"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for read in reads(scene) {
            let seen = self.seen.entry((read.client, read.model.clone())).or_default();
            if let Consistency::AtLeast(index) = read.consistency {
                if read.index < index {
                    return Err(format!("{read:?} stops before the entry asked for"));
                }
                if index >= seen.0 && read.count < seen.1 {
                    return Err(format!(
                        "{read:?} although the client has seen {} at entry {}",
                        seen.1, seen.0
                    ));
                }
            }
            if read.index >= seen.0 {
                *seen = (read.index, seen.1.max(read.count));
            }
        }
        Ok(())
    }
}
