//! A small world to learn: trips whose lateness follows from the wind, with its view, service, training set and model.

use covey_proto::v1;
use covey_proto::v1::value::Kind;

use crate::cluster::{Cluster, until};

/// A day, in microseconds.
pub(crate) const DAY: i64 = 86_400_000_000;
/// When the trips begin.
pub(crate) const BEGIN: i64 = 20_000 * DAY;
/// Trips per day.
pub(crate) const TRIPS_PER_DAY: i64 = 200;

/// One trip.
#[derive(Debug, Clone)]
pub(crate) struct Trip {
    pub(crate) id: String,
    pub(crate) at: i64,
    pub(crate) wind: f64,
    pub(crate) origin: &'static str,
    pub(crate) late: bool,
}

/// The trips of some days; `shift` moves the wind.
pub(crate) fn trips(days: std::ops::Range<i64>, shift: f64) -> Vec<Trip> {
    let numbers = days.start * TRIPS_PER_DAY..days.end * TRIPS_PER_DAY;
    numbers.map(|number| trip(number, shift)).collect()
}

fn trip(number: i64, shift: f64) -> Trip {
    // The fractional parts of multiples of an irrational number are spread evenly.
    let spread = |factor: f64| (number as f64 * factor).fract();
    let wind = spread(0.618_033_988) * 10.0 + shift;
    let noise = spread(0.754_877_666) * 6.0 - 3.0;
    Trip {
        id: format!("trip-{number}"),
        at: BEGIN + number * (DAY / TRIPS_PER_DAY),
        wind,
        origin: ["EWR", "JFK", "LGA"][usize::try_from(number % 3).unwrap()],
        late: wind + noise > 5.0 + shift,
    }
}

/// A column of a table.
pub(crate) fn column<T>(name: &str, items: &[T], value: impl Fn(&T) -> Kind) -> v1::TableColumn {
    let values = items
        .iter()
        .map(|item| v1::Value {
            kind: Some(value(item)),
        })
        .collect();
    v1::TableColumn {
        name: name.to_owned(),
        values,
    }
}

/// The join keys of trips.
pub(crate) fn keys(trips: &[Trip]) -> v1::Table {
    v1::Table {
        columns: vec![column("trip", trips, |trip| Kind::StringValue(trip.id.clone()))],
    }
}

/// The model's inputs for trips.
pub(crate) fn inputs(trips: &[Trip]) -> v1::Table {
    let wind = column("trips__wind", trips, |trip| Kind::Float64Value(trip.wind));
    let origin = column("trips__origin", trips, |trip| {
        Kind::StringValue(trip.origin.to_owned())
    });
    v1::Table {
        columns: vec![wind, origin],
    }
}

/// Declares the catalog.
pub(crate) async fn declare(cluster: &Cluster) {
    let column = |name: &str, data_type: v1::DataType| v1::Column {
        name: name.to_owned(),
        data_type: data_type.into(),
        ..v1::Column::default()
    };
    let entity = v1::Entity {
        name: "trip".to_owned(),
        description: String::new(),
        join_keys: vec![v1::JoinKey {
            name: "trip".to_owned(),
            data_type: v1::DataType::String.into(),
        }],
        namespace: String::new(),
    };
    let view = v1::FeatureView {
        name: "trips".to_owned(),
        entity: "trip".to_owned(),
        columns: vec![
            column("wind", v1::DataType::Float64),
            column("origin", v1::DataType::String),
            column("late", v1::DataType::Int64),
        ],
        ..v1::FeatureView::default()
    };
    let selection = v1::ViewSelection {
        view: "trips".to_owned(),
        features: vec!["wind".to_owned(), "origin".to_owned()],
    };
    let service = v1::FeatureService {
        name: "delay".to_owned(),
        views: vec![selection],
        ..v1::FeatureService::default()
    };
    let request = v1::ApplyCatalogRequest {
        entities: vec![entity],
        views: vec![view],
        services: vec![service],
    };
    cluster.features(0).apply_catalog(request).await.unwrap();
}

/// Pushes trips as rows of the view.
pub(crate) async fn push(cluster: &Cluster, trips: &[Trip]) {
    let mut rows = keys(trips);
    rows.columns.extend([
        column("wind", trips, |trip| Kind::Float64Value(trip.wind)),
        column("origin", trips, |trip| Kind::StringValue(trip.origin.to_owned())),
        column("late", trips, |trip| Kind::Int64Value(i64::from(trip.late))),
        column("event_time", trips, |trip| Kind::TimestampMicros(trip.at)),
    ]);
    let request = v1::PushRequest {
        view: "trips".to_owned(),
        rows: Some(rows),
        ..v1::PushRequest::default()
    };
    let reply = until("the view to take rows", async || {
        cluster.features(0).push(request.clone()).await.ok()
    })
    .await;
    let reply = reply.into_inner();
    assert_eq!((reply.accepted, reply.refused), (trips.len() as u64, Vec::new()));
}

/// Builds the training set over the first days.
pub(crate) async fn build(cluster: &Cluster, days: i64) {
    let view = v1::spine::ViewSpine {
        view: "trips".to_owned(),
        timestamp: String::new(),
        from_micros: BEGIN,
        until_micros: BEGIN + days * DAY,
    };
    let spec = v1::DatasetSpec {
        name: "history".to_owned(),
        service: "delay".to_owned(),
        spine: Some(v1::Spine {
            kind: Some(v1::spine::Kind::View(view)),
        }),
        label: "late".to_owned(),
    };
    let request = v1::BuildDatasetRequest { spec: Some(spec) };
    let mut progress = cluster
        .features(0)
        .build_dataset(request)
        .await
        .unwrap()
        .into_inner();
    let mut manifest = None;
    while let Some(message) = progress.message().await.unwrap() {
        manifest = message.manifest.or(manifest);
    }
    assert_eq!(
        manifest.expect("the last message has it").rows,
        (days * TRIPS_PER_DAY).cast_unsigned()
    );
}

/// Trains a version on the newest set; gives its number.
pub(crate) async fn train(cluster: &Cluster, job: &str, c: f64, alias: &str) -> u64 {
    train_model(cluster, "delay", job, (c, alias)).await
}

/// Trains a version of that model on the newest set; gives its number.
pub(crate) async fn train_model(cluster: &Cluster, model: &str, job: &str, (c, alias): (f64, &str)) -> u64 {
    let spec = v1::JobSpec {
        dataset: "history".to_owned(),
        algorithm: "logistic_regression".to_owned(),
        parameters: [("c".to_owned(), c)].into(),
        model: model.to_owned(),
        alias: alias.to_owned(),
        ..v1::JobSpec::default()
    };
    let request = v1::SubmitJobRequest {
        id: job.to_owned(),
        spec: Some(spec),
    };
    cluster.training(0).submit_job(request).await.unwrap();
    let get = v1::GetJobRequest { id: job.to_owned() };
    let done = until("the job to end", async || {
        let job = cluster.training(0).get_job(get.clone()).await.ok()?.into_inner();
        let open = [v1::JobState::Pending, v1::JobState::Running].contains(&job.state());
        (!open).then_some(job)
    })
    .await;
    assert_eq!(done.state(), v1::JobState::Succeeded, "{}", done.reason);
    done.version
}

/// Declares a deployment of the alias `champion` and waits until all its replicas are ready with `version`.
pub(crate) async fn deploy(cluster: &Cluster, name: &str, (replicas, version): (u32, u64)) {
    deploy_model(cluster, name, "delay", (replicas, version)).await;
}

/// Deploys the alias `champion` of that model and waits until all its replicas are ready with `version`.
pub(crate) async fn deploy_model(
    cluster: &Cluster,
    name: &str,
    model: &str,
    (replicas, version): (u32, u64),
) {
    let spec = v1::DeploymentSpec {
        name: name.to_owned(),
        model: model.to_owned(),
        target: Some(v1::deployment_spec::Target::Alias("champion".to_owned())),
        replicas,
        queue_limit: 0,
        log_predictions: true,
    };
    let request = v1::ApplyDeploymentRequest { spec: Some(spec) };
    cluster.serving(0).apply_deployment(request).await.unwrap();
    ready(cluster, name, (replicas as usize, version)).await;
}

/// Waits until that many replicas serve that version.
pub(crate) async fn ready(cluster: &Cluster, name: &str, (replicas, version): (usize, u64)) {
    until("the replicas to be ready", async || {
        let request = v1::ListDeploymentsRequest {
            name: name.to_owned(),
        };
        let listed = cluster
            .serving(0)
            .list_deployments(request)
            .await
            .ok()?
            .into_inner();
        let all = &listed.deployments.first()?.replicas;
        let good = all
            .iter()
            .filter(|replica| replica.state == "ready" && replica.version == version);
        (all.len() == replicas && good.count() == replicas).then_some(())
    })
    .await;
}
