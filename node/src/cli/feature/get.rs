//! `covey feature get`: the vectors of a service, now or as of a moment.

use covey_proto::v1;
use covey_state::Value;
use serde_json::Value as Json;

use super::{Rows, catalog, request_types};
use crate::cli::cell;
use crate::cli::client::Client;
use crate::cli::output::{Listing, Output, remark};
use crate::cli::sheet::{Batch, Sheet, Types};
use crate::cli::trouble::Trouble;

/// Rows of a file that are asked for at once.
pub(in crate::cli) const ROWS_MAX: usize = 1_000;

/// Options of `covey feature get`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Get {
    /// The feature service
    service: String,
    #[command(flatten)]
    rows: Rows,
}

impl Get {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Trouble> {
        let types = request_types(&catalog(client).await?, &self.service);
        let batch = self.rows.read(&types)?;
        let request = v1::GetOnlineFeaturesRequest {
            service: self.service,
            entities: Some(batch.into_wire()),
            as_of_micros: self
                .rows
                .as_of
                .map(covey_state::Timestamp::micros)
                .into_iter()
                .collect(),
            consistency: self.rows.consistency,
        };
        let reply = client
            .features()
            .get_online_features(client.request(request))
            .await?
            .into_inner();
        let columns = cell::columns_of(reply.features.unwrap_or_default())?;
        listing(&columns, &reply.statuses).print(output);
        if let Some(point) = reply.read_point {
            remark(&format!("staleness: {} ms", point.staleness_micros / 1_000));
        }
        Ok(())
    }
}

/// For one row, a feature per line with its status; for several, a row per line.
fn listing(columns: &[(String, Vec<Value>)], statuses: &[v1::FeatureStatuses]) -> Listing {
    let rows = columns.first().map_or(0, |(_, values)| values.len());
    if rows == 1 {
        let mut listing = Listing::new(&["feature", "value", "status"]);
        for (position, (name, values)) in columns.iter().enumerate() {
            let status = statuses
                .get(position)
                .and_then(|of_column| of_column.statuses.first());
            listing.row([
                name.clone().into(),
                cell::to_json(&values[0]),
                status_text(status.copied()),
            ]);
        }
        return listing;
    }
    let mut listing = Listing::with_headers(columns.iter().map(|(name, _)| name.clone()).collect());
    for row in 0..rows {
        listing.row(
            columns
                .iter()
                .map(|(_, values)| values.get(row).map_or(Json::Null, cell::to_json)),
        );
    }
    listing
}

fn status_text(status: Option<i32>) -> Json {
    match status.map(v1::FeatureStatus::try_from) {
        Some(Ok(v1::FeatureStatus::Present)) => "present".into(),
        Some(Ok(v1::FeatureStatus::Null)) => "null".into(),
        Some(Ok(v1::FeatureStatus::NotFound)) => "not found".into(),
        Some(Ok(v1::FeatureStatus::OutsideMaxAge)) => "outside max age".into(),
        Some(Ok(v1::FeatureStatus::Unspecified) | Err(_)) | None => Json::Null,
    }
}

impl Rows {
    /// The rows, typed.
    pub(in crate::cli) fn read(&self, types: &Types) -> Result<Batch, Trouble> {
        if let Some(file) = &self.file {
            let mut sheet = Sheet::open(file, types.clone(), ROWS_MAX)?;
            let batch = sheet.next_batch()?;
            let batch =
                batch.ok_or_else(|| Trouble::refused("the file has no rows", "give a file with some"))?;
            return match sheet.next_batch()? {
                None => Ok(batch),
                Some(_) => Err(Trouble::refused(
                    format!("the file has more than {ROWS_MAX} rows"),
                    "split it, or build a training set with `covey dataset build`",
                )),
            };
        }
        if self.row.is_empty() {
            return Err(Trouble::usage(
                "no rows are given",
                "give --row NAME=VALUE ... or --file FILE",
            ));
        }
        let cell = |(name, text): &(String, String)| vec![cell::of_text(text, types.get(name).copied())];
        let names = self.row.iter().map(|(name, _)| name.clone()).collect();
        Ok(Batch {
            names,
            columns: self.row.iter().map(cell).collect(),
        })
    }
}
