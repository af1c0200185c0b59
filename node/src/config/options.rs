//! The options as the operator gives them: flags first, then the environment, then a YAML file, then the default.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::LogFormat;
use crate::cli::length::Length;
use crate::error::Failure;

/// What the operator may choose for a node; every other option may also stand in the file that `--config` names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Options {
    /// Directory of everything durable [default: covey-data]
    #[arg(long, env = "COVEY_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address to serve clients on [default: 127.0.0.1:7400]
    #[arg(long, env = "COVEY_API_LISTEN", value_name = "IP:PORT")]
    pub api_listen: Option<SocketAddr>,
    /// Address to serve peers on [default: 127.0.0.1:7401]
    #[arg(long, env = "COVEY_PEER_LISTEN", value_name = "IP:PORT")]
    pub peer_listen: Option<SocketAddr>,
    /// Address at which clients reach this node [default: the one it listens on]
    #[arg(long, env = "COVEY_API_ADVERTISE", value_name = "HOST:PORT")]
    pub api_advertise: Option<String>,
    /// Address at which peers reach this node [default: the one it listens on]
    #[arg(long, env = "COVEY_PEER_ADVERTISE", value_name = "HOST:PORT")]
    pub peer_advertise: Option<String>,
    /// Region label [default: local]
    #[arg(long, env = "COVEY_REGION")]
    pub region: Option<String>,
    /// Zone label; voters of a group are spread over zones [default: a]
    #[arg(long, env = "COVEY_ZONE")]
    pub zone: Option<String>,
    /// Entries after which a group takes a snapshot; a node that misses half as many again gets one [default: 20000]
    #[arg(long, env = "COVEY_SNAPSHOT_EVERY", value_name = "ENTRIES")]
    pub snapshot_every: Option<u64>,
    /// How long a node may be unheard of before its replicas are rebuilt elsewhere; the same on every node [default: 5m]
    #[arg(long, env = "COVEY_DEAD_AFTER", value_name = "LENGTH")]
    pub dead_after: Option<Length>,
    /// How far this node's clock may differ from most others' before it takes no writes; the same on every node [default: 10s]
    #[arg(long, env = "COVEY_MAX_CLOCK_SKEW", value_name = "LENGTH")]
    pub max_clock_skew: Option<Length>,
    /// How often the leader of a group compares its replicas, at a low rate; 0s for never [default: 1h]
    #[arg(long, env = "COVEY_VERIFY_EVERY", value_name = "LENGTH")]
    pub verify_every: Option<Length>,
    /// Let this node answer linearizable reads of groups that it leads from its lease, without asking the others: sound only
    /// where the clocks of all nodes run at nearly the same speed
    #[arg(long, env = "COVEY_LEASE_READS")]
    pub lease_reads: bool,
    /// Allow listening beyond this machine without TLS and without authentication
    #[arg(long, env = "COVEY_INSECURE")]
    pub insecure: bool,
    /// How log lines look [default: text]
    #[arg(long, env = "COVEY_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
    /// Which log lines are written, for instance `info,covey_cluster=debug` [default: info]
    #[arg(long, env = "COVEY_LOG", value_name = "FILTER")]
    pub log_filter: Option<String>,
    /// YAML file with any of the options above, named as here without the dashes in front
    #[arg(long, env = "COVEY_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
}

impl Options {
    /// These options, and for those not given what the file says.
    pub(super) fn with_file(self) -> Result<Self, Failure> {
        let Some(path) = &self.config else {
            return Ok(self);
        };
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::invalid("config", format!("`{shown}` cannot be read: {error}")))?;
        let file: Self = serde_saphyr::from_str(&text)
            .map_err(|error| Failure::invalid("config", format!("`{shown}` is not valid: {error}")))?;
        Ok(Self {
            data_dir: self.data_dir.or(file.data_dir),
            api_listen: self.api_listen.or(file.api_listen),
            peer_listen: self.peer_listen.or(file.peer_listen),
            api_advertise: self.api_advertise.or(file.api_advertise),
            peer_advertise: self.peer_advertise.or(file.peer_advertise),
            region: self.region.or(file.region),
            zone: self.zone.or(file.zone),
            snapshot_every: self.snapshot_every.or(file.snapshot_every),
            dead_after: self.dead_after.or(file.dead_after),
            max_clock_skew: self.max_clock_skew.or(file.max_clock_skew),
            verify_every: self.verify_every.or(file.verify_every),
            lease_reads: self.lease_reads || file.lease_reads,
            insecure: self.insecure || file.insecure,
            log_format: self.log_format.or(file.log_format),
            log_filter: self.log_filter.or(file.log_filter),
            config: self.config,
        })
    }
}
