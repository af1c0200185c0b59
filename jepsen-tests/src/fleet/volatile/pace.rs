//! How long syncs take, and whether there is power: a sync that power is cut under, or that is asked for without it, makes
//! nothing durable.

use std::time::Duration;

use rustix::io::Errno;

/// See the page's head.
#[derive(Debug, Default)]
pub(super) struct Pace {
    sync: Duration,
    /// Syncs that took long.
    held_up: u64,
    /// How often power was cut.
    cuts: u64,
    /// Whether it has not come back yet.
    off: bool,
}

/// A sync that was begun.
#[derive(Debug)]
pub(super) struct Begun {
    /// How long it takes.
    pub(super) takes: Duration,
    cuts: u64,
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
            cuts: self.cuts,
        }
    }

    /// The time of a sync is over; an error if there is no power, or was none meanwhile.
    pub(super) fn end(&self, begun: &Begun) -> Result<(), Errno> {
        let powered = !self.off && self.cuts == begun.cuts;
        powered.then_some(()).ok_or(Errno::IO)
    }

    /// From now on nothing is made durable.
    pub(super) fn cut_power(&mut self) {
        self.cuts += 1;
        self.off = true;
    }

    /// There is power again.
    pub(super) fn restore_power(&mut self) {
        self.off = false;
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
        pace.cut_power();
        assert_eq!(pace.end(&begun), Err(Errno::IO));
        let without = pace.begin();
        assert_eq!(
            pace.end(&without),
            Err(Errno::IO),
            "nor is one that is begun without power"
        );
        pace.restore_power();
        assert_eq!(pace.end(&begun), Err(Errno::IO), "it is not made good later");
        assert_eq!(pace.speed_up(), 2);
        let begun = pace.begin();
        assert_eq!(begun.takes, Duration::ZERO);
        assert_eq!(pace.end(&begun), Ok(()));
        assert_eq!(pace.speed_up(), 0);
    }
}
