//! Whether a clock can be believed, from how far it is ahead of the other nodes' clocks: pure.
//!
//! Wanted properties, in this order: a clock that does not agree with more than half of all clocks, itself included, is
//! doubted, so of two that differ both are; what may have been the way of a message is not held against a clock; where
//! more than half of the clocks are right, every node knows the right time, also one whose own clock is wrong.

/// How far a clock is ahead of another one, as far as that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    /// How far; negative if it is behind.
    pub ahead_micros: i64,
    /// By how much that may be wrong, either way: half of a round trip.
    pub uncertain_micros: i64,
}

/// What the other clocks say about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// How many others were heard of.
    pub heard: usize,
    /// Those of them that it surely differs from by more than the limit.
    pub differing: usize,
    /// How far it is ahead of the middle of all clocks, itself included; of two middles, of the earlier.
    pub ahead_micros: i64,
}

impl Judgement {
    /// Judges a clock with these offsets from the others.
    pub fn of(offsets: &[Offset], limit_micros: i64) -> Self {
        let surely = |offset: &Offset| offset.ahead_micros.saturating_abs() - offset.uncertain_micros;
        let differing = offsets.iter().filter(|offset| surely(offset) > limit_micros);
        let mut ahead: Vec<i64> = offsets.iter().map(|offset| offset.ahead_micros).collect();
        ahead.push(0);
        // The further this clock is ahead of another one, the earlier is that.
        ahead.sort_unstable_by_key(|ahead| std::cmp::Reverse(*ahead));
        Self {
            heard: offsets.len(),
            differing: differing.count(),
            ahead_micros: ahead[offsets.len() / 2],
        }
    }

    /// Whether at most half of all clocks agree with it, itself included.
    pub fn is_doubted(&self) -> bool {
        let all = self.heard + 1;
        2 * (all - self.differing) <= all
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    const LIMIT: i64 = 10 * SECOND;

    /// The judgement of the clock at a position among clocks that are wrong by so much.
    fn judged(wrong: &[i64], position: usize) -> Judgement {
        let others = wrong.iter().enumerate().filter(|(other, _)| *other != position);
        let offset = |(_, other): (usize, &i64)| Offset {
            ahead_micros: wrong[position] - other,
            uncertain_micros: 0,
        };
        Judgement::of(&others.map(offset).collect::<Vec<_>>(), LIMIT)
    }

    fn doubted(wrong: &[i64]) -> Vec<bool> {
        (0..wrong.len())
            .map(|position| judged(wrong, position).is_doubted())
            .collect()
    }

    #[test]
    fn the_odd_one_out_is_doubted_and_of_two_that_differ_both_are() {
        assert_eq!(doubted(&[DAY]), [false]);
        assert_eq!(doubted(&[0, DAY]), [true, true]);
        assert_eq!(doubted(&[0, LIMIT]), [false, false]);
        assert_eq!(doubted(&[0, SECOND, DAY]), [false, false, true]);
        assert_eq!(doubted(&[0, 0, -DAY, -DAY]), [true; 4]);
        assert_eq!(doubted(&[-DAY, 0, DAY]), [true; 3]);
    }

    #[test]
    fn a_node_far_away_is_not_doubted_for_the_way_of_its_messages() {
        let offset = |uncertain_micros| Offset {
            ahead_micros: 12 * SECOND,
            uncertain_micros,
        };
        assert!(!Judgement::of(&[offset(2 * SECOND)], LIMIT).is_doubted());
        assert!(Judgement::of(&[offset(SECOND)], LIMIT).is_doubted());
    }

    /// Clocks of which more than half are right to within half of the limit, the right ones first.
    fn mostly_right() -> impl Strategy<Value = (usize, Vec<i64>)> {
        (0_usize..5).prop_flat_map(|wrong| {
            let right = prop::collection::vec(-LIMIT / 2..=LIMIT / 2, wrong + 1..10);
            let wrong = prop::collection::vec(-400 * DAY..400 * DAY, wrong);
            (right, wrong).prop_map(|(right, wrong)| (right.len(), [right, wrong].concat()))
        })
    }

    proptest! {
        #[test]
        fn where_most_are_right_they_are_believed_and_whoever_is_far_off_is_doubted(
            (right, clocks) in mostly_right()
        ) {
            for (position, doubted) in doubted(&clocks).into_iter().enumerate() {
                if position < right {
                    prop_assert!(!doubted, "{position} of {clocks:?}");
                } else if clocks[position].abs() > LIMIT + LIMIT / 2 {
                    prop_assert!(doubted, "{position} of {clocks:?}");
                }
            }
        }

        #[test]
        fn where_most_are_right_everybody_knows_the_time((_, clocks) in mostly_right()) {
            for (position, clock) in clocks.iter().enumerate() {
                let time = clock - judged(&clocks, position).ahead_micros;
                prop_assert!(time.abs() <= LIMIT / 2, "{position} of {clocks:?} takes {time} for right");
            }
        }

        #[test]
        fn whoever_is_believed_differs_from_others_who_are_by_at_most_twice_the_limit(
            clocks in prop::collection::vec(-5 * LIMIT..5 * LIMIT, 1..9)
        ) {
            let doubted = doubted(&clocks);
            let believed = || clocks.iter().zip(&doubted).filter(|(_, doubted)| !**doubted);
            for ((one, _), (other, _)) in believed().flat_map(|one| believed().map(move |other| (one, other))) {
                prop_assert!((one - other).abs() <= 2 * LIMIT, "{clocks:?}");
            }
        }
    }
}
