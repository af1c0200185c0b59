//! Real node processes on loopback for tests: started from the built binary, waited for, killed when dropped.
//!
//! Include it with `#[path = "support/nodes.rs"] mod nodes;`.

#![allow(dead_code, reason = "every test uses its own part")]

#[path = "ports.rs"]
mod ports;

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tonic::transport::{Channel, Endpoint};

/// How long any condition may take to come true, on a slow and busy machine.
const LIMIT: Duration = Duration::from_secs(90);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long one question to a node may take.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// What nodes log: with the proposals that peers forward to them.
const LOG_FILTER: &str = "info,covey_cluster::service::exchange=debug,openraft=warn";

/// One node's process, or the directory of one that does not run.
pub(crate) struct Node {
    dir: PathBuf,
    api: String,
    peer: String,
    options: Vec<String>,
    child: Option<Child>,
    /// Further arguments of `start` and `init`.
    arguments: Vec<String>,
    /// What goes wrong in it, in the words of the crate `fail`.
    faults: String,
}

impl Node {
    /// A node in its own directory under `root`, on two free ports.
    pub(crate) fn new(root: &Path, number: usize) -> Self {
        let dir = root.join(format!("node-{number}"));
        Self {
            dir,
            api: free_address(),
            peer: free_address(),
            options: Vec::new(),
            child: None,
            arguments: Vec::new(),
            faults: String::new(),
        }
    }

    /// The same node, started with further arguments.
    pub(crate) fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// What goes wrong in it from the next start on, for instance `move::admitted=1*return`.
    pub(crate) fn break_at(&mut self, faults: &str) {
        self.faults = faults.to_owned();
    }

    /// Where it listens for peers.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// The process, if it was started.
    pub(crate) fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process has been started and has not ended by itself.
    pub(crate) fn runs(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Where clients reach it.
    pub(crate) fn api(&self) -> &str {
        &self.api
    }

    /// Its data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// `covey SUBCOMMAND` for this node.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_covey"));
        command.arg(subcommand).arg("--data-dir").arg(&self.dir);
        if subcommand == "start" {
            command
                .args(["--api-listen", &self.api, "--peer-listen", &self.peer])
                .args(&self.arguments);
        }
        command.env("FAILPOINTS", &self.faults).stdin(Stdio::null());
        command
    }

    /// Makes a new cluster of which this is the first node.
    pub(crate) fn init(&self, groups: u64) {
        self.init_with(groups, 3);
    }

    /// The same with another replication factor.
    pub(crate) fn init_with(&self, groups: u64, factor: u32) {
        let output = self
            .command("init")
            .args([
                "--groups",
                &groups.to_string(),
                "--replication-factor",
                &factor.to_string(),
            ])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "init: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// Settings that the node starts with besides the usual ones, as options.
    pub(crate) fn settle_on(&mut self, options: &[&str]) {
        self.options = options.iter().map(|option| (*option).to_owned()).collect();
    }

    /// Starts the process; with an address, it joins the cluster of the node there.
    pub(crate) fn start(&mut self, join: Option<&str>) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut command = self.command("start");
        command.args(["--log-filter", LOG_FILTER]).args(&self.options);
        if let Some(address) = join {
            command.args(["--join", address]);
        }
        let child = command
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Kills the process as a power cut would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks the process to stop, waits for it, and tells whether it ended well.
    pub(crate) async fn stop(&mut self) -> bool {
        let mut child = self.child.take().expect("a node that runs");
        let killed = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        until("the node stops", || std::future::ready(child.try_wait().unwrap()))
            .await
            .success()
    }

    /// Waits until the process has ended by itself, and tells whether it ended well.
    pub(crate) async fn ended(&mut self) -> bool {
        let mut child = self.child.take().expect("a node that runs");
        until("the node ends", || std::future::ready(child.try_wait().unwrap()))
            .await
            .success()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A channel to its clients' port; it connects when it is used.
    pub(crate) fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.api)).unwrap();
        endpoint
            .connect_timeout(ASK_LIMIT)
            .timeout(ASK_LIMIT)
            .connect_lazy()
    }

    /// The cluster as this node sees it, if it answers.
    pub(crate) async fn status(&self) -> Option<v1::ClusterStatus> {
        let mut client = ClusterClient::new(self.channel());
        let asked = timeout(ASK_LIMIT, client.get_status(v1::GetStatusRequest {})).await;
        asked.ok()?.ok().map(tonic::Response::into_inner)
    }

    fn log_path(&self) -> PathBuf {
        self.dir.with_extension("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; either way nothing is left running.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}", self.dir.display(), self.log());
        }
    }
}

/// A cluster of processes in a directory that goes with it.
pub(crate) struct Nodes {
    // Dropped in this order: a node prints its log from the directory when a test has failed.
    nodes: Vec<Node>,
    root: TempDir,
}

impl Nodes {
    /// A cluster of `count` nodes, all of them members of every group.
    pub(crate) async fn start(count: usize, groups: u64) -> Self {
        Self::start_with(count, groups, &[]).await
    }

    /// The same with options for every node.
    pub(crate) async fn start_with(count: usize, groups: u64, options: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut first = Node::new(root.path(), 1);
        first.init(groups);
        first.settle_on(options);
        first.start(None);
        let mut cluster = Self {
            nodes: vec![first],
            root,
        };
        for _ in 1..count {
            cluster.join();
        }
        cluster.settled(count).await;
        cluster
    }

    /// A directory for a cluster that is made node by node.
    pub(crate) fn empty() -> Self {
        Self {
            nodes: Vec::new(),
            root: tempfile::tempdir().unwrap(),
        }
    }

    /// The next node, not yet started.
    pub(crate) fn plan(&self) -> Node {
        Node::new(self.root.path(), self.nodes.len() + 1)
    }

    /// Starts a node that makes the cluster; gives its position.
    pub(crate) fn found(&mut self, mut node: Node, groups: u64, factor: u32) -> usize {
        node.init_with(groups, factor);
        node.start(None);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Starts one more node, which joins the first one that runs; gives its position.
    pub(crate) fn join(&mut self) -> usize {
        self.join_as(self.plan())
    }

    /// The same with a node that was made for it.
    pub(crate) fn join_as(&mut self, mut node: Node) -> usize {
        let first = self
            .nodes
            .iter()
            .find(|node| node.child.is_some())
            .expect("a node that runs");
        node.options.clone_from(&first.options);
        node.start(Some(first.api()));
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// The node at a position, counted from 0.
    pub(crate) fn node(&self, position: usize) -> &Node {
        &self.nodes[position]
    }

    /// The same, to start or stop it.
    pub(crate) fn node_mut(&mut self, position: usize) -> &mut Node {
        &mut self.nodes[position]
    }

    /// Starts again every node whose process has ended by itself; gives how many those were.
    pub(crate) fn restart_ended(&mut self) -> usize {
        let mut restarted = 0;
        for node in &mut self.nodes {
            if node.child.is_some() && !node.runs() {
                node.start(None);
                restarted += 1;
            }
        }
        restarted
    }

    /// Waits until `count` nodes take part, all of them can be reached, every group has a leader and none is moving.
    pub(crate) async fn settled(&self, count: usize) -> v1::ClusterStatus {
        let settled = |status: &v1::ClusterStatus| {
            let active = status
                .nodes
                .iter()
                .filter(|node| node.state() == v1::NodeState::Active);
            let reachable = active.filter(|node| node.reachable).count();
            reachable == count && status.groups_moving == 0 && status.groups_without_leader == 0
        };
        let what = format!("{count} nodes take part and no group is moving");
        until(&what, || async { self.status().await.filter(settled) }).await
    }

    /// The cluster as any node that runs sees it.
    pub(crate) async fn status(&self) -> Option<v1::ClusterStatus> {
        for node in self.nodes.iter().filter(|node| node.child.is_some()) {
            if let Some(status) = node.status().await {
                return Some(status);
            }
        }
        None
    }
}

/// Looks again and again until there is something to see; fails the test when it takes too long.
pub(crate) async fn until<T, F, L>(what: &str, mut look: F) -> T
where
    F: FnMut() -> L,
    L: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + LIMIT;
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "still waiting after {LIMIT:?} until {what}"
        );
    }
}

fn free_address() -> String {
    format!("127.0.0.1:{}", ports::free_port())
}
