//! A read lacks nothing that was acknowledged longer ago than it says, and a bounded one says no more than its bound.

use std::time::Duration;

use covey_cluster::Consistency;

use super::{Floors, Property, Scene, appends, reads};
use crate::moment::Moment;

/// See the page's head.
#[derive(Default)]
pub(super) struct BoundedReads {
    floors: Floors,
}

/// What the steps of the world and the milliseconds of the clocks may add.
const SLACK_MS: u64 = 10;

impl Property for BoundedReads {
    fn name(&self) -> &'static str {
        "bounded reads"
    }

    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String> {
        for append in appends(scene) {
            self.floors.note(&append.model, append.answered, append.number);
        }
        for read in reads(scene) {
            if let Consistency::Bounded(bound) = read.consistency
                && read.staleness > bound
            {
                return Err(format!("{read:?} is older than its bound"));
            }
            if read.staleness == Duration::MAX {
                continue;
            }
            let age_ms = u64::try_from(read.staleness.as_millis()).unwrap_or(u64::MAX / 8);
            // Leader and follower measure their parts of it with clocks of their own.
            let skew_ms = (age_ms as f64 * 3.0 * scene.skew).ceil() as u64;
            let age_ms = age_ms + skew_ms + SLACK_MS;
            let edge = Moment::from_ms(read.answered.ms_since(Moment::from_ms(age_ms)));
            let floor = self.floors.before(&read.model, edge);
            if read.staleness > Duration::ZERO && read.count < floor {
                return Err(format!(
                    "{read:?} although version {floor} was acknowledged before {edge}"
                ));
            }
        }
        Ok(())
    }
}
