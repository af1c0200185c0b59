//! The node processes of the demo: this same binary, on loopback, each with a folder and two ports of its own.
//!
//! Invariant: whatever happens, dropping a process ends it; the demo leaves nothing running unless it was asked to.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

/// How long a node may take to stop when asked.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// One node of the demo.
pub(crate) struct NodeProcess {
    /// Counts from 1 in the order in which nodes were made.
    pub(crate) number: usize,
    dir: PathBuf,
    api_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

impl NodeProcess {
    /// A node that does not run yet. `root` gets its folder and its log.
    pub(crate) fn new(root: &Path, number: usize) -> Result<Self> {
        let dir = root.join(format!("node-{number}"));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self {
            number,
            dir,
            api_port: free_port()?,
            peer_port: free_port()?,
            child: None,
        })
    }

    /// Where clients reach it.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    /// `host:port` for `--join`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.api_port)
    }

    /// Its process id while it runs.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Makes a new cluster in its folder, with that many data groups.
    pub(crate) async fn init(&self, name: &str, groups: u64) -> Result<()> {
        let output = self
            .command("init")
            .args(["--name", name, "--groups", &groups.to_string()])
            .stdin(Stdio::null())
            .output()
            .await?;
        if !output.status.success() {
            bail!(
                "`covey init` failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(())
    }

    /// Starts it; with `join`, it asks the node at that address to be let in.
    pub(crate) fn start(&mut self, join: Option<&str>) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.with_extension("log"))?;
        let mut command = self.command("start");
        command.args([
            "--api-listen",
            &self.address(),
            "--peer-listen",
            &format!("127.0.0.1:{}", self.peer_port),
        ]);
        if let Some(address) = join {
            command.args(["--join", address]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().context("cannot start a node")?);
        Ok(())
    }

    /// Ends it at once, as a power cut would: SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Asks it to stop, and waits.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        if let Some(id) = child.id() {
            Command::new("kill")
                .args(["-TERM", &id.to_string()])
                .status()
                .await?;
        }
        if tokio::time::timeout(STOP_WITHIN, child.wait()).await.is_err() {
            child.kill().await?;
            bail!(
                "node {} did not stop within {STOP_WITHIN:?} and was killed",
                self.number
            );
        }
        Ok(())
    }

    /// Lets it run on after this process has ended.
    pub(crate) fn leave_running(mut self) {
        self.child = None;
    }

    fn command(&self, verb: &str) -> Command {
        let binary = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("covey"));
        let mut command = Command::new(binary);
        command.arg(verb).arg("--data-dir").arg(&self.dir);
        command
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; either way it does not run any more.
            let _ = child.start_kill();
        }
    }
}

/// A port on loopback that is free just now and was given to no other node: the system may offer one again before the node
/// that it is for listens there.
fn free_port() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").context("no free port on loopback")?;
        let port = listener.local_addr()?.port();
        if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
}
