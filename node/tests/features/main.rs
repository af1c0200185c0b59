//! The feature store as a client meets it: a real node, the wire, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod definitions;
mod server;
mod training_sets;

use std::collections::BTreeSet;

use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;
use futures::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Status};

use definitions::{HOUR, NOON, catalog, float, integer, moment, null, push, table, text, winds};
use server::Server;

type Features = FeaturesClient<Channel>;

/// A node with the catalog declared.
async fn ready() -> (Server, Features) {
    let server = Server::start(4);
    let mut features = server.features().await;
    features.apply_catalog(catalog()).await.unwrap();
    (server, features)
}

/// The service `delays` for some airports, as of hours after noon, one for each.
async fn read(features: &mut Features, origins: &[&str], hours: &[i64]) -> v1::GetOnlineFeaturesReply {
    let entities = table([
        ("origin", origins.iter().map(|origin| text(origin)).collect()),
        ("hour", origins.iter().map(|_| integer(12)).collect()),
    ]);
    let request = v1::GetOnlineFeaturesRequest {
        service: "delays".to_owned(),
        entities: Some(entities),
        as_of_micros: hours.iter().map(|hours| NOON + hours * HOUR).collect(),
        consistency: Some(linearizable()),
    };
    features.get_online_features(request).await.unwrap().into_inner()
}

fn linearizable() -> v1::Consistency {
    let kind = v1::consistency::Kind::Linearizable(v1::consistency::Linearizable {});
    v1::Consistency { kind: Some(kind) }
}

fn column<'a>(reply: &'a v1::GetOnlineFeaturesReply, name: &str) -> &'a [v1::Value] {
    let columns = &reply.features.as_ref().unwrap().columns;
    &columns.iter().find(|column| column.name == name).unwrap().values
}

fn statuses(reply: &v1::GetOnlineFeaturesReply, name: &str) -> Vec<v1::FeatureStatus> {
    let columns = &reply.features.as_ref().unwrap().columns;
    let position = columns.iter().position(|column| column.name == name).unwrap();
    reply.statuses[position].statuses().collect()
}

async fn dead_letters(features: &mut Features) -> Vec<v1::DeadLetter> {
    let request = v1::ListDeadLettersRequest {
        view: "weather".to_owned(),
        limit: 0,
    };
    features
        .list_dead_letters(request)
        .await
        .unwrap()
        .into_inner()
        .letters
}

/// The name that programs match on, and the text for people.
fn refusal(status: &Status) -> (&str, &str) {
    (
        status.metadata().get("covey-code").unwrap().to_str().unwrap(),
        status.message(),
    )
}

#[tokio::test]
async fn what_is_written_is_read_with_its_windows_and_statuses() {
    let (_server, mut features) = ready().await;
    let rows = winds(&[("JFK", -2, 2.0), ("JFK", -1, 4.0), ("LGA", -8, 1.0)]);
    let reply = features.push(push("weather", rows)).await.unwrap().into_inner();
    assert_eq!((reply.accepted, reply.refused.len()), (3, 0));

    let reply = read(&mut features, &["JFK", "LGA", "EWR"], &[0]).await;
    assert_eq!(column(&reply, "weather__wind"), [float(4.0), null(), null()]);
    let found = statuses(&reply, "weather__wind");
    use v1::FeatureStatus::{NotFound, Null, OutsideMaxAge, Present};
    assert_eq!(found, [Present, OutsideMaxAge, NotFound]);
    assert_eq!(statuses(&reply, "weather__gust")[0], Null);
    assert_eq!(
        column(&reply, "weather__wind_mean_3h"),
        [float(3.0), null(), null()]
    );
    assert_eq!(
        column(&reply, "weather__wind_count_3h"),
        [integer(2), integer(0), integer(0)]
    );
    assert_eq!(column(&reply, "hour")[0], integer(12));
    assert!(!reply.read_point.unwrap().positions.is_empty());
}

#[tokio::test]
async fn a_push_that_cannot_be_rows_of_the_view_is_refused_as_a_whole_and_changes_nothing() {
    let (_server, mut features) = ready().await;
    let at = || ("event_time", vec![moment(NOON)]);
    let bad = [
        (
            table([("origin", vec![text("JFK")]), at(), ("windy", vec![float(1.0)])]),
            "column `windy`",
        ),
        (table([("origin", vec![text("JFK")]), at()]), "column `wind`"),
        (table([at(), ("wind", vec![float(1.0)])]), "column `origin`"),
        (
            table([("origin", vec![text("JFK")]), ("wind", vec![float(1.0)])]),
            "column `event_time`",
        ),
        (
            table([
                ("origin", vec![text("JFK")]),
                ("event_time", vec![null()]),
                ("wind", vec![float(1.0)]),
            ]),
            "row 0",
        ),
        (
            table([
                ("origin", vec![text("JFK")]),
                at(),
                ("wind", vec![float(f64::NAN)]),
            ]),
            "wind[0]",
        ),
    ];
    for (rows, expected) in bad {
        let status = features.push(push("weather", rows)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let (name, message) = refusal(&status);
        assert!(name == "invalid" && message.contains(expected), "{message}");
    }
    let status = features
        .push(push("wether", winds(&[("JFK", 0, 1.0)])))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(
        statuses(&read(&mut features, &["JFK"], &[0]).await, "weather__wind"),
        [v1::FeatureStatus::NotFound]
    );
    assert!(dead_letters(&mut features).await.is_empty());
}

#[tokio::test]
async fn bad_rows_become_dead_letters_and_the_good_ones_go_in() {
    let (_server, mut features) = ready().await;
    let future = 9_000_000_000_000_000;
    let rows = table([
        ("origin", vec![text("JFK"), text("LGA"), null(), text("EWR")]),
        (
            "event_time",
            vec![moment(NOON), moment(NOON), moment(NOON), moment(future)],
        ),
        ("wind", vec![float(1.0), text("strong"), float(2.0), float(3.0)]),
    ]);
    let reply = features.push(push("weather", rows)).await.unwrap().into_inner();
    assert_eq!(reply.accepted, 1);
    let refused: Vec<(u64, &str)> = reply
        .refused
        .iter()
        .map(|row| (row.row, row.reason.as_str()))
        .collect();
    assert_eq!(refused.iter().map(|(row, _)| *row).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(
        refused[0].1.contains("column `wind` must be float64"),
        "{refused:?}"
    );
    assert!(refused[1].1.contains("join key `origin` is null"), "{refused:?}");
    assert!(refused[2].1.contains("event time"), "{refused:?}");

    let letters = dead_letters(&mut features).await;
    let reasons: BTreeSet<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, refused.iter().map(|(_, reason)| *reason).collect());
    let lga = letters
        .iter()
        .find(|letter| letter.reason.contains("float64"))
        .unwrap();
    let names: Vec<&str> = lga
        .row
        .as_ref()
        .unwrap()
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["origin", "wind", "gust"]);
    let reply = read(&mut features, &["JFK", "LGA"], &[0]).await;
    assert_eq!(column(&reply, "weather__wind"), [float(1.0), null()]);
}

#[tokio::test]
async fn a_row_that_no_entry_can_hold_is_refused_for_good_and_by_its_size() {
    let (_server, mut features) = ready().await;
    let large = "x".repeat(17 << 20);
    let refused = features
        .push(push("weather", winds(&[(&large, 0, 1.0)])))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let code = refused.metadata().get("covey-code").unwrap();
    assert_eq!(code, "limit", "waiting does not help");
    assert!(refused.message().contains("16777216"), "{refused}");
}

#[tokio::test]
async fn a_push_that_is_repeated_counts_once() {
    let (_server, mut features) = ready().await;
    let rows: Vec<(String, i64, f64)> = (0..2_500)
        .map(|n| (format!("A{}", n % 7), -(n % 3), f64::from(n as i32)))
        .collect();
    let rows: Vec<(&str, i64, f64)> = rows
        .iter()
        .map(|(origin, hours, wind)| (origin.as_str(), *hours, *wind))
        .collect();
    let produced = v1::PushRequest {
        producer: "station".to_owned(),
        sequence: 7,
        ..push("weather", winds(&rows))
    };
    let first = features.push(produced.clone()).await.unwrap().into_inner();
    assert_eq!(first.accepted, 2_500);
    let before = read(&mut features, &["A0", "A1"], &[0]).await;
    let again = features.push(produced).await.unwrap().into_inner();
    assert_eq!(again.accepted, 2_500);
    let named = v1::PushRequest {
        request_id: vec![9; 16].into(),
        ..push("weather", winds(&[("JFK", 0, 1.0)]))
    };
    features.push(named.clone()).await.unwrap();
    features.push(named).await.unwrap();

    let after = read(&mut features, &["A0", "A1"], &[0]).await;
    assert_eq!(after.features, before.features);
    let jfk = read(&mut features, &["JFK"], &[0]).await;
    assert_eq!(column(&jfk, "weather__wind_count_3h"), [integer(1)]);
}

#[tokio::test]
async fn a_stream_is_answered_with_its_totals() {
    let (_server, mut features) = ready().await;
    let batch = |wind: f64| push("weather", winds(&[("JFK", 0, wind), ("LGA", 0, wind)]));
    let bad = push(
        "weather",
        table([
            ("origin", vec![null()]),
            ("event_time", vec![moment(NOON)]),
            ("wind", vec![float(0.0)]),
        ]),
    );
    let batches = futures::stream::iter([batch(1.0), batch(2.0), bad, batch(3.0)]);
    let reply = features.push_stream(batches).await.unwrap().into_inner();
    assert_eq!(reply.accepted, 6);
    assert_eq!(reply.refused.iter().map(|row| row.row).collect::<Vec<_>>(), [4]);
    let after = read(&mut features, &["JFK"], &[0]).await;
    assert_eq!(column(&after, "weather__wind_count_3h"), [integer(3)]);
}

#[tokio::test]
async fn a_stream_of_small_messages_faster_than_the_node_keeps_its_connection() {
    let (_server, mut features) = ready().await;
    let batch = push("weather", winds(&[("JFK", 0, 1.0)]));
    let batches = futures::stream::iter(0..2_000).then(move |_| {
        let batch = batch.clone();
        async {
            // Each message leaves in a part of its own.
            tokio::task::yield_now().await;
            batch
        }
    });
    let reply = features.push_stream(batches).await.unwrap().into_inner();
    assert_eq!(reply.accepted, 2_000);
}

#[tokio::test]
async fn a_view_that_grows_keeps_its_rows_and_gives_null_for_what_they_do_not_have() {
    let (_server, mut features) = ready().await;
    features
        .push(push("weather", winds(&[("JFK", 0, 1.0)])))
        .await
        .unwrap();
    let mut grown = definitions::weather();
    grown.columns.push(v1::Column {
        name: "rain".to_owned(),
        data_type: v1::DataType::Float64.into(),
        nullable: true,
        rules: Vec::new(),
    });
    let request = v1::ApplyCatalogRequest {
        views: vec![grown],
        ..Default::default()
    };
    let applied = features
        .apply_catalog(request.clone())
        .await
        .unwrap()
        .into_inner()
        .applied;
    assert_eq!(applied[0].version, 2);
    let again = features
        .apply_catalog(request)
        .await
        .unwrap()
        .into_inner()
        .applied;
    assert_eq!(again[0].version, 2);
    let reply = read(&mut features, &["JFK"], &[0]).await;
    assert_eq!(column(&reply, "weather__wind"), [float(1.0)]);
    assert_eq!(statuses(&reply, "weather__rain"), [v1::FeatureStatus::Null]);
    let declared = features
        .get_catalog(v1::GetCatalogRequest {})
        .await
        .unwrap()
        .into_inner();
    let weather = declared
        .views
        .iter()
        .find(|view| view.definition.as_ref().unwrap().name == "weather")
        .unwrap();
    assert!(weather.active && weather.schema_version == 2);
}
