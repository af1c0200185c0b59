//! What the operator chooses for one node: options from the command line, the environment and a file, validated once.
//!
//! Invariant: a [`Config`] is valid. It listens beyond this machine only if `insecure` was typed.

mod options;

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use options::Options;

use crate::cli::length::Length;
use crate::error::Failure;

/// The port that clients use unless told otherwise.
pub const API_PORT: u16 = 7400;
/// The port that peers use unless told otherwise.
pub const PEER_PORT: u16 = 7401;

/// Entries after which a group takes a snapshot unless told otherwise.
const SNAPSHOT_EVERY: u64 = 20_000;
/// The fewest and the most entries between two snapshots.
const SNAPSHOT_EVERY_RANGE: RangeInclusive<u64> = 20..=10_000_000;
/// How long a node may be unheard of unless told otherwise.
const DEAD_AFTER: Duration = Duration::from_secs(300);
/// A shorter time would take every restart for a death.
const DEAD_AFTER_MIN: Duration = Duration::from_secs(10);

/// How far clocks may differ unless told otherwise. Requests are told apart for a day, windows are at least a minute long:
/// a clock that is kept is far within it, and one that is beyond it is not kept.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(10);
/// Clocks of machines that are kept by NTP differ by less; a slow disk or processor looks like more.
const MAX_CLOCK_SKEW_MIN: Duration = Duration::from_secs(1);
/// How often the replicas of a group are compared unless told otherwise.
const VERIFY_EVERY: Duration = Duration::from_secs(3_600);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The effective configuration of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where everything durable is.
    pub data_dir: PathBuf,
    /// Where clients are served.
    pub api_listen: SocketAddr,
    /// Where peers are served.
    pub peer_listen: SocketAddr,
    /// How clients reach this node, `host:port`.
    pub api_advertise: String,
    /// How peers reach this node, `host:port`.
    pub peer_advertise: String,
    /// Region label.
    pub region: String,
    /// Zone label.
    pub zone: String,
    /// Entries after which a group takes a snapshot.
    pub snapshot_every: u64,
    /// How long a node may be unheard of before its replicas are rebuilt elsewhere; counts on the leader of control.
    pub dead_after: Duration,
    /// How far this node's clock may differ from the others' before it takes no writes.
    pub max_clock_skew: Duration,
    /// How often the replicas of each group are compared by its leader; zero for never.
    pub verify_every: Duration,
    /// Whether linearizable reads are answered from a leader's lease.
    pub lease_reads: bool,
    /// Whether listening beyond this machine without TLS is allowed.
    pub insecure: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, as in `info,covey_cluster=debug`.
    pub log_filter: String,
}

impl Config {
    /// Fills in what was not chosen and validates the whole.
    pub fn resolve(options: Options) -> Result<Self, Failure> {
        let options = options.with_file()?;
        let api_listen = options.api_listen.unwrap_or(([127, 0, 0, 1], API_PORT).into());
        let peer_listen = options.peer_listen.unwrap_or(([127, 0, 0, 1], PEER_PORT).into());
        let config = Self {
            data_dir: options.data_dir.unwrap_or_else(|| PathBuf::from("covey-data")),
            api_listen,
            peer_listen,
            api_advertise: options.api_advertise.unwrap_or_else(|| api_listen.to_string()),
            peer_advertise: options.peer_advertise.unwrap_or_else(|| peer_listen.to_string()),
            region: options.region.unwrap_or_else(|| "local".to_owned()),
            zone: options.zone.unwrap_or_else(|| "a".to_owned()),
            snapshot_every: options.snapshot_every.unwrap_or(SNAPSHOT_EVERY),
            dead_after: options.dead_after.map_or(DEAD_AFTER, Length::duration),
            max_clock_skew: options.max_clock_skew.map_or(MAX_CLOCK_SKEW, Length::duration),
            verify_every: options.verify_every.map_or(VERIFY_EVERY, Length::duration),
            lease_reads: options.lease_reads,
            insecure: options.insecure,
            log_format: options.log_format.unwrap_or_default(),
            log_filter: options.log_filter.unwrap_or_else(|| "info".to_owned()),
        };
        config.validate()?;
        Ok(config)
    }

    fn validate(&self) -> Result<(), Failure> {
        for (field, address) in [("api-listen", self.api_listen), ("peer-listen", self.peer_listen)] {
            if address.port() == 0 {
                return Err(Failure::invalid(
                    field,
                    format!("`{address}` has no port; other nodes must know it"),
                ));
            }
            if !address.ip().is_loopback() && !self.insecure {
                let reason = format!(
                    "`{address}` is reachable from other machines without TLS; add --insecure to accept that"
                );
                return Err(Failure::invalid(field, reason));
            }
        }
        if self.dead_after < DEAD_AFTER_MIN {
            let (given, least) = (self.dead_after.as_secs(), DEAD_AFTER_MIN.as_secs());
            let reason =
                format!("{given} s is shorter than an election and a restart may take; at least {least} s");
            return Err(Failure::invalid("dead-after", reason));
        }
        if self.max_clock_skew < MAX_CLOCK_SKEW_MIN {
            let (given, least) = (self.max_clock_skew.as_millis(), MAX_CLOCK_SKEW_MIN.as_millis());
            let reason =
                format!("{given} ms is less than clocks may differ that are kept; at least {least} ms");
            return Err(Failure::invalid("max-clock-skew", reason));
        }
        if self.api_listen == self.peer_listen {
            let reason = format!("`{}` is the peers' address already", self.api_listen);
            return Err(Failure::invalid("api-listen", reason));
        }
        for (field, address) in [
            ("api-advertise", &self.api_advertise),
            ("peer-advertise", &self.peer_advertise),
        ] {
            validate_advertised(field, address)?;
        }
        if !SNAPSHOT_EVERY_RANGE.contains(&self.snapshot_every) {
            let (least, most) = (SNAPSHOT_EVERY_RANGE.start(), SNAPSHOT_EVERY_RANGE.end());
            let reason = format!("`{}` is not a number from {least} to {most}", self.snapshot_every);
            return Err(Failure::invalid("snapshot-every", reason));
        }
        for (field, label) in [("region", &self.region), ("zone", &self.zone)] {
            if label.is_empty() || label.len() > 64 || label.chars().any(char::is_whitespace) {
                return Err(Failure::invalid(
                    field,
                    format!("`{label}` is not 1 to 64 characters without spaces"),
                ));
            }
        }
        Ok(())
    }

    /// Where the part of the store of that name is.
    pub fn store_path(&self, part: &str) -> PathBuf {
        self.data_dir.join(part)
    }
}

/// An address that other machines can use: a host that is not "any", and a port.
fn validate_advertised(field: &str, address: &str) -> Result<(), Failure> {
    let unusable = |reason: &str| Err(Failure::invalid(field, format!("`{address}` {reason}")));
    let Some((host, port)) = address.rsplit_once(':') else {
        return unusable("is not host:port");
    };
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return unusable("has no valid port");
    }
    match host {
        "" | "0.0.0.0" | "[::]" => {
            unusable("cannot be reached from elsewhere; name a host that other nodes know")
        }
        _ => Ok(()),
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "data-dir = {:?}", self.data_dir.display().to_string())?;
        writeln!(f, "api-listen = {:?}", self.api_listen.to_string())?;
        writeln!(f, "peer-listen = {:?}", self.peer_listen.to_string())?;
        writeln!(f, "api-advertise = {:?}", self.api_advertise)?;
        writeln!(f, "peer-advertise = {:?}", self.peer_advertise)?;
        writeln!(f, "region = {:?}", self.region)?;
        writeln!(f, "zone = {:?}", self.zone)?;
        writeln!(f, "snapshot-every = {}", self.snapshot_every)?;
        writeln!(f, "dead-after = \"{}s\"", self.dead_after.as_secs())?;
        writeln!(f, "max-clock-skew = \"{}ms\"", self.max_clock_skew.as_millis())?;
        writeln!(f, "verify-every = \"{}ms\"", self.verify_every.as_millis())?;
        writeln!(f, "lease-reads = {}", self.lease_reads)?;
        writeln!(f, "insecure = {}", self.insecure)?;
        writeln!(
            f,
            "log-format = {:?}",
            format!("{:?}", self.log_format).to_lowercase()
        )?;
        writeln!(f, "log-filter = {:?}", self.log_filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_listens_beyond_its_machine_only_when_insecure_is_typed() {
        let api_listen = Some("0.0.0.0:7400".parse().unwrap());
        let advertise = Some("covey-1:7400".to_owned());
        let options = Options {
            api_listen,
            api_advertise: advertise,
            ..Options::default()
        };
        let refused = Config::resolve(options.clone()).unwrap_err().to_string();
        assert!(
            refused.contains("api-listen") && refused.contains("--insecure"),
            "{refused}"
        );
        assert!(
            Config::resolve(Options {
                insecure: true,
                ..options
            })
            .is_ok()
        );
    }

    #[test]
    fn an_address_that_nobody_can_dial_is_not_advertised() {
        for address in ["0.0.0.0:7401", "covey-1", "covey-1:0", ":7401"] {
            let options = Options {
                peer_advertise: Some(address.to_owned()),
                ..Options::default()
            };
            assert!(Config::resolve(options).is_err(), "{address}");
        }
    }

    #[test]
    fn a_file_with_an_unknown_key_is_refused_and_flags_win_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("covey.yaml");
        std::fs::write(&path, "region: north\nzone: b\n").unwrap();
        let options = Options {
            config: Some(path.clone()),
            zone: Some("c".to_owned()),
            ..Options::default()
        };
        let config = Config::resolve(options.clone()).unwrap();
        assert_eq!((config.region.as_str(), config.zone.as_str()), ("north", "c"));

        std::fs::write(&path, "regoin: north\n").unwrap();
        let refused = Config::resolve(options).unwrap_err().to_string();
        assert!(refused.contains("regoin"), "{refused}");
    }
}
