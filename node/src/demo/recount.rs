//! An independent recount of the input against what the cluster holds: every row and column of every view, windows
//! included. What must be there is computed here from the flights, the weather and the planes; nothing asks the cluster
//! what it believes it has counted.
//!
//! For views with windows, every key is read at moments a window's length apart, so that each row is in a window that is
//! looked at; the moments lie inside tiles, so that whole tiles and single rows both matter. For the others every row
//! that should be there is read back.

mod sheet;
mod single;
mod windows;

use anyhow::{Context, Result, anyhow};
use covey_proto::v1;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::fleet::Fleet;
use super::flights::Year;
use sheet::{Cell, Sheet};

/// Rows in one read.
const READ_ROWS_MAX: usize = 4_000;
/// Reads under way at the same time.
const READS_IN_FLIGHT: usize = 6;

/// What the recount found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recount {
    /// Rows that the input has and the cluster has not.
    pub(super) lost: u64,
    /// Rows that the cluster has counted more than once.
    pub(super) duplicated: u64,
    /// Values that are not what the input says.
    pub(super) wrong: u64,
    /// Values compared.
    pub(super) compared: u64,
}

impl Recount {
    /// Compares one row of an answer. Where the sheet counts rows, the counts say how many are lost or too many; where it
    /// does not, a row that holds nothing is lost.
    fn row(&mut self, sheet: &Sheet, expected: &[Cell], found: &[Cell]) {
        self.compared += expected.len() as u64;
        let is_nothing = |cells: &[Cell]| cells.iter().all(|cell| *cell == Cell::Null);
        match sheet.counts_in {
            Some(position) => {
                let (expected, found) = (expected[position].count(), found[position].count());
                self.lost += expected.saturating_sub(found);
                self.duplicated += found.saturating_sub(expected);
            }
            None if is_nothing(found) && !is_nothing(expected) => {
                self.lost += 1;
                return;
            }
            None => {}
        }
        let values = expected.iter().zip(found).enumerate();
        let values = values.filter(|(position, _)| sheet.counts_in != Some(*position));
        self.wrong += values.filter(|(_, (expected, found))| expected != found).count() as u64;
    }
}

/// Recounts everything.
pub(super) async fn recount(fleet: &Fleet, year: &Year) -> Result<Recount> {
    let mut found = Recount::default();
    for sheet in sheets(year) {
        compare(fleet, &sheet, &mut found)
            .await
            .with_context(|| format!("recounting {}", sheet.service))?;
    }
    Ok(found)
}

/// What must be there, one sheet per view.
fn sheets(year: &Year) -> Vec<Sheet> {
    let mut sheets = windows::sheets(year);
    sheets.extend(single::sheets(year));
    sheets
}

async fn compare(fleet: &Fleet, sheet: &Sheet, found: &mut Recount) -> Result<()> {
    let reads = sheet.rows.chunks(READ_ROWS_MAX).map(|rows| async move {
        let table = read(fleet, sheet.service, sheet.questions(rows)).await?;
        Ok::<_, anyhow::Error>((rows, table))
    });
    let mut answers = stream::iter(reads).buffer_unordered(READS_IN_FLIGHT);
    while let Some((rows, table)) = answers.try_next().await? {
        let cells = sheet.cells(&table, rows.len())?;
        for (row, cells) in rows.iter().zip(&cells) {
            found.row(sheet, &row.expected, cells);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::flights::{Flight, HOUR, MINUTE, Plane, Weather};
    use crate::demo::timeline::month_start;

    fn flight(number: usize, minutes: i64, delay: f64) -> Flight {
        let scheduled = month_start(1) + minutes * MINUTE;
        Flight {
            id: format!("UA{number}"),
            month: 1,
            hour: 7,
            day_of_week: 1,
            carrier: "UA".to_owned(),
            tail: Some(format!("N{}", number % 2)),
            origin: "JFK".to_owned(),
            dest: "LAX".to_owned(),
            distance: 2_475.0,
            scheduled,
            departed: Some((scheduled, delay)),
            landed: Some((scheduled + 6 * HOUR, delay)),
        }
    }

    fn year() -> Year {
        Year {
            flights: (0..40).map(|n| flight(n, n as i64 * 97, n as f64)).collect(),
            weather: vec![Weather {
                origin: "JFK".to_owned(),
                at: month_start(1),
                values: vec![
                    Some(40.0),
                    None,
                    Some(60.0),
                    Some(9.0),
                    Some(0.0),
                    None,
                    Some(10.0),
                ],
            }],
            planes: vec![Plane {
                tail: "N0".to_owned(),
                built: Some(1999),
                seats: None,
                engines: Some(2),
            }],
        }
    }

    /// Recounts a cluster that was given `held` against what it should have been given.
    fn recounted(offered: &Year, held: &Year) -> Recount {
        let mut found = Recount::default();
        for (expected, held) in sheets(offered).iter().zip(&sheets(held)) {
            for row in &expected.rows {
                let same = |other: &&sheet::SheetRow| (&other.key, other.at) == (&row.key, row.at);
                let nothing = vec![Cell::Null; row.expected.len()];
                let cells = held.rows.iter().find(same).map_or(&nothing, |row| &row.expected);
                found.row(expected, &row.expected, cells);
            }
        }
        found
    }

    #[test]
    fn a_cluster_that_holds_what_it_was_given_passes() {
        let found = recounted(&year(), &year());
        assert!(found.compared > 400, "{found:?}");
        assert_eq!((found.lost, found.duplicated, found.wrong), (0, 0, 0));
    }

    #[test]
    fn a_planted_lost_row_is_found() {
        let mut held = year();
        held.flights[17].departed = None;
        let found = recounted(&year(), &held);
        assert!(found.lost >= 1 && found.duplicated == 0, "{found:?}");
        let mut held = year();
        held.planes.clear();
        held.weather.clear();
        assert_eq!(recounted(&year(), &held).lost, 2);
        let mut held = year();
        held.flights[17].landed = None;
        // Out of the carrier's and the aircraft's windows, and its outcome.
        assert!(recounted(&year(), &held).lost >= 3);
    }

    #[test]
    fn a_planted_duplicated_row_is_found() {
        let mut held = year();
        let twin = held.flights[17].clone();
        held.flights.insert(18, twin);
        let found = recounted(&year(), &held);
        assert!(found.duplicated >= 3 && found.lost == 0, "{found:?}");
    }

    #[test]
    fn a_planted_wrong_window_is_found() {
        // The counts are right; a mean and a last value are not.
        let mut held = year();
        held.flights[17].departed = held.flights[17].departed.map(|(at, delay)| (at, delay + 1.0));
        let found = recounted(&year(), &held);
        assert!(
            found.wrong >= 1 && found.lost == 0 && found.duplicated == 0,
            "{found:?}"
        );
        // The row counts in another window than it should.
        let mut held = year();
        held.flights[17].departed = held.flights[17]
            .departed
            .map(|(at, delay)| (at + 12 * HOUR, delay));
        let found = recounted(&year(), &held);
        assert!(found.lost >= 1 && found.duplicated >= 1, "{found:?}");
    }

    #[test]
    fn a_planted_wrong_value_is_found_in_every_column() {
        let mut held = year();
        held.planes[0].engines = Some(4);
        held.weather[0].values[1] = Some(1.0);
        held.flights[3].dest = "SFO".to_owned();
        held.flights[4].hour = 8;
        assert_eq!(recounted(&year(), &held).wrong, 4);
    }
}
