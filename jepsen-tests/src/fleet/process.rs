//! One node: its process, its disk, its clock and its log.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::{Disk, FleetConfig, Network, log_path};
use crate::bug::PlantedBug;

/// Where Debian puts the library that moves a process's clock, below `/usr/lib` and the machine's name.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";
/// What nodes log.
const LOG_FILTER: &str = "info,openraft=warn";

/// A node, running or not.
pub(crate) struct Process {
    number: usize,
    covey: PathBuf,
    prefix: Vec<String>,
    api: String,
    peer: String,
    insecure: bool,
    snapshot_every: u64,
    lease_reads: bool,
    bug: Option<PlantedBug>,
    log: PathBuf,
    /// The file that tells the process how far its clock is off, if it can be.
    clock: Option<PathBuf>,
    pub(crate) disk: Disk,
    child: Option<Child>,
}

impl Process {
    /// A node that has not been started.
    pub(crate) fn plan(config: &FleetConfig, network: &Network, number: usize) -> Result<Self> {
        let directory = &config.directory;
        let clock = config
            .clocks
            .then(|| directory.join(format!("node-{number}.clock")));
        if let Some(file) = &clock {
            std::fs::write(file, "+0").context("cannot write the clock's file")?;
        }
        Ok(Self {
            number,
            covey: config.covey.clone(),
            prefix: network.prefix(number),
            api: network.api_address(number),
            peer: network.peer_address(number),
            insecure: network.can_cut(),
            snapshot_every: config.snapshot_every,
            lease_reads: config.lease_reads,
            bug: config.bug,
            log: log_path(directory, number),
            clock,
            disk: Disk::plan(config.disk, directory.join(format!("node-{number}"))),
            child: None,
        })
    }

    /// Whether this machine has what moves clocks.
    pub(crate) fn clocks_can_move() -> bool {
        faketime().is_some()
    }

    /// Makes a cluster of which this is the first node.
    pub(crate) async fn init(&self, config: &FleetConfig) -> Result<()> {
        self.disk.make().await?;
        let groups = config.groups.to_string();
        let output = self
            .command("init")
            .args([
                "--name",
                "jepsen",
                "--groups",
                &groups,
                "--replication-factor",
                "3",
            ])
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.covey.display()))?;
        if !output.status.success() {
            bail!("`covey init`: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }

    /// Starts the process; with an address, it joins the cluster of the node there unless it belongs to one.
    pub(crate) async fn start(&mut self, join: Option<&str>) -> Result<()> {
        self.disk.make().await?;
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = self.command("start");
        command.args(["--snapshot-every", &self.snapshot_every.to_string()]);
        if self.lease_reads {
            command.arg("--lease-reads");
        }
        if let Some(address) = join {
            command.args(["--join", address]);
        }
        command.stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().context("cannot start a node")?);
        Ok(())
    }

    fn command(&self, verb: &str) -> Command {
        let mut words = self.prefix.iter();
        let mut command = match words.next() {
            Some(program) => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.covey);
                command
            }
            None => Command::new(&self.covey),
        };
        command.arg(verb).arg("--data-dir").arg(self.disk.data());
        command.stdin(Stdio::null());
        if verb == "start" {
            command
                .args(["--api-listen", &self.api, "--peer-listen", &self.peer])
                .args(["--log-filter", LOG_FILTER])
                .args(self.insecure.then_some("--insecure"));
        }
        if let Some(bug) = self.bug {
            command.env(PlantedBug::VARIABLE, bug.name());
        }
        if let (Some(clock), Some(library)) = (&self.clock, faketime()) {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", clock)
                .env("FAKETIME_CACHE_DURATION", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("NO_FAKE_STAT", "1");
        }
        command
    }

    /// The process id while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Whether it was started and has not ended by itself.
    pub(crate) fn runs(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Ends it by SIGKILL; gives the signal that really ended it.
    pub(crate) async fn kill(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        // One that has ended by itself cannot be killed, and its status says so.
        drop(child.start_kill());
        child.wait().await.ok()?.signal()
    }

    /// Stops it where it is.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let id = id.with_context(|| format!("node {} does not run", self.number))?;
        kill_process(id, signal).with_context(|| format!("cannot signal node {}", self.number))
    }

    /// Whether the system says that it is stopped.
    pub(crate) fn is_paused(&self) -> bool {
        let stat = self
            .id()
            .map(|id| std::fs::read_to_string(format!("/proc/{id}/stat")));
        // `pid (name) state ...`; the name may have spaces and parentheses.
        stat.and_then(Result::ok)
            .and_then(|stat| stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('T')))
            .unwrap_or(false)
    }

    /// Puts its clock off by so many seconds.
    pub(crate) fn set_clock(&self, seconds: i64) -> Result<()> {
        let file = self
            .clock
            .as_ref()
            .context("the clocks of this fleet cannot be moved")?;
        // Renamed into its place, so that nobody reads half of it.
        let new = file.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}"))?;
        std::fs::rename(&new, file).context("cannot write the clock's file")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The library that moves a process's clock, if it is installed.
fn faketime() -> Option<PathBuf> {
    let machines = std::fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    machines
        .map(|machine| machine.path().join(FAKETIME))
        .find(|library| library.is_file())
}
