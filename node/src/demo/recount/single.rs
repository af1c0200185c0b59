//! Views whose every row is read back: outcomes, weather and planes.

use std::collections::BTreeMap;

use super::sheet::{Cell, Sheet, SheetRow};
use crate::demo::flights::{Flight, Plane, WEATHER_COLUMNS, Year};
use crate::demo::rows::day_name;

/// The position of the wind speed among the weather's columns, and the view's limit for it. The data has one hour with
/// a wind of 1,048 miles per hour, which the cluster must have refused.
const WIND_SPEED: usize = 3;
const WIND_SPEED_MAX: f64 = 200.0;

/// One sheet per view.
pub(super) fn sheets(year: &Year) -> [Sheet; 3] {
    [outcomes(year), weather(year), planes(year)]
}

/// Every flight that landed, with its schedule and its verdict.
fn outcomes(year: &Year) -> Sheet {
    let row = |flight: &Flight| {
        let late = flight.late()?;
        Some(SheetRow {
            key: flight.id.clone(),
            at: None,
            expected: vec![
                Cell::integer(flight.scheduled),
                Cell::text(&flight.origin),
                Cell::text(&flight.dest),
                Cell::text(&flight.carrier),
                flight.tail.as_deref().map_or(Cell::Null, Cell::text),
                Cell::integer(flight.hour),
                Cell::text(day_name(flight)),
                Cell::number(flight.distance),
                Cell::integer(i64::from(late)),
            ],
        })
    };
    Sheet {
        service: "recount_flight",
        key: "flight_id",
        columns: names(
            "flight_outcomes",
            &[
                "scheduled_departure",
                "origin",
                "dest",
                "carrier",
                "tailnum",
                "hour",
                "day_of_week",
                "distance",
                "late",
            ],
        ),
        counts_in: None,
        rows: year.flights.iter().filter_map(row).collect(),
    }
}

/// Every hour of weather as it was measured, the last measurement of the hour winning.
fn weather(year: &Year) -> Sheet {
    let accepted = year
        .weather
        .iter()
        .filter(|hour| hour.values[WIND_SPEED].is_none_or(|speed| speed <= WIND_SPEED_MAX));
    let hours: BTreeMap<(&str, i64), &Vec<Option<f64>>> = accepted
        .map(|hour| ((hour.origin.as_str(), hour.at), &hour.values))
        .collect();
    let row = |((origin, at), values): ((&str, i64), &Vec<Option<f64>>)| SheetRow {
        key: origin.to_owned(),
        at: Some(at),
        expected: values.iter().copied().map(Cell::maybe).collect(),
    };
    Sheet {
        service: "recount_weather",
        key: "origin",
        columns: names("weather", &WEATHER_COLUMNS),
        counts_in: None,
        rows: hours.into_iter().map(row).collect(),
    }
}

/// Every plane of the register.
fn planes(year: &Year) -> Sheet {
    let row = |plane: &Plane| SheetRow {
        key: plane.tail.clone(),
        at: None,
        expected: [plane.built, plane.seats, plane.engines]
            .map(Cell::maybe_integer)
            .to_vec(),
    };
    Sheet {
        service: "recount_plane",
        key: "tailnum",
        columns: names("planes", &["year", "seats", "engines"]),
        counts_in: None,
        rows: year.planes.iter().map(row).collect(),
    }
}

fn names(view: &str, columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| format!("{view}__{column}")).collect()
}
