//! Views with windows: what every window must hold, counted from the flights one by one.

use std::collections::BTreeMap;

use super::sheet::{Cell, Sheet, SheetRow};
use crate::demo::flights::{DAY, Flight, HOUR, MINUTE, Year};
use crate::demo::timeline::month_start;

/// The moments that are asked about lie this far inside a tile.
const INSIDE_A_TILE: i64 = 2 * MINUTE + 31_000_000;
/// Width of the tiles of windows up to 12 hours, and of those above.
const FIVE_MINUTES: i64 = 5 * MINUTE;

/// What a view makes of the rows in a window.
#[derive(Debug, Clone, Copy)]
enum Feature {
    /// The newest row's value, as long as it lives.
    Latest { ttl: i64 },
    /// How many rows there are in a window.
    Count { window: i64 },
    /// The mean of their values.
    Mean { window: i64 },
    /// The newest of their values.
    Last { window: i64 },
}

/// A view with windows.
struct View {
    service: &'static str,
    key: &'static str,
    features: Vec<(&'static str, Feature)>,
    /// The distance between moments that are asked about: the length of the window that counts.
    step: i64,
    /// Values with their event times by key, in the order in which they were sent.
    rows: BTreeMap<String, Vec<(i64, f64)>>,
}

/// One sheet per view.
pub(super) fn sheets(year: &Year) -> Vec<Sheet> {
    let [day, week] = [DAY, 7 * DAY];
    let views = [
        View {
            service: "recount_origin",
            key: "origin",
            features: vec![
                ("origin_departures__dep_delay", Feature::Latest { ttl: day }),
                (
                    "origin_departures__dep_delay_mean_3h",
                    Feature::Mean { window: 3 * HOUR },
                ),
                (
                    "origin_departures__dep_delay_count_3h",
                    Feature::Count { window: 3 * HOUR },
                ),
            ],
            step: 3 * HOUR,
            rows: rows(year, |flight| Some(&flight.origin), |flight| flight.departed),
        },
        View {
            service: "recount_carrier",
            key: "carrier",
            features: vec![
                ("carrier_arrivals__arr_delay", Feature::Latest { ttl: 2 * day }),
                (
                    "carrier_arrivals__arr_delay_mean_1d",
                    Feature::Mean { window: day },
                ),
                (
                    "carrier_arrivals__arr_delay_count_1d",
                    Feature::Count { window: day },
                ),
            ],
            step: day,
            rows: rows(year, |flight| Some(&flight.carrier), |flight| flight.landed),
        },
        View {
            service: "recount_tail",
            key: "tailnum",
            features: vec![
                ("tail_arrivals__arr_delay", Feature::Latest { ttl: 2 * week }),
                ("tail_arrivals__arr_delay_last_1d", Feature::Last { window: day }),
                ("tail_arrivals__arr_delay_mean_7d", Feature::Mean { window: week }),
                (
                    "tail_arrivals__arr_delay_count_7d",
                    Feature::Count { window: week },
                ),
            ],
            step: week,
            rows: rows(year, |flight| flight.tail.as_ref(), |flight| flight.landed),
        },
    ];
    views.iter().map(View::sheet).collect()
}

/// The rows that were sent, in the order of their time; those of the same time in the order of the schedule.
fn rows<'y>(
    year: &'y Year,
    key: impl Fn(&'y Flight) -> Option<&'y String>,
    row: impl Fn(&Flight) -> Option<(i64, f64)>,
) -> BTreeMap<String, Vec<(i64, f64)>> {
    let mut rows: BTreeMap<String, Vec<(i64, f64)>> = BTreeMap::new();
    for flight in &year.flights {
        if let (Some(key), Some(row)) = (key(flight), row(flight)) {
            rows.entry(key.clone()).or_default().push(row);
        }
    }
    rows.values_mut().for_each(|rows| rows.sort_by_key(|(at, _)| *at));
    rows
}

impl View {
    fn sheet(&self) -> Sheet {
        let mut rows = Vec::new();
        for (key, facts) in &self.rows {
            let last = facts.last().map_or(0, |(at, _)| *at);
            let mut at = month_start(1) + INSIDE_A_TILE;
            while at < last + self.step {
                let feature = |(_, feature): &(_, Feature)| feature.of(facts, at);
                rows.push(SheetRow {
                    key: key.clone(),
                    at: Some(at),
                    expected: self.features.iter().map(feature).collect(),
                });
                at += self.step;
            }
        }
        let is_count = |(_, feature): &(_, Feature)| matches!(feature, Feature::Count { .. });
        Sheet {
            service: self.service,
            key: self.key,
            columns: self.features.iter().map(|(name, _)| (*name).to_owned()).collect(),
            counts_in: self.features.iter().position(is_count),
            rows,
        }
    }
}

impl Feature {
    /// The feature as of `at`, from all rows of one key in the order of their time.
    fn of(self, facts: &[(i64, f64)], at: i64) -> Cell {
        match self {
            Self::Latest { ttl } => {
                let newest = facts[..facts.partition_point(|(time, _)| *time <= at)].last();
                Cell::maybe(
                    newest
                        .filter(|(time, _)| time + ttl >= at)
                        .map(|(_, value)| *value),
                )
            }
            Self::Count { window } => {
                let rows = i64::try_from(within(facts, at, window).len()).unwrap_or(i64::MAX);
                Cell::integer(rows)
            }
            Self::Mean { window } => {
                let rows = within(facts, at, window);
                // Delays are whole minutes: their sum is exact.
                let sum: f64 = rows.iter().map(|(_, value)| value).sum();
                #[allow(clippy::cast_precision_loss)]
                let count = rows.len() as f64;
                Cell::maybe((count > 0.0).then(|| sum / count))
            }
            Self::Last { window } => Cell::maybe(within(facts, at, window).last().map(|(_, value)| *value)),
        }
    }
}

/// The rows in the documented span of a window as of `at`: from the start of the tile that its beginning falls into.
fn within(facts: &[(i64, f64)], at: i64, window: i64) -> &[(i64, f64)] {
    let hop = if window < 12 * HOUR { FIVE_MINUTES } else { HOUR };
    let tail = (at - window).div_euclid(hop) * hop;
    let from = facts.partition_point(|(time, _)| *time < tail);
    let until = facts.partition_point(|(time, _)| *time <= at);
    &facts[from..until]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_begins_with_the_tile_that_its_start_falls_into_and_ends_with_its_moment() {
        let facts: Vec<(i64, f64)> = (0..20).map(|n| (n * MINUTE, n as f64)).collect();
        let at = 3 * HOUR + 12 * MINUTE;
        let found = within(&facts, at, 3 * HOUR);
        assert_eq!((found.first(), found.len()), (Some(&(10 * MINUTE, 10.0)), 10));
        assert_eq!(
            Feature::Count { window: 3 * HOUR }.of(&facts, at),
            Cell::integer(10)
        );
        assert_eq!(
            Feature::Mean { window: 3 * HOUR }.of(&facts, at),
            Cell::number(14.5)
        );
        assert_eq!(
            Feature::Last { window: 3 * HOUR }.of(&facts, at),
            Cell::number(19.0)
        );
        assert_eq!(
            Feature::Mean { window: 3 * HOUR }.of(&facts, at + DAY),
            Cell::Null
        );
    }

    #[test]
    fn the_latest_row_lives_through_its_last_moment() {
        let facts = [(0, 1.0), (5, 2.0), (5, 3.0)];
        let latest = Feature::Latest { ttl: 10 };
        assert_eq!(latest.of(&facts, 4), Cell::number(1.0));
        assert_eq!(latest.of(&facts, 15), Cell::number(3.0));
        assert_eq!(latest.of(&facts, 16), Cell::Null);
        assert_eq!(latest.of(&facts, -1), Cell::Null);
    }
}
