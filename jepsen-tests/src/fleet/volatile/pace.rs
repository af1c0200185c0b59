//! How long syncs take. A sync that power is lost under makes nothing durable.

use std::time::Duration;

use rustix::io::Errno;

/// See the page's head.
#[derive(Debug, Default)]
pub(super) struct Pace {
    sync: Duration,
    /// Syncs that took long.
    held_up: u64,
    power_losses: u64,
}

/// A sync that was begun.
#[derive(Debug)]
pub(super) struct Begun {
    /// How long it takes.
    pub(super) takes: Duration,
    power_losses: u64,
}

impl Pace {
    /// Has every sync take this long.
    pub(super) fn slow_down(&mut self, sync: Duration) {
        self.sync = sync;
    }

    /// Has syncs take no time again; gives how many took long.
    pub(super) fn speed_up(&mut self) -> u64 {
        self.sync = Duration::ZERO;
        std::mem::take(&mut self.held_up)
    }

    /// A sync begins.
    pub(super) fn begin(&mut self) -> Begun {
        self.held_up += u64::from(!self.sync.is_zero());
        Begun {
            takes: self.sync,
            power_losses: self.power_losses,
        }
    }

    /// The time of a sync is over; an error if power was lost meanwhile.
    pub(super) fn end(&self, begun: &Begun) -> Result<(), Errno> {
        (self.power_losses == begun.power_losses)
            .then_some(())
            .ok_or(Errno::IO)
    }

    pub(super) fn power_was_lost(&mut self) {
        self.power_losses += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_that_power_was_lost_under_makes_nothing_durable() {
        let mut pace = Pace::default();
        pace.slow_down(Duration::from_millis(50));
        let begun = pace.begin();
        assert_eq!(begun.takes, Duration::from_millis(50));
        pace.power_was_lost();
        assert_eq!(pace.end(&begun), Err(Errno::IO));
        assert_eq!(pace.speed_up(), 1);
        let begun = pace.begin();
        assert_eq!(begun.takes, Duration::ZERO);
        assert_eq!(pace.end(&begun), Ok(()));
        assert_eq!(pace.speed_up(), 0);
    }
}
