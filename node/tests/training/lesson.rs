//! Something to learn: trips whose lateness follows from the wind, as a training set on a cluster.

use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::registry_client::RegistryClient;
use covey_proto::v1::training_client::TrainingClient;
use covey_proto::v1::value::Kind;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::nodes::{Nodes, until};

const DAY: i64 = 86_400_000_000;
const BEGIN: i64 = 20_000 * DAY;
/// Trips in the training set: enough for several partitions and for steps that take a while.
const TRIPS: i64 = 40_000;
const PUSH_ROWS: i64 = 5_000;
const MODEL: &str = "lateness";

/// The cluster as one node sees it.
pub(crate) struct Lesson {
    channel: Channel,
}

impl Lesson {
    /// Declares the catalog, pushes the trips and builds the training set.
    pub(crate) async fn prepare(nodes: &Nodes, position: usize) -> Self {
        let lesson = Self::through(nodes, position);
        let mut features = lesson.features();
        features.apply_catalog(catalog()).await.unwrap();
        for from in (0..TRIPS).step_by(usize::try_from(PUSH_ROWS).unwrap()) {
            let request = v1::PushRequest {
                view: "trips".to_owned(),
                rows: Some(trips(from..from + PUSH_ROWS)),
                producer: "trips".to_owned(),
                sequence: u64::try_from(from / PUSH_ROWS + 1).unwrap(),
                request_id: Vec::new().into(),
            };
            let reply = features.push(request).await.unwrap().into_inner();
            assert_eq!(
                reply.accepted,
                u64::try_from(PUSH_ROWS).unwrap(),
                "{:?}",
                reply.refused.first()
            );
        }
        let spine = v1::spine::ViewSpine {
            view: "trips".to_owned(),
            timestamp: String::new(),
            from_micros: BEGIN,
            until_micros: BEGIN + 400 * DAY,
        };
        let spec = v1::DatasetSpec {
            name: "trips".to_owned(),
            service: "wind_only".to_owned(),
            spine: Some(v1::Spine {
                kind: Some(v1::spine::Kind::View(spine)),
            }),
            label: "late".to_owned(),
        };
        let mut progress = features
            .build_dataset(v1::BuildDatasetRequest { spec: Some(spec) })
            .await
            .unwrap()
            .into_inner();
        let mut manifest = None;
        while let Some(step) = progress.message().await.unwrap() {
            manifest = step.manifest.or(manifest);
        }
        let manifest = manifest.expect("a manifest");
        assert_eq!(manifest.rows, u64::try_from(TRIPS).unwrap());
        assert!(manifest.partitions.len() > 1, "one partition would show nothing");
        lesson
    }

    /// The same through another node.
    pub(crate) fn through(nodes: &Nodes, position: usize) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", nodes.node(position).api())).unwrap();
        Self {
            channel: endpoint.connect_lazy(),
        }
    }

    fn features(&self) -> FeaturesClient<Channel> {
        FeaturesClient::new(self.channel.clone())
    }

    fn registry(&self) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel.clone())
    }

    fn training(&self) -> TrainingClient<Channel> {
        TrainingClient::new(self.channel.clone())
    }

    /// Trains and gives the digest of the model.
    pub(crate) async fn train(&self, id: &str, algorithm: &str) -> String {
        self.submit(id, algorithm).await;
        self.finished(id).await
    }

    /// Submits a job.
    pub(crate) async fn submit(&self, id: &str, algorithm: &str) {
        self.try_submit(id, |spec| spec.algorithm = algorithm.to_owned())
            .await
            .unwrap();
    }

    /// Submits a job after `change`.
    pub(crate) async fn try_submit(
        &self,
        id: &str,
        change: impl FnOnce(&mut v1::JobSpec),
    ) -> Result<v1::Job, Status> {
        let mut spec = v1::JobSpec {
            dataset: "trips".to_owned(),
            algorithm: "logistic_regression".to_owned(),
            seed: 7,
            model: MODEL.to_owned(),
            ..v1::JobSpec::default()
        };
        change(&mut spec);
        let request = v1::SubmitJobRequest {
            id: id.to_owned(),
            spec: Some(spec),
        };
        self.training()
            .submit_job(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Submits a job without a name under a request id of the caller's.
    pub(crate) async fn submit_as(&self, request_id: &str) -> v1::Job {
        let spec = v1::JobSpec {
            dataset: "trips".to_owned(),
            algorithm: "logistic_regression".to_owned(),
            model: MODEL.to_owned(),
            ..v1::JobSpec::default()
        };
        let request = v1::SubmitJobRequest {
            id: String::new(),
            spec: Some(spec),
        };
        let submitted = self.training().submit_job(named(request, request_id)).await;
        submitted.unwrap().into_inner()
    }

    /// Makes the model, as the first part of such a submission does.
    pub(crate) async fn create_model(&self, request_id: &str) {
        let request = v1::CreateModelRequest {
            name: MODEL.to_owned(),
            ..v1::CreateModelRequest::default()
        };
        self.registry()
            .create_model(named(request, request_id))
            .await
            .unwrap();
    }

    /// Waits until the job has succeeded and gives the digest of its model.
    pub(crate) async fn finished(&self, id: &str) -> String {
        let job = until(&format!("job {id} is final"), || async {
            let is_final =
                |job: &v1::Job| !matches!(job.state(), v1::JobState::Pending | v1::JobState::Running);
            self.job(id).await.filter(is_final)
        })
        .await;
        assert_eq!(job.state(), v1::JobState::Succeeded, "{}", job.reason);
        let version = self.version(job.version).await;
        version.spec.expect("a specification").artifacts.remove(0).sha256
    }

    /// A job, if it is there and the cluster answers.
    pub(crate) async fn job(&self, id: &str) -> Option<v1::Job> {
        let request = v1::GetJobRequest { id: id.to_owned() };
        self.training()
            .get_job(request)
            .await
            .ok()
            .map(tonic::Response::into_inner)
    }

    /// A version of the model.
    pub(crate) async fn version(&self, number: u64) -> v1::ModelVersion {
        let which = Some(v1::get_version_request::Which::Number(number));
        let request = v1::GetVersionRequest {
            model: MODEL.to_owned(),
            which,
        };
        self.registry().get_version(request).await.unwrap().into_inner()
    }

    /// How many versions the model has.
    pub(crate) async fn versions(&self) -> usize {
        let request = v1::ListVersionsRequest {
            model: MODEL.to_owned(),
        };
        self.registry()
            .list_versions(request)
            .await
            .unwrap()
            .into_inner()
            .versions
            .len()
    }

    /// Registers a version.
    pub(crate) async fn create_version(&self, spec: v1::VersionSpec) -> Result<v1::ModelVersion, Status> {
        let request = v1::CreateVersionRequest {
            model: MODEL.to_owned(),
            spec: Some(spec),
        };
        self.registry()
            .create_version(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Moves the alias `champion`.
    pub(crate) async fn set_alias(&self, version: u64, expected: Option<u64>) -> Result<(), Status> {
        let (model, alias) = (MODEL.to_owned(), "champion".to_owned());
        let request = v1::SetAliasRequest {
            model,
            alias,
            version,
            expected,
            reason: "a test".to_owned(),
        };
        self.registry().set_alias(request).await.map(|_| ())
    }

    /// Every move of the alias `champion`; with a time, the one in force then.
    pub(crate) async fn alias_history(&self, at_micros: Option<i64>) -> Vec<v1::AliasMove> {
        let request = v1::AliasHistoryRequest {
            model: MODEL.to_owned(),
            alias: "champion".to_owned(),
            at_micros,
        };
        self.registry()
            .alias_history(request)
            .await
            .unwrap()
            .into_inner()
            .moves
    }

    /// A file of the registry.
    pub(crate) async fn download(&self, artifact: v1::Artifact) -> Vec<u8> {
        let request = v1::DownloadArtifactRequest {
            artifact: Some(artifact),
        };
        let mut parts = self
            .registry()
            .download_artifact(request)
            .await
            .unwrap()
            .into_inner();
        let mut whole = Vec::new();
        while let Some(part) = parts.message().await.unwrap() {
            whole.extend_from_slice(&part.data);
        }
        whole
    }
}

fn catalog() -> v1::ApplyCatalogRequest {
    let column = |name: &str, data_type: v1::DataType| v1::Column {
        name: name.to_owned(),
        data_type: data_type.into(),
        nullable: false,
        rules: Vec::new(),
    };
    let trip = v1::JoinKey {
        name: "trip".to_owned(),
        data_type: v1::DataType::Int64.into(),
    };
    let view = v1::FeatureView {
        name: "trips".to_owned(),
        entity: "trip".to_owned(),
        columns: vec![
            column("wind", v1::DataType::Float64),
            column("airport", v1::DataType::String),
            column("late", v1::DataType::Bool),
        ],
        ..v1::FeatureView::default()
    };
    let selection = v1::ViewSelection {
        view: "trips".to_owned(),
        features: vec!["wind".to_owned(), "airport".to_owned()],
    };
    v1::ApplyCatalogRequest {
        entities: vec![v1::Entity {
            name: "trip".to_owned(),
            description: String::new(),
            join_keys: vec![trip],
            namespace: String::new(),
        }],
        views: vec![view],
        services: vec![v1::FeatureService {
            name: "wind_only".to_owned(),
            description: String::new(),
            views: vec![selection],
            request: Vec::new(),
        }],
    }
}

fn trips(numbers: std::ops::Range<i64>) -> v1::Table {
    // The fractional parts of multiples of an irrational number are spread evenly.
    let spread = |number: i64, factor: f64| (number as f64 * factor).fract();
    let wind = |number: i64| spread(number, 0.618_033_988) * 10.0;
    let late = |number: i64| wind(number) + spread(number, 0.754_877_666) * 6.0 > 8.0;
    let airport = |number: i64| ["EWR", "JFK", "LGA"][usize::try_from(number % 3).unwrap()].to_owned();
    let column = |name: &str, kind: &dyn Fn(i64) -> Kind| v1::TableColumn {
        name: name.to_owned(),
        values: numbers
            .clone()
            .map(|number| v1::Value {
                kind: Some(kind(number)),
            })
            .collect(),
    };
    v1::Table {
        columns: vec![
            column("trip", &Kind::Int64Value),
            column("event_time", &|number| {
                Kind::TimestampMicros(BEGIN + number * (DAY / 200))
            }),
            column("wind", &|number| Kind::Float64Value(wind(number))),
            column("airport", &|number| Kind::StringValue(airport(number))),
            column("late", &|number| Kind::BoolValue(late(number))),
        ],
    }
}

/// A request under an id of its own.
fn named<T>(message: T, request_id: &str) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request
        .metadata_mut()
        .insert("covey-request-id", request_id.parse().unwrap());
    request
}
