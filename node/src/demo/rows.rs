//! The rows of the demo's views, and the requests for predictions, as tables.

use covey_proto::v1;

use super::flights::{Flight, Plane, WEATHER_COLUMNS, Weather};
use super::table::TableBuilder;

/// The views that are fed while time goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    /// Hourly weather by origin.
    Weather,
    /// Departure delays by origin.
    OriginDepartures,
    /// Arrival delays by carrier.
    CarrierArrivals,
    /// Arrival delays by plane.
    TailArrivals,
    /// What became of each flight: the label, known after landing.
    FlightOutcomes,
}

impl Stream {
    /// The view's name.
    pub(super) const fn view(self) -> &'static str {
        match self {
            Self::Weather => "weather",
            Self::OriginDepartures => "origin_departures",
            Self::CarrierArrivals => "carrier_arrivals",
            Self::TailArrivals => "tail_arrivals",
            Self::FlightOutcomes => "flight_outcomes",
        }
    }
}

const DAY_NAMES: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// The day's name: a category for the model, not a number.
pub(super) fn day_name(flight: &Flight) -> &'static str {
    usize::try_from(flight.day_of_week)
        .ok()
        .and_then(|day| DAY_NAMES.get(day))
        .copied()
        .unwrap_or("monday")
}

/// Rows of the weather view.
pub(super) fn weather(hours: &[Weather]) -> v1::Table {
    let mut table = TableBuilder::default()
        .texts("origin", hours.iter().map(|hour| hour.origin.as_str()))
        .times("event_time", hours.iter().map(|hour| hour.at));
    for (position, name) in WEATHER_COLUMNS.iter().enumerate() {
        table = table.numbers(name, hours.iter().map(|hour| hour.values[position]));
    }
    table.build()
}

/// Rows of the planes view, as known before the year began.
pub(super) fn planes(planes: &[Plane], known_at: i64) -> v1::Table {
    TableBuilder::default()
        .texts("tailnum", planes.iter().map(|plane| plane.tail.as_str()))
        .times("event_time", planes.iter().map(|_| known_at))
        .integers("year", planes.iter().map(|plane| plane.built))
        .integers("seats", planes.iter().map(|plane| plane.seats))
        .integers("engines", planes.iter().map(|plane| plane.engines))
        .build()
}

/// Rows of the origin_departures view. All flights must have departed.
pub(super) fn origin_departures(flights: &[&Flight]) -> v1::Table {
    TableBuilder::default()
        .texts("origin", flights.iter().map(|flight| flight.origin.as_str()))
        .times(
            "event_time",
            flights
                .iter()
                .filter_map(|flight| flight.departed)
                .map(|(at, _)| at),
        )
        .numbers(
            "dep_delay",
            flights
                .iter()
                .map(|flight| flight.departed.map(|(_, delay)| delay)),
        )
        .build()
}

/// Rows of the carrier_arrivals view. All flights must have landed.
pub(super) fn carrier_arrivals(flights: &[&Flight]) -> v1::Table {
    arrivals(
        TableBuilder::default().texts("carrier", flights.iter().map(|flight| flight.carrier.as_str())),
        flights,
    )
}

/// Rows of the tail_arrivals view. All flights must have landed; one without a tail number is refused by the cluster.
pub(super) fn tail_arrivals(flights: &[&Flight]) -> v1::Table {
    arrivals(
        TableBuilder::default()
            .optional_texts("tailnum", flights.iter().map(|flight| flight.tail.as_deref())),
        flights,
    )
}

fn arrivals(table: TableBuilder, flights: &[&Flight]) -> v1::Table {
    table
        .times(
            "event_time",
            flights
                .iter()
                .filter_map(|flight| flight.landed)
                .map(|(at, _)| at),
        )
        .numbers(
            "arr_delay",
            flights.iter().map(|flight| flight.landed.map(|(_, delay)| delay)),
        )
        .build()
}

/// Rows of the flight_outcomes view: what was known before departure, and the label. All flights must have landed.
pub(super) fn flight_outcomes(flights: &[&Flight]) -> v1::Table {
    with_schedule(
        TableBuilder::default().texts("flight_id", flights.iter().map(|flight| flight.id.as_str())),
        flights,
    )
    .times(
        "event_time",
        flights
            .iter()
            .filter_map(|flight| flight.landed)
            .map(|(at, _)| at),
    )
    .times(
        "scheduled_departure",
        flights.iter().map(|flight| flight.scheduled),
    )
    .flags(
        "late",
        flights.iter().map(|flight| flight.late().unwrap_or(false)),
    )
    .build()
}

/// What a prediction is asked with: join keys and request features.
pub(super) fn questions(flights: &[&Flight]) -> v1::Table {
    with_schedule(TableBuilder::default(), flights).build()
}

fn with_schedule(table: TableBuilder, flights: &[&Flight]) -> TableBuilder {
    let hours = flights.iter().map(|flight| Some(flight.hour));
    table
        .texts("origin", flights.iter().map(|flight| flight.origin.as_str()))
        .texts("dest", flights.iter().map(|flight| flight.dest.as_str()))
        .texts("carrier", flights.iter().map(|flight| flight.carrier.as_str()))
        .optional_texts("tailnum", flights.iter().map(|flight| flight.tail.as_deref()))
        .integers("hour", hours)
        .texts("day_of_week", flights.iter().map(|flight| day_name(flight)))
        .numbers("distance", flights.iter().map(|flight| Some(flight.distance)))
}
