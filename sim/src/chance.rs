//! Everything that is left to chance, from one seed.
//!
//! Each part of the world has a stream of its own, so that a decision more in one does not change those of the others.

use rand::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;

/// One stream of decisions.
#[derive(Debug, Clone)]
pub(crate) struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// The stream called `name` of a seed.
    pub(crate) fn new(seed: u64, name: &str) -> Self {
        let name = u64::from(crc32c::crc32c(name.as_bytes()));
        Self(Xoshiro256PlusPlus::seed_from_u64(seed ^ (name << 32 | name)))
    }

    /// Whether something happens that has this probability.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.0.gen_bool(probability.clamp(0.0, 1.0))
    }

    /// A number from `min` to `max`, both included.
    pub(crate) fn within(&mut self, min: u64, max: u64) -> u64 {
        self.0.gen_range(min..=max.max(min))
    }

    /// A number from `min` to `max`.
    pub(crate) fn fraction(&mut self, min: f64, max: f64) -> f64 {
        min + (max - min) * self.0.r#gen::<f64>()
    }

    /// One of the items; `None` if there are none.
    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        (!items.is_empty()).then(|| &items[self.0.gen_range(0..items.len())])
    }

    /// Fills a buffer.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        self.0.fill(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_streams_do_not_disturb_each_other() {
        let draw = |seed, name| Chance::new(seed, name).within(0, u64::MAX - 1);
        assert_eq!(draw(7, "network"), draw(7, "network"));
        assert_ne!(draw(7, "network"), draw(7, "disk"));
        assert_ne!(draw(7, "network"), draw(8, "network"));
    }
}
