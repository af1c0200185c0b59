//! Nodes of the built binary on loopback, each with a folder and two ports of its own, and their clients.

#[path = "../support/ports.rs"]
mod ports;

use std::fs::File;
use std::future::Future;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use covey_proto::v1::cluster_client::ClusterClient;
use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::monitoring_client::MonitoringClient;
use covey_proto::v1::registry_client::RegistryClient;
use covey_proto::v1::serving_client::ServingClient;
use covey_proto::v1::training_client::TrainingClient;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running cluster. Dropping it ends its nodes.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
    dir: TempDir,
    /// What goes wrong in which node, in the words of the crate `fail`.
    faults: (usize, &'static str),
}

/// One node.
struct Node {
    child: Option<Child>,
    api: u16,
}

impl Cluster {
    /// A cluster of that many nodes, all of them answering.
    pub(crate) async fn start(count: usize) -> Self {
        Self::start_with_faults(count, (0, "")).await
    }

    /// A cluster in one of whose nodes these faults happen, for instance `serving::score=1*panic`.
    pub(crate) async fn start_with_faults(count: usize, faults: (usize, &'static str)) -> Self {
        let dir = TempDir::with_prefix("covey-serving-").unwrap();
        let mut cluster = Self {
            nodes: Vec::new(),
            dir,
            faults,
        };
        let mut first_peer = 0;
        for number in 0..count {
            let (api, peer) = (ports::free_port(), ports::free_port());
            if number == 0 {
                first_peer = peer;
                let made = cluster
                    .command("init", number)
                    .args(["--groups", "4"])
                    .status()
                    .await
                    .unwrap();
                assert!(made.success());
            }
            let mut command = cluster.command("start", number);
            command.args(["--api-listen", &format!("127.0.0.1:{api}")]);
            command.args(["--peer-listen", &format!("127.0.0.1:{peer}")]);
            if number > 0 {
                command.args(["--join", &format!("127.0.0.1:{first_peer}")]);
            }
            let child = Some(command.spawn().unwrap());
            cluster.nodes.push(Node { child, api });
            cluster.answers(number).await;
        }
        cluster.is_settled(count).await;
        cluster
    }

    /// Ends a node at once, as a power cut would.
    pub(crate) async fn kill(&mut self, number: usize) {
        self.nodes[number].child.take().unwrap().kill().await.unwrap();
    }

    pub(crate) fn serving(&self, node: usize) -> ServingClient<Channel> {
        ServingClient::new(self.channel(node))
    }

    pub(crate) fn features(&self, node: usize) -> FeaturesClient<Channel> {
        FeaturesClient::new(self.channel(node))
    }

    pub(crate) fn monitoring(&self, node: usize) -> MonitoringClient<Channel> {
        MonitoringClient::new(self.channel(node))
    }

    pub(crate) fn training(&self, node: usize) -> TrainingClient<Channel> {
        TrainingClient::new(self.channel(node))
    }

    pub(crate) fn registry(&self, node: usize) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel(node))
    }

    fn channel(&self, node: usize) -> Channel {
        Endpoint::from_shared(format!("http://127.0.0.1:{}", self.nodes[node].api))
            .unwrap()
            .connect_lazy()
    }

    fn command(&self, verb: &str, number: usize) -> Command {
        let folder: PathBuf = self.dir.path().join(format!("node-{}", number + 1));
        let log = File::options()
            .create(true)
            .append(true)
            .open(folder.with_extension("log"))
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_covey"));
        command.arg(verb).arg("--data-dir").arg(folder).kill_on_drop(true);
        if number == self.faults.0 {
            command.env("FAILPOINTS", self.faults.1);
        }
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    async fn answers(&self, node: usize) {
        let client = ClusterClient::new(self.channel(node));
        until("a node to answer", async || {
            client
                .clone()
                .get_status(covey_proto::v1::GetStatusRequest {})
                .await
                .ok()
        })
        .await;
    }

    /// Waits until the groups are where they should be, so that what follows is not about joining.
    async fn is_settled(&self, count: usize) {
        let client = ClusterClient::new(self.channel(0));
        until("the groups to settle", async || {
            let status = client
                .clone()
                .get_status(covey_proto::v1::GetStatusRequest {})
                .await
                .ok()?
                .into_inner();
            let settled = status.groups_moving == 0 && status.groups_without_leader == 0;
            (settled && status.nodes.len() == count).then_some(())
        })
        .await;
    }
}

impl Drop for Cluster {
    /// When a test fails its nodes' last words are worth reading.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for number in 1..=self.nodes.len() {
            let log = self.dir.path().join(format!("node-{number}.log"));
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            println!(
                "--- node {number}\n{}",
                lines[lines.len().saturating_sub(40)..].join("\n")
            );
        }
    }
}

/// Looks again and again until there is something, or panics.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            looks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    });
    found
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
