//! The year as it unfolds: what becomes known, and what is asked, between one moment and the next.
//!
//! Invariant: while flights are predicted, no stretch goes beyond the first landing of a flight that is due in it. So
//! what is pushed before a flight is asked about never holds how that flight ended.

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

/// The day in New York, for people: `15 May`.
pub(super) fn day(at: i64) -> String {
    let month = (1..=12)
        .rev()
        .find(|month| month_start(*month) <= at)
        .unwrap_or(1);
    let day = (at - month_start(month)).div_euclid(DAY) + 1;
    format!("{day} {}", month_name(month))
}

/// A month's short name.
pub(super) fn month_name(month: u32) -> &'static str {
    const NAMES: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    usize::try_from(month)
        .ok()
        .and_then(|month| NAMES.get(month.wrapping_sub(1)))
        .copied()
        .unwrap_or("?")
}

/// What becomes known and is asked in one stretch of time.
pub(super) struct Stretch<'a> {
    pub(super) weather: &'a [Weather],
    pub(super) departed: Vec<&'a Flight>,
    pub(super) landed: Vec<&'a Flight>,
    pub(super) scheduled: &'a [Flight],
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

    /// The moment up to which the flights that are due may be predicted in one go: `latest`, or earlier, when one of
    /// them has landed.
    pub(super) fn until_landing(&self, latest: i64) -> i64 {
        let mut until = latest;
        for flight in &self.year.flights[self.at.scheduled..] {
            if flight.scheduled >= until {
                break;
            }
            if let Some((landed, _)) = flight.landed {
                until = until.min(landed);
            }
        }
        until
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn year() -> Year {
        Year::load(Path::new("../examples/flights/data")).unwrap()
    }

    #[test]
    fn every_flight_is_asked_about_once_and_before_it_has_landed() {
        let year = year();
        let mut timeline = Timeline::new(&year);
        let (mut landed, mut asked) = (BTreeSet::new(), BTreeSet::new());
        let mut at = month_start(1);
        while !timeline.is_over() {
            at = timeline.until_landing(at + 8 * HOUR);
            let stretch = timeline.next(at);
            landed.extend(stretch.landed.iter().map(|flight| flight.id.as_str()));
            for flight in stretch.scheduled {
                assert!(asked.insert(flight.id.as_str()), "{} is due twice", flight.id);
                assert!(!landed.contains(flight.id.as_str()), "{} has landed", flight.id);
            }
        }
        assert_eq!(asked.len(), year.flights.len());
        assert_eq!(
            landed.len(),
            year.flights
                .iter()
                .filter(|flight| flight.landed.is_some())
                .count()
        );
    }

    #[test]
    fn days_are_told_as_people_do() {
        assert_eq!(day(mid_month(5)), "15 May");
        assert_eq!(day(month_start(4) - 1), "31 Mar");
        assert_eq!(day(month_start(1)), "1 Jan");
    }

    #[test]
    fn what_happens_at_the_end_of_a_stretch_belongs_to_the_next_one() {
        let year = year();
        let mut timeline = Timeline::new(&year);
        let first = year.flights[0].scheduled;
        assert!(timeline.next(first).scheduled.is_empty());
        assert_eq!(timeline.next(first + 1).scheduled[0].id, year.flights[0].id);
    }
}
