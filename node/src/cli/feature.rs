//! `covey feature`: look at the catalog, write rows, read vectors.

mod get;
mod push;
mod show;

use std::path::PathBuf;

use covey_proto::convert::data_type;
use covey_proto::v1;
use covey_state::{Timestamp, Value};
use serde_json::Value as Json;

use super::cell;
use super::client::{Access, Client};
use super::consistency::consistency;
use super::output::{Listing, moment};
use super::trouble::Trouble;

/// Verbs of `covey feature`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Feature {
    /// List the feature views
    #[command(after_help = "Examples:\n  covey feature list\n  covey feature list --output json")]
    List,
    /// Show a view: its columns, conditions and aggregates
    #[command(after_help = "Examples:\n  covey feature show weather")]
    Show {
        /// The view
        view: String,
    },
    /// Write the rows of a file into a view
    #[command(after_help = "Examples:\n  \
        covey feature push weather --file weather.parquet --rename time_hour=event_time\n  \
        covey feature push weather --file today.csv --producer station-7\n  \
        covey feature push planes --file planes.parquet --event-time 2012-01-01\n\n\
        The file holds the join keys, the columns and `event_time`. With --producer, pushing the same file again \
        changes nothing.")]
    Push(push::Push),
    /// Read the features of a service for one entity or several
    #[command(after_help = "Examples:\n  \
        covey feature get flight_delay --entity origin=JFK --entity carrier=UA --entity tailnum=N14228 ...\n  \
        covey feature get flight_delay --file flights.csv --as-of 2013-07-01T12:00:00Z")]
    Get(get::Get),
    /// List rows that were refused, and why
    #[command(after_help = "Examples:\n  covey feature dead-letters weather --limit 20")]
    DeadLetters {
        /// The view
        view: String,
        /// At most this many
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Look at feature services
    #[command(
        subcommand,
        after_help = "Examples:\n  \
            covey feature service list\n  \
            covey feature service show flight_delay"
    )]
    Service(Service),
}

/// Verbs of `covey feature service`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Service {
    /// List the feature services
    #[command(after_help = "Examples:\n  covey feature service list")]
    List,
    /// Show a service: the features of its vectors, in order
    #[command(after_help = "Examples:\n  covey feature service show flight_delay")]
    Show {
        /// The service
        service: String,
    },
    /// Take a service away
    #[command(after_help = "Examples:\n  covey feature service remove flight_delay_plain")]
    Remove {
        /// The service
        service: String,
    },
}

/// Rows given on the command line or in a file.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Rows {
    /// One row as NAME=VALUE pairs
    #[arg(long, visible_alias = "entity", value_name = "NAME=VALUE", num_args = 1.., value_parser = cell::pair)]
    pub(super) row: Vec<(String, String)>,
    /// Rows of a file: .parquet, .csv or .jsonl
    #[arg(long, conflicts_with = "row", value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Read as of this moment instead of now
    #[arg(long, value_name = "TIME", value_parser = cell::moment_option)]
    pub(super) as_of: Option<Timestamp>,
    /// How fresh the features must be: linearizable, local, bounded=LENGTH or at-least=GROUP:INDEX,… [default: local]
    #[arg(long, value_name = "HOW", value_parser = consistency)]
    pub(super) consistency: Option<v1::Consistency>,
}

impl Feature {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        match self {
            Self::List => show::views(&catalog(&client).await?).print(access.output),
            Self::Show { view } => show::view(&catalog(&client).await?, &view, access.output)?,
            Self::Push(push) => return push.run(&client, access.output).await,
            Self::Get(get) => return get.run(&client, access.output).await,
            Self::DeadLetters { view, limit } => {
                let request = client.request(v1::ListDeadLettersRequest { view, limit });
                let reply = client.features().list_dead_letters(request).await?.into_inner();
                dead_letters(reply.letters)?.print(access.output);
            }
            Self::Service(Service::List) => show::services(&catalog(&client).await?).print(access.output),
            Self::Service(Service::Show { service }) => {
                show::service(&catalog(&client).await?, &service)?.print(access.output);
            }
            Self::Service(Service::Remove { service }) => {
                let request = client.request(v1::RemoveServiceRequest { name: service });
                client.features().remove_service(request).await?;
            }
        }
        Ok(())
    }
}

/// The catalog as the cluster holds it.
pub(super) async fn catalog(client: &Client) -> Result<v1::Catalog, Trouble> {
    Ok(client
        .features()
        .get_catalog(client.request(v1::GetCatalogRequest {}))
        .await?
        .into_inner())
}

fn dead_letters(letters: Vec<v1::DeadLetter>) -> Result<Listing, Trouble> {
    let mut listing = Listing::new(&["at", "event time", "reason", "row"]);
    for letter in letters {
        let columns = cell::columns_of(letter.row.unwrap_or_default())?;
        let first = |values: Vec<Value>| values.first().map_or(Json::Null, cell::to_json);
        let row: serde_json::Map<String, Json> = columns
            .into_iter()
            .map(|(name, values)| (name, first(values)))
            .collect();
        listing.row([
            moment(letter.at_micros),
            moment(letter.event_time_micros),
            letter.reason.into(),
            Json::Object(row),
        ]);
    }
    Ok(listing)
}

/// A view of the catalog.
fn find_view<'a>(
    catalog: &'a v1::Catalog,
    name: &str,
) -> Result<(&'a v1::InstalledView, &'a v1::FeatureView), Trouble> {
    let defined = |installed: &'a v1::InstalledView| Some((installed, installed.definition.as_ref()?));
    let found = catalog
        .views
        .iter()
        .filter_map(defined)
        .find(|(_, view)| view.name == name);
    found.ok_or_else(|| {
        Trouble::refused(
            format!("view `{name}` does not exist"),
            "see `covey feature list`",
        )
    })
}

/// The types of all join keys of the catalog, by name.
pub(super) fn join_key_types(catalog: &v1::Catalog) -> super::sheet::Types {
    let keys = catalog.entities.iter().flat_map(|entity| &entity.join_keys);
    keys.filter_map(|key| Some((key.name.clone(), data_type(key.data_type, "data_type").ok()?)))
        .collect()
}

/// The types of what a request to a service carries, by name: join keys and request features.
pub(super) fn request_types(catalog: &v1::Catalog, service: &str) -> super::sheet::Types {
    let mut types = join_key_types(catalog);
    let service = catalog.services.iter().filter(|known| known.name == service);
    for feature in service.flat_map(|service| &service.request) {
        if let Ok(known) = data_type(feature.data_type, "data_type") {
            types.insert(feature.name.clone(), known);
        }
    }
    types
}
