//! `covey predict`: entity keys in, predictions out.

use covey_proto::v1;
use covey_proto::v1::deployment_spec::Target;
use covey_proto::v1::get_version_request::Which;
use covey_state::{DataType, Timestamp, Value};
use serde_json::Value as Json;

use super::cell;
use super::client::{Access, Client};
use super::deploy;
use super::feature::{Rows, catalog, request_types};
use super::model::version_of;
use super::output::{Listing, number, remark};
use super::sheet::{Batch, Sheet, Types};
use super::trouble::Trouble;

/// The column of the answers.
const PREDICTION: &str = "prediction";
/// Rows of a file that are asked for at once.
const ROWS_PER_REQUEST: usize = 1_000;

/// Options of `covey predict`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    covey predict flight-delay --row origin=JFK dest=LAX carrier=UA tailnum=N14228 hour=9 day_of_week=monday distance=2475\n  \
    covey predict flight-delay --file flights.csv --as-of 2013-07-01T12:00:00Z --features --output json\n  \
    covey predict flight-delay --file flights.jsonl --id-column flight_id\n\n\
    A row holds the join keys and the request features of the model's feature service.")]
pub(super) struct Predict {
    /// The deployment
    deployment: String,
    #[command(flatten)]
    rows: Rows,
    /// The rows hold the model's inputs themselves; nothing is read from the store
    #[arg(long)]
    raw: bool,
    /// Also print the features as they were scored
    #[arg(long)]
    features: bool,
    /// The column with the ids under which labels may come later, if the deployment keeps predictions
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
}

impl Predict {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        let mut types = if self.raw {
            Types::new()
        } else {
            self.types(&client).await?
        };
        if let Some(ids) = &self.id_column {
            // Ids are texts, however much they look like numbers.
            types.insert(ids.clone(), DataType::String);
        }
        let Some(file) = &self.rows.file else {
            let batch = self.rows.read(&types)?;
            let mut listing = None;
            self.ask(&client, batch, &mut listing).await?;
            listing.unwrap_or_else(|| Listing::new(&[])).print(access.output);
            return Ok(());
        };
        let mut sheet = Sheet::open(file, types, ROWS_PER_REQUEST)?;
        let mut listing = None;
        while let Some(batch) = sheet.next_batch()? {
            self.ask(&client, batch, &mut listing).await?;
        }
        if listing.is_none() {
            remark("the file has no rows");
        }
        listing
            .unwrap_or_else(|| Listing::with_headers(vec![PREDICTION.to_owned()]))
            .print(access.output);
        Ok(())
    }

    /// The types of what the model's feature service asks for.
    async fn types(&self, client: &Client) -> Result<Types, Trouble> {
        let spec = deploy::find(client, &self.deployment)
            .await?
            .spec
            .unwrap_or_default();
        let which = match spec.target {
            Some(Target::Alias(alias)) => Which::Alias(alias),
            Some(Target::Version(version)) => Which::Number(version),
            None => return Ok(Types::new()),
        };
        let version = version_of(client, &spec.model, which).await?;
        Ok(request_types(
            &catalog(client).await?,
            &version.spec.unwrap_or_default().service,
        ))
    }

    async fn ask(
        &self,
        client: &Client,
        mut batch: Batch,
        listing: &mut Option<Listing>,
    ) -> Result<(), Trouble> {
        let ids = self.ids(&mut batch)?;
        let given = batch.clone();
        let request = v1::PredictRequest {
            deployment: self.deployment.clone(),
            rows: Some(batch.into_wire()),
            raw: self.raw,
            as_of_micros: self.rows.as_of.map(Timestamp::micros).into_iter().collect(),
            ids,
            consistency: self.rows.consistency.clone(),
            return_features: self.features,
        };
        let reply = client
            .serving()
            .predict(client.request(request))
            .await?
            .into_inner();
        if listing.is_none() {
            let point = reply.read_point.clone().unwrap_or_default();
            let staleness = point.staleness_micros / 1_000;
            remark(&format!(
                "model {} version {}, answered by {}, staleness {staleness} ms",
                reply.model, reply.version, reply.node
            ));
        }
        let scored = cell::columns_of(reply.features.unwrap_or_default())?;
        let shown: Vec<(String, Vec<Value>)> = if self.features {
            scored
        } else {
            given.names.into_iter().zip(given.columns).collect()
        };
        let listing = listing.get_or_insert_with(|| Listing::with_headers(vec![PREDICTION.to_owned()]));
        let places: Vec<usize> = shown
            .iter()
            .map(|(name, _)| listing.column(&shown_as(name)))
            .collect();
        for (row, prediction) in reply.predictions.iter().enumerate() {
            let mut cells = vec![Json::Null; listing.width()];
            cells[0] = number(*prediction);
            for (place, (_, values)) in places.iter().zip(&shown) {
                cells[*place] = values.get(row).map_or(Json::Null, cell::to_json);
            }
            listing.row(cells);
        }
        Ok(())
    }

    /// The rows' ids, taken out of the rows.
    fn ids(&self, batch: &mut Batch) -> Result<Vec<String>, Trouble> {
        let Some(column) = &self.id_column else {
            return Ok(Vec::new());
        };
        let values = batch.take(column).ok_or_else(|| {
            Trouble::refused(
                format!("the rows have no column `{column}`"),
                "name the column of ids with --id-column",
            )
        })?;
        Ok(values.iter().map(id_text).collect())
    }
}

/// Under which name a column of the file is shown beside the predictions.
fn shown_as(name: &str) -> String {
    if name == PREDICTION {
        format!("given_{PREDICTION}")
    } else {
        name.to_owned()
    }
}

/// An id as text, whatever type it has in the file.
pub(super) fn id_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
