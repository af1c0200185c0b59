//! The set of operations that have a place in the order, as bits.

/// A set of numbers below a bound that is fixed when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Placed(Box<[u64]>);

impl Placed {
    /// The empty set of numbers below `bound`.
    pub(super) fn none_of(bound: usize) -> Self {
        Self(vec![0; bound.div_ceil(64)].into_boxed_slice())
    }

    /// Puts a number in.
    pub(super) fn insert(&mut self, number: usize) {
        self.0[number / 64] |= 1 << (number % 64);
    }

    /// Takes a number out.
    pub(super) fn remove(&mut self, number: usize) {
        self.0[number / 64] &= !(1 << (number % 64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_and_taken_out_again_leaves_no_trace() {
        let mut placed = Placed::none_of(130);
        let empty = placed.clone();
        for number in [0, 63, 64, 129] {
            placed.insert(number);
            assert_ne!(placed, empty, "{number}");
            placed.remove(number);
            assert_eq!(placed, empty, "{number}");
        }
    }
}
