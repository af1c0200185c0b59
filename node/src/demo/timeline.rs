//! The year as it unfolds: what becomes known, and what is asked, between one moment and the next.

use super::flights::{DAY, Flight, HOUR, Weather, Year};

/// Midnight in New York on the first of a month of 2013, in microseconds since the epoch (UTC). Winter time is enough
/// to tell months apart: no flight is scheduled in the hour around midnight in summer that would change sides.
pub(super) fn month_start(month: u32) -> i64 {
    const DAYS_BEFORE: [i64; 13] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365];
    const NEW_YEAR: i64 = 1_356_998_400_000_000;
    let index = usize::try_from(month.saturating_sub(1)).unwrap_or(12).min(12);
    NEW_YEAR + DAYS_BEFORE[index] * DAY + 5 * HOUR
}

/// The middle of a month: when something happens to the cluster.
pub(super) fn mid_month(month: u32) -> i64 {
    month_start(month) + 14 * DAY
}

/// What becomes known and is asked in one stretch of time.
pub(super) struct Stretch<'a> {
    pub(super) weather: &'a [Weather],
    pub(super) departed: Vec<&'a Flight>,
    pub(super) landed: Vec<&'a Flight>,
    pub(super) scheduled: &'a [Flight],
}

impl Stretch<'_> {
    /// Nothing known and nothing asked.
    pub(super) fn empty() -> Self {
        Self {
            weather: &[],
            departed: Vec::new(),
            landed: Vec::new(),
            scheduled: &[],
        }
    }
}

/// Walks through the year.
pub(super) struct Timeline<'a> {
    year: &'a Year,
    departures: Vec<&'a Flight>,
    landings: Vec<&'a Flight>,
    at: Cursor,
}

#[derive(Default)]
struct Cursor {
    weather: usize,
    departed: usize,
    landed: usize,
    scheduled: usize,
}

impl<'a> Timeline<'a> {
    /// The year from its beginning.
    pub(super) fn new(year: &'a Year) -> Self {
        let mut departures: Vec<&Flight> = year
            .flights
            .iter()
            .filter(|flight| flight.departed.is_some())
            .collect();
        departures.sort_by_key(|flight| flight.departed.map(|(at, _)| at));
        let mut landings: Vec<&Flight> = year
            .flights
            .iter()
            .filter(|flight| flight.landed.is_some())
            .collect();
        landings.sort_by_key(|flight| flight.landed.map(|(at, _)| at));
        Self {
            year,
            departures,
            landings,
            at: Cursor::default(),
        }
    }

    /// Everything before `until` that has not been given yet.
    pub(super) fn next(&mut self, until: i64) -> Stretch<'a> {
        let year = self.year;
        let weather = advance(&mut self.at.weather, &year.weather, |hour| hour.at < until);
        let departed = advance(&mut self.at.departed, &self.departures, |flight| {
            before(flight.departed, until)
        });
        let landed = advance(&mut self.at.landed, &self.landings, |flight| {
            before(flight.landed, until)
        });
        let (departed, landed) = (departed.to_vec(), landed.to_vec());
        let scheduled = advance(&mut self.at.scheduled, &year.flights, |flight| {
            flight.scheduled < until
        });
        Stretch {
            weather,
            departed,
            landed,
            scheduled,
        }
    }

    /// Whether everything has been given.
    pub(super) fn is_over(&self) -> bool {
        self.at.landed == self.landings.len()
            && self.at.departed == self.departures.len()
            && self.at.weather == self.year.weather.len()
            && self.at.scheduled == self.year.flights.len()
    }
}

fn before(event: Option<(i64, f64)>, until: i64) -> bool {
    event.is_some_and(|(at, _)| at < until)
}

fn advance<'s, T>(from: &mut usize, items: &'s [T], taken: impl Fn(&T) -> bool) -> &'s [T] {
    let start = *from;
    *from += items[start..].partition_point(taken);
    &items[start..*from]
}
