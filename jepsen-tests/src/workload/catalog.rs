//! The entity, the views and the services of all workloads.

use std::time::Duration;

use anyhow::Result;
use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;

use crate::fleet::Fleet;
use crate::waiting::answered;

/// How long the catalog may take to be usable everywhere.
const LIMIT: Duration = Duration::from_secs(60);
/// The window of the view that counts.
const WINDOW_MICROS: i64 = 3 * 3_600_000_000;

/// The view of single values, and its service.
pub(crate) const CELLS: &str = "cell";
/// The feature of the service `cell`.
pub(super) const CELL_VALUE: &str = "cell__value";
/// The view of accounts, and its service.
pub(super) const ACCOUNTS: &str = "account";
/// Features of the service `account`.
pub(super) const ACCOUNT_BALANCE: &str = "account__balance";
/// Likewise.
pub(super) const ACCOUNT_STEP: &str = "account__step";
/// The view of things that are counted, and its service.
pub(crate) const COUNTED: &str = "counted";
/// Features of the service `counted`.
pub(super) const COUNTED_COUNT: &str = "counted__size_count_3h";
/// Likewise.
pub(super) const COUNTED_SUM: &str = "counted__size_sum_3h";

/// The view of the rows that tell the time, and its service and only item.
pub(super) const LADDER: &str = "ladder";
/// The feature of the service `ladder`: the last row up to the time of the read. The column itself would be that of the
/// newest row, whatever the time.
pub(super) const LADDER_RUNG: &str = "ladder__rung_last_5m";
/// The window of it.
const LADDER_WINDOW_MICROS: i64 = 300_000_000;
/// How far in the future those rows may be: a day.
const LADDER_TOLERANCE_MICROS: i64 = 86_400_000_000;

/// Declares them and waits until every node takes rows of each view.
pub(crate) async fn declare(fleet: &Fleet) -> Result<()> {
    let request = catalog();
    answered("the catalog is declared", LIMIT, async || {
        let mut features = FeaturesClient::new(fleet.channel(1)?);
        Ok(features.apply_catalog(request.clone()).await?)
    })
    .await?;
    for number in 1..=fleet.size() {
        for view in [CELLS, ACCOUNTS, COUNTED, LADDER] {
            let what = format!("view `{view}` is usable on node {number}");
            answered(&what, LIMIT, async || {
                let mut features = FeaturesClient::new(fleet.channel(number)?);
                let empty = v1::PushRequest {
                    view: view.to_owned(),
                    rows: Some(no_rows(view)),
                    ..v1::PushRequest::default()
                };
                Ok(features.push(empty).await?)
            })
            .await?;
        }
    }
    Ok(())
}

/// Columns without rows: the view must be known and active to take them.
fn no_rows(view: &str) -> v1::Table {
    let values: &[&str] = match view {
        CELLS => &["value"],
        ACCOUNTS => &["balance", "step"],
        LADDER => &["rung"],
        _ => &["size"],
    };
    let names = ["item", "event_time"].iter().chain(values);
    let columns = names.map(|name| crate::client::column(name, Vec::new()));
    v1::Table {
        columns: columns.collect(),
    }
}

fn catalog() -> v1::ApplyCatalogRequest {
    let join_key = v1::JoinKey {
        name: "item".to_owned(),
        data_type: v1::DataType::String.into(),
    };
    let item = v1::Entity {
        name: "item".to_owned(),
        join_keys: vec![join_key],
        ..v1::Entity::default()
    };
    let aggregate = |function: v1::AggregateFunction| v1::Aggregate {
        column: "size".to_owned(),
        function: function.into(),
        window_micros: WINDOW_MICROS,
    };
    let count_and_sum = vec![
        aggregate(v1::AggregateFunction::Count),
        aggregate(v1::AggregateFunction::Sum),
    ];
    let last_rung = v1::Aggregate {
        column: "rung".to_owned(),
        function: v1::AggregateFunction::Last.into(),
        window_micros: LADDER_WINDOW_MICROS,
    };
    v1::ApplyCatalogRequest {
        entities: vec![item],
        views: vec![
            view(CELLS, &["value"], Vec::new()),
            view(ACCOUNTS, &["balance", "step"], Vec::new()),
            view(COUNTED, &["size"], count_and_sum),
            v1::FeatureView {
                future_tolerance_micros: LADDER_TOLERANCE_MICROS,
                ..view(LADDER, &["rung"], vec![last_rung])
            },
        ],
        services: [CELLS, ACCOUNTS, COUNTED, LADDER].map(service).to_vec(),
    }
}

fn view(name: &str, columns: &[&str], aggregates: Vec<v1::Aggregate>) -> v1::FeatureView {
    let column = |name: &&str| v1::Column {
        name: (*name).to_owned(),
        data_type: v1::DataType::Int64.into(),
        ..v1::Column::default()
    };
    v1::FeatureView {
        name: name.to_owned(),
        entity: "item".to_owned(),
        columns: columns.iter().map(column).collect(),
        aggregates,
        ..v1::FeatureView::default()
    }
}

/// The service of the same name as its view, with all that the view has.
fn service(name: &str) -> v1::FeatureService {
    let selection = v1::ViewSelection {
        view: name.to_owned(),
        features: Vec::new(),
    };
    v1::FeatureService {
        name: name.to_owned(),
        views: vec![selection],
        ..v1::FeatureService::default()
    }
}
