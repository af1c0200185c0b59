//! What time it is on a node, seen from outside: an item has a row for every few seconds of the run, and a read without a
//! time gives the one that the node's own clock has come to.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;

use super::catalog::{LADDER, LADDER_RUNG};
use crate::client::{column, integer, integer_of, moment, text};
use crate::fleet::Fleet;
use crate::waiting::answered;

/// Seconds between two rows.
const RUNG: i64 = 5;
/// How far beyond the run the rows reach on both sides, in seconds: further than clocks jump.
pub(super) const MARGIN: i64 = 900;
/// How long it may take to write them.
const LIMIT: Duration = Duration::from_secs(60);

/// Writes the rows for a run of this length.
pub(crate) async fn make(fleet: &Fleet, length: Duration) -> Result<()> {
    let end = now()? + i64::try_from(length.as_secs())? + MARGIN;
    let rungs: Vec<i64> = ((now()? - MARGIN) / RUNG..=end / RUNG).collect();
    let rows = v1::Table {
        columns: vec![
            column("item", rungs.iter().map(|_| text(LADDER)).collect()),
            column(
                "event_time",
                rungs.iter().map(|rung| moment(rung * RUNG * 1_000_000)).collect(),
            ),
            column("rung", rungs.iter().map(|rung| integer(*rung)).collect()),
        ],
    };
    let request = v1::PushRequest {
        view: LADDER.to_owned(),
        rows: Some(rows),
        ..v1::PushRequest::default()
    };
    let reply = answered("the rows that tell the time are written", LIMIT, async || {
        Ok(FeaturesClient::new(fleet.channel(1)?)
            .push(request.clone())
            .await?)
    })
    .await?;
    let refused = reply.refused;
    anyhow::ensure!(
        refused.is_empty(),
        "a row that tells the time was refused: {}",
        refused[0].reason
    );
    Ok(())
}

/// By how many seconds a node's clock is ahead of ours, to within the distance of two rows.
pub(crate) async fn clock_ahead(fleet: &Fleet, number: usize) -> Result<i64> {
    let request = v1::GetOnlineFeaturesRequest {
        service: LADDER.to_owned(),
        entities: Some(v1::Table {
            columns: vec![column("item", vec![text(LADDER)])],
        }),
        ..v1::GetOnlineFeaturesRequest::default()
    };
    let reply = FeaturesClient::new(fleet.channel(number)?)
        .get_online_features(request)
        .await?;
    let features = reply.into_inner().features.unwrap_or_default();
    let found = features.columns.iter().find(|column| column.name == LADDER_RUNG);
    let value = found
        .and_then(|column| column.values.first())
        .context("no row tells the time")?;
    let rung = integer_of(value).context("no row tells the time")?;
    Ok(rung * RUNG - now()?)
}

/// The distance of two rows and the time of the read: what a clock may seem to be off.
pub(crate) const PRECISION: i64 = RUNG + 2;

/// Seconds since 1970 by the harness's clock.
fn now() -> Result<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(i64::try_from(since.as_secs())?)
}
