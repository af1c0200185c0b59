//! Finds the first key in which two replicas differ, within a range whose sums differ.

use covey_state::NodeId;
use covey_storage::{Position, Split};

use super::Comparison;
use super::page::{Asked, Page, ask};
use crate::machine::LogPosition;

/// Into how many parts a range is cut at a time.
const PARTS: u64 = 16;
/// Cuts until one key must be left, however many there were.
const CUTS_MAX: usize = 24;

/// A search for the first key in which two replicas differ.
pub(super) struct Search<'a> {
    pub(super) comparison: &'a Comparison<'a>,
    pub(super) position: LogPosition,
    /// Who counts as right.
    pub(super) right: NodeId,
    /// Who differs.
    pub(super) wrong: NodeId,
}

impl Search<'_> {
    /// The first key between two places that is not the same in both, and in which way, for people.
    pub(super) async fn first_difference(&self, from: &Position, end: &Position) -> String {
        let (mut from, mut end) = (from.clone(), end.clone());
        let mut place = "in a range that could not be looked at again".to_owned();
        for _ in 0..CUTS_MAX {
            let Some((here, there)) = self.both(&from, &Split::At(vec![end.clone()])).await else {
                return place;
            };
            let (keys_here, keys_there) = (count(&here), count(&there));
            place = match (keys_here, keys_there) {
                (_, 0) => format!("lacks {}", here.first),
                (0, _) => format!("has {}, which others lack", there.first),
                _ if here.first == there.first => format!("at {}", here.first),
                _ => format!("between {} and {}", here.first, there.first),
            };
            if keys_here.max(keys_there) <= 1 {
                return place;
            }
            let Some(part) = self.first_part(&from, &end, keys_here >= keys_there).await else {
                return place;
            };
            (from, end) = part;
        }
        place
    }

    async fn page(&self, node: NodeId, from: &Position, split: &Split) -> Option<Page> {
        match ask(self.comparison, self.position, node, from, split).await {
            Asked::Summed(page) => Some(page),
            Asked::Missed(_) | Asked::Damaged(_) => None,
        }
    }

    /// The same ranges of both.
    async fn both(&self, from: &Position, split: &Split) -> Option<(Page, Page)> {
        let asked = tokio::join!(
            self.page(self.right, from, split),
            self.page(self.wrong, from, split)
        );
        asked.0.zip(asked.1)
    }

    /// The first part of a stretch in which they differ. Whoever has more keys cuts it.
    async fn first_part(
        &self,
        from: &Position,
        end: &Position,
        right_cuts: bool,
    ) -> Option<(Position, Position)> {
        let cutter = if right_cuts { self.right } else { self.wrong };
        let whole = self.page(cutter, from, &Split::At(vec![end.clone()])).await?;
        let cut = Split::Every {
            keys: count(&whole).div_ceil(PARTS).max(1),
            bytes: u64::MAX,
            ranges: usize::try_from(PARTS).unwrap_or(usize::MAX),
        };
        let cut = self.page(cutter, from, &cut).await?;
        // The last part ends where the stretch does; a cut knows only of keys.
        let inner = cut.ranges.into_iter().map(|range| range.end);
        let mut ends: Vec<Position> = inner.filter(|part| part < end).collect();
        ends.push(end.clone());
        let (here, there) = self.both(from, &Split::At(ends)).await?;
        let differs = here.ranges.iter().zip(&there.ranges).position(|(a, b)| a != b)?;
        let begin = match differs.checked_sub(1) {
            Some(before) => here.ranges.get(before)?.end.clone(),
            None => from.clone(),
        };
        Some((begin, here.ranges.get(differs)?.end.clone()))
    }
}

fn count(page: &Page) -> u64 {
    page.ranges.iter().map(|range| range.keys).sum()
}
