//! The connection of a client verb to a node: channel, deadline, request id, and what errors mean.

use std::time::Duration;

use covey_proto::v1::admin_client::AdminClient;
use covey_proto::v1::cluster_client::ClusterClient;
use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::monitoring_client::MonitoringClient;
use covey_proto::v1::registry_client::RegistryClient;
use covey_proto::v1::serving_client::ServingClient;
use covey_proto::v1::training_client::TrainingClient;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use super::length::Length;
use super::output::Output;
use super::trouble::{Trouble, chain};

/// Metadata that carries the request id; the server's front reads it under the same name.
const REQUEST_ID: &str = "covey-request-id";
/// Metadata that names the user; likewise.
const USER: &str = "covey-user";
/// The largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How long work may take that tells its progress.
const LONG: Duration = Duration::from_secs(6 * 3600);

/// How to reach the cluster and how to print what it says; the same for every client verb.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Access {
    /// Any node of the cluster
    #[arg(
        long,
        global = true,
        env = "COVEY_ENDPOINT",
        default_value = "http://127.0.0.1:7400",
        value_name = "URL"
    )]
    pub(crate) endpoint: String,
    /// How long to wait for an answer
    #[arg(
        long,
        global = true,
        env = "COVEY_TIMEOUT",
        default_value = "30s",
        value_name = "LENGTH"
    )]
    pub(crate) timeout: Length,
    /// Who asks, for the audit trail [default: the name of the account]
    #[arg(long, global = true, env = "COVEY_USER", value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// How to print results
    #[arg(
        long,
        global = true,
        env = "COVEY_OUTPUT",
        value_enum,
        default_value = "table"
    )]
    pub(crate) output: Output,
}

impl Access {
    /// Connects to the endpoint.
    pub(crate) async fn connect(&self) -> Result<Client, Trouble> {
        let account = || std::env::var("USER").ok().filter(|name| !name.is_empty());
        let user = self
            .user
            .clone()
            .or_else(account)
            .unwrap_or_else(|| "cli".to_owned());
        Client::connect(&self.endpoint, self.timeout.duration(), user).await
    }
}

/// A connection. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Channel,
    timeout: Duration,
    user: String,
}

macro_rules! service {
    ($(#[$doc:meta])* $name:ident, $client:ident) => {
        $(#[$doc])*
        pub(crate) fn $name(&self) -> $client<Channel> {
            $client::new(self.channel.clone())
                .max_decoding_message_size(ANSWER_BYTES_MAX)
                .max_encoding_message_size(ANSWER_BYTES_MAX)
        }
    };
}

impl Client {
    /// Connects to a node; `timeout` is for the connection and then for each request.
    pub(crate) async fn connect(endpoint: &str, timeout: Duration, user: String) -> Result<Self, Trouble> {
        let url = if endpoint.contains("://") {
            endpoint.to_owned()
        } else {
            format!("http://{endpoint}")
        };
        let wrong = |error: &dyn std::error::Error| {
            Trouble::usage(
                format!("--endpoint `{endpoint}` is no address: {}", chain(error)),
                "give it as http://HOST:PORT, for instance http://127.0.0.1:7400",
            )
        };
        let target = Endpoint::from_shared(url).map_err(|error| wrong(&error))?;
        let channel = target.connect_timeout(timeout).tcp_nodelay(true).connect().await.map_err(|error| {
            Trouble::unavailable(
                format!("cannot reach {endpoint}: {}", chain(&error)),
                "start a node with `covey start`, or name one that runs with --endpoint or COVEY_ENDPOINT",
            )
        })?;
        Ok(Self {
            channel,
            timeout,
            user,
        })
    }

    /// A request with the deadline, a fresh request id and the user.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        self.prepare(message, self.timeout)
    }

    /// A request for work that tells its progress and may take hours.
    pub(crate) fn long_request<T>(&self, message: T) -> Request<T> {
        self.prepare(message, LONG)
    }

    fn prepare<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        let id = Uuid::new_v4().as_simple().to_string();
        request
            .metadata_mut()
            .insert(REQUEST_ID, id.parse().expect("hexadecimal digits are ASCII"));
        if let Ok(user) = self.user.parse::<MetadataValue<Ascii>>() {
            request.metadata_mut().insert(USER, user);
        }
        request
    }

    /// How long a request may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    service!(
        /// Nodes and groups.
        cluster, ClusterClient
    );
    service!(
        /// The node itself.
        admin, AdminClient
    );
    service!(
        /// The feature store.
        features, FeaturesClient
    );
    service!(
        /// Models and artifacts.
        registry, RegistryClient
    );
    service!(
        /// Jobs.
        training, TrainingClient
    );
    service!(
        /// Deployments and predictions.
        serving, ServingClient
    );
    service!(
        /// Drift, labels and pipelines.
        monitoring, MonitoringClient
    );
}
