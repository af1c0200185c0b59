//! Making a failing schedule smaller: faults are left out, many at a time at first, as long as the same promise breaks.

use crate::run::{Report, Voice, run};
use crate::schedule::Schedule;

/// The smallest schedule found that still breaks the same promise as `report`, or `None` if that one broke none.
pub fn shrink(report: Report, mut told: impl FnMut(&Schedule)) -> Option<Report> {
    let name = report.outcome.as_ref().err()?.name();
    let mut best = report;
    let mut part = best.schedule.faults.len().div_ceil(2);
    while part > 0 {
        let mut from = 0;
        let mut smaller = false;
        while from < best.schedule.faults.len() {
            let mut schedule = best.schedule.clone();
            let to = (from + part).min(schedule.faults.len());
            schedule.faults.drain(from..to);
            let tried = run(schedule, Voice::Silent);
            if tried
                .outcome
                .as_ref()
                .is_err_and(|failure| failure.name() == name)
            {
                best = tried;
                smaller = true;
                told(&best.schedule);
            } else {
                from = to;
            }
        }
        if !smaller || part > 1 {
            part /= 2;
        }
    }
    Some(best)
}
