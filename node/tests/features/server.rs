//! A cluster of one node, as a process of its own, for the time of one test.

#[path = "../support/ports.rs"]
mod ports;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::registry_client::RegistryClient;
use tempfile::TempDir;
use tonic::transport::Channel;

/// The running node. It ends with this value, and its data with it.
pub(crate) struct Server {
    process: Child,
    endpoint: String,
    _data: TempDir,
}

impl Server {
    /// Makes a cluster of `groups` data groups and starts its node.
    pub(crate) fn start(groups: u64) -> Self {
        let data = TempDir::new().unwrap();
        let made = covey(data.path())
            .args(["init", "--groups", &groups.to_string()])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (api, peer) = (free_address(), free_address());
        let mut start = covey(data.path());
        start.args(["start", "--api-listen", &api, "--peer-listen", &peer]);
        let mut process = start.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains("ready"));
        assert!(ready.is_some(), "the node ended before it was ready");
        // Nobody reads on, but a full pipe would stop the node.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            process,
            endpoint: format!("http://{api}"),
            _data: data,
        }
    }

    /// A client of the feature store.
    pub(crate) async fn features(&self) -> FeaturesClient<Channel> {
        FeaturesClient::new(self.channel().await)
    }

    /// A client of the registry.
    pub(crate) async fn registry(&self) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel().await)
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(self.endpoint.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn covey(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_covey"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COVEY_")) {
        command.env_remove(name);
    }
    command
        .env("COVEY_DATA_DIR", data.join("node"))
        .env("COVEY_LOG", "info,openraft=warn");
    command
}

fn free_address() -> String {
    format!("127.0.0.1:{}", ports::free_port())
}
