//! An independent recount of the input against what the cluster holds: every row of every view, windows included.
//!
//! For views with windows the number of rows in every window that ends at regular moments of the year is compared; for
//! the others every key is read back. Nothing here asks the cluster what it believes it has counted.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow};
use covey_proto::v1;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::fleet::Fleet;
use super::flights::{DAY, Flight, HOUR, MINUTE, WEATHER_COLUMNS, Year};
use super::table::{TableBuilder, number};
use super::timeline::month_start;

/// Rows in one read.
const READ_ROWS_MAX: usize = 2_000;
/// The position of the wind speed among the weather's columns, and the view's limit for it. The data has one hour with
/// a wind of 1,048 miles per hour, which the cluster must have refused.
const WIND_SPEED: usize = 3;
const WIND_SPEED_MAX: f64 = 200.0;
/// Reads under way at the same time.
const READS_IN_FLIGHT: usize = 4;

/// What the recount found.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Recount {
    /// Rows that the input has and the cluster has not.
    pub(super) lost: u64,
    /// Rows that the cluster has counted more than once.
    pub(super) duplicated: u64,
    /// Values and windows compared.
    pub(super) compared: u64,
}

impl Recount {
    fn count(&mut self, expected: u64, found: u64) {
        self.compared += 1;
        self.lost += expected.saturating_sub(found);
        self.duplicated += found.saturating_sub(expected);
    }

    fn value(&mut self, expected: Option<f64>, found: Option<f64>) {
        self.compared += 1;
        if expected.map(f64::to_bits) != found.map(f64::to_bits) {
            self.lost += 1;
        }
    }
}

/// A view whose windows are counted.
struct Windowed {
    service: &'static str,
    feature: &'static str,
    key: &'static str,
    /// Length of the window, and of the tiles that its beginning is rounded to.
    window: i64,
    hop: i64,
    /// Sorted event times by key.
    times: BTreeMap<String, Vec<i64>>,
}

/// Recounts everything.
pub(super) async fn recount(fleet: &Fleet, year: &Year) -> Result<Recount> {
    let mut found = Recount::default();
    for windowed in windowed(year) {
        windowed
            .compare(fleet, &mut found)
            .await
            .with_context(|| format!("recounting {}", windowed.service))?;
    }
    outcomes(fleet, year, &mut found)
        .await
        .context("recounting flight_outcomes")?;
    weather(fleet, year, &mut found)
        .await
        .context("recounting weather")?;
    Ok(found)
}

fn windowed(year: &Year) -> [Windowed; 3] {
    let departed = |flight: &Flight| flight.departed.map(|(at, _)| at);
    let landed = |flight: &Flight| flight.landed.map(|(at, _)| at);
    [
        Windowed {
            service: "recount_origin",
            feature: "origin_departures__dep_delay_count_3h",
            key: "origin",
            window: 3 * HOUR,
            hop: 5 * MINUTE,
            times: times(year, |flight| Some(flight.origin.clone()), departed),
        },
        Windowed {
            service: "recount_carrier",
            feature: "carrier_arrivals__arr_delay_count_1d",
            key: "carrier",
            window: DAY,
            hop: HOUR,
            times: times(year, |flight| Some(flight.carrier.clone()), landed),
        },
        Windowed {
            service: "recount_tail",
            feature: "tail_arrivals__arr_delay_count_7d",
            key: "tailnum",
            window: 7 * DAY,
            hop: HOUR,
            times: times(year, |flight| flight.tail.clone(), landed),
        },
    ]
}

fn times(
    year: &Year,
    key: impl Fn(&Flight) -> Option<String>,
    at: impl Fn(&Flight) -> Option<i64>,
) -> BTreeMap<String, Vec<i64>> {
    let mut times: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for flight in &year.flights {
        if let (Some(key), Some(at)) = (key(flight), at(flight)) {
            times.entry(key).or_default().push(at);
        }
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    times
}

impl Windowed {
    /// Every key at the end of every window's length, until the last row has been counted.
    fn questions(&self) -> Vec<(&str, i64)> {
        let mut questions = Vec::new();
        for (key, times) in &self.times {
            let Some(last) = times.last() else { continue };
            let mut at = month_start(1);
            while at < last + self.window {
                at += self.window;
                questions.push((key.as_str(), at));
            }
        }
        questions
    }

    /// Rows in the documented span of a window as of `at`: after the start of the tile that its beginning falls into.
    fn expected(&self, key: &str, at: i64) -> u64 {
        let Some(times) = self.times.get(key) else {
            return 0;
        };
        let tail = (at - self.window).div_euclid(self.hop) * self.hop;
        let from = times.partition_point(|time| *time < tail);
        let until = times.partition_point(|time| *time <= at);
        (until - from) as u64
    }

    async fn compare(&self, fleet: &Fleet, found: &mut Recount) -> Result<()> {
        let questions = self.questions();
        let reads = questions.chunks(READ_ROWS_MAX).map(|asked| async move {
            let keys = TableBuilder::default()
                .texts(self.key, asked.iter().map(|(key, _)| *key))
                .build();
            let at = asked.iter().map(|(_, at)| *at).collect();
            Ok::<_, anyhow::Error>((asked, read(fleet, self.service, (keys, at)).await?))
        });
        let mut answers = stream::iter(reads).buffer_unordered(READS_IN_FLIGHT);
        while let Some((asked, table)) = answers.try_next().await? {
            let column = column(&table, self.feature)?;
            for ((key, at), value) in asked.iter().zip(&column.values) {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                let counted = number(value).unwrap_or(0.0) as u64;
                found.count(self.expected(key, *at), counted);
            }
        }
        Ok(())
    }
}

/// Every flight that landed must be there with its delay's verdict and its schedule.
async fn outcomes(fleet: &Fleet, year: &Year, found: &mut Recount) -> Result<()> {
    let landed: Vec<&Flight> = year
        .flights
        .iter()
        .filter(|flight| flight.landed.is_some())
        .collect();
    let reads = landed.chunks(READ_ROWS_MAX).map(|flights| async move {
        let keys = TableBuilder::default()
            .texts("flight_id", flights.iter().map(|flight| flight.id.as_str()))
            .build();
        Ok::<_, anyhow::Error>((flights, read(fleet, "recount_flight", (keys, Vec::new())).await?))
    });
    let mut answers = stream::iter(reads).buffer_unordered(READS_IN_FLIGHT);
    while let Some((flights, table)) = answers.try_next().await? {
        let (late, distance) = (
            column(&table, "flight_outcomes__late")?,
            column(&table, "flight_outcomes__distance")?,
        );
        for (row, flight) in flights.iter().enumerate() {
            found.value(
                flight.late().map(|late| f64::from(u8::from(late))),
                late.values.get(row).and_then(number),
            );
            found.value(Some(flight.distance), distance.values.get(row).and_then(number));
        }
    }
    Ok(())
}

/// Every hour of weather must be what was measured, the last measurement of the hour winning.
async fn weather(fleet: &Fleet, year: &Year, found: &mut Recount) -> Result<()> {
    let accepted = year
        .weather
        .iter()
        .filter(|hour| hour.values[WIND_SPEED].is_none_or(|speed| speed <= WIND_SPEED_MAX));
    let hours: BTreeMap<(&str, i64), &Vec<Option<f64>>> = accepted
        .map(|hour| ((hour.origin.as_str(), hour.at), &hour.values))
        .collect();
    let hours: Vec<_> = hours.into_iter().collect();
    for asked in hours.chunks(READ_ROWS_MAX) {
        let keys = TableBuilder::default()
            .texts("origin", asked.iter().map(|((origin, _), _)| *origin))
            .build();
        let at = asked.iter().map(|((_, at), _)| *at).collect();
        let table = read(fleet, "recount_weather", (keys, at)).await?;
        for (position, name) in WEATHER_COLUMNS.iter().enumerate() {
            let column = column(&table, &format!("weather__{name}"))?;
            for (row, (_, values)) in asked.iter().enumerate() {
                found.value(values[position], column.values.get(row).and_then(number));
            }
        }
    }
    Ok(())
}

async fn read(fleet: &Fleet, service: &str, (entities, at): (v1::Table, Vec<i64>)) -> Result<v1::Table> {
    let kind = v1::consistency::Kind::Linearizable(v1::consistency::Linearizable {});
    let request = v1::GetOnlineFeaturesRequest {
        service: service.to_owned(),
        entities: Some(entities),
        as_of_micros: at,
        consistency: Some(v1::Consistency { kind: Some(kind) }),
    };
    let reply = fleet
        .ask(|connection| {
            let request = request.clone();
            async move { connection.features().get_online_features(request).await }
        })
        .await?;
    reply
        .into_inner()
        .features
        .ok_or_else(|| anyhow!("the reply has no features"))
}

fn column<'t>(table: &'t v1::Table, name: &str) -> Result<&'t v1::TableColumn> {
    let found = table.columns.iter().find(|column| column.name == name);
    found.ok_or_else(|| anyhow!("the reply has no column `{name}`"))
}
