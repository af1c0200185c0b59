//! How long to wait before a failed step is tried again: doubled each time, with jitter, up to a limit.

use std::time::Duration;

use rand::RngExt as _;

/// A growing pause.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// The next pause: between half of the present step and all of it, so that those who failed together do not come
    /// back together.
    pub(crate) fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.max);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Starts anew after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_limit_and_start_anew() {
        let (min, max) = (Duration::from_millis(20), Duration::from_millis(100));
        let mut backoff = Backoff::new(min, max);
        for limit in [20, 40, 80, 100, 100] {
            let pause = backoff.pause();
            assert!(
                pause >= Duration::from_millis(limit / 2) && pause <= Duration::from_millis(limit),
                "{pause:?}"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= min);
    }
}
