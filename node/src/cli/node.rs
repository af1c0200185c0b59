//! `covey node`: the nodes of the cluster, their coming and going.

use std::net::IpAddr;

use covey_proto::v1;

use super::client::{Access, Client};
use super::length::Length;
use super::output::{Listing, moment, remark, say};
use super::status::state_text;
use super::trouble::Trouble;
use super::waiting::{Look, wait_for};

/// How a verb that moves replicas waits for the end of it.
#[derive(Debug, clap::Args)]
pub(super) struct Patience {
    /// How long to wait for it to be done; 0s does not wait
    #[arg(long, default_value = "10m", value_name = "LENGTH")]
    wait: Length,
}

/// Verbs of `covey node`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Node {
    /// List the nodes
    #[command(after_help = "Examples:\n  covey node list\n  covey node list --output json")]
    List,
    /// Print the command that starts one more node
    #[command(
        after_help = "Examples:\n  covey node add\n  covey node add --data-dir n4 --host 10.0.0.4 --wait 5m"
    )]
    Add {
        /// The new node's data directory
        #[arg(long, default_value = "covey-data", value_name = "DIR")]
        data_dir: String,
        /// The IP address of the new node's machine
        #[arg(long, default_value = "127.0.0.1", value_name = "HOST")]
        host: String,
        /// The new node's port for clients; peers use the next one [default: the first that no node on that host uses]
        #[arg(long, value_name = "PORT")]
        port: Option<u16>,
        /// Wait this long until one more node has joined and holds its share
        #[arg(long, value_name = "LENGTH")]
        wait: Option<Length>,
    },
    /// Wait until a node takes part and no group is moving
    #[command(after_help = "Examples:\n  covey node wait n4\n  covey node wait n4 --wait 2m")]
    Wait {
        /// The node, for instance n4
        node: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Move leadership and model replicas off a node; its data stays
    #[command(
        after_help = "Examples:\n  covey node drain n2      then restart or upgrade it, then\n  covey node undrain n2"
    )]
    Drain {
        /// The node, for instance n2
        node: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Let a drained or decommissioning node take part again
    #[command(after_help = "Examples:\n  covey node undrain n2")]
    Undrain {
        /// The node, for instance n2
        node: String,
    },
    /// Move everything off a node
    #[command(after_help = "Examples:\n  covey node decommission n2      then\n  covey node remove n2")]
    Decommission {
        /// The node, for instance n2
        node: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Remove a node for good, once nothing is on it
    #[command(
        after_help = "Examples:\n  covey node remove n2\n\nIts id is never used again; to come back it joins as a new node."
    )]
    Remove {
        /// The node, for instance n2
        node: String,
    },
}

impl Node {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        match self {
            Self::List => {
                node_listing(&status(&client).await?.nodes).print(access.output);
                Ok(())
            }
            Self::Add {
                data_dir,
                host,
                port,
                wait,
            } => {
                let known = status(&client).await?;
                say(&start_command(&known, &data_dir, &host, port)?);
                match wait {
                    Some(wait) => wait_for_newcomer(&client, &known, wait).await,
                    None => Ok(()),
                }
            }
            Self::Wait { node, patience } => wait_settled(&client, &node, patience.wait).await,
            Self::Drain { node, patience } => {
                set_state(&client, &node, v1::NodeState::Draining).await?;
                wait_given_up(&client, &node, patience.wait, GivesUp::Leadership).await
            }
            Self::Undrain { node } => set_state(&client, &node, v1::NodeState::Active).await,
            Self::Decommission { node, patience } => {
                set_state(&client, &node, v1::NodeState::Decommissioning).await?;
                wait_given_up(&client, &node, patience.wait, GivesUp::Replicas).await
            }
            Self::Remove { node } => set_state(&client, &node, v1::NodeState::Removed).await,
        }
    }
}

/// The nodes as rows.
pub(super) fn node_listing(nodes: &[v1::Node]) -> Listing {
    let mut listing = Listing::new(&[
        "node",
        "state",
        "health",
        "reachable",
        "clock",
        "api",
        "peer",
        "region",
        "zone",
        "replicas",
        "leaders",
        "version",
        "joined",
    ]);
    for node in nodes {
        listing.row([
            node.id.clone().into(),
            state_text(node.state),
            health(node).into(),
            node.reachable.into(),
            clock(node).into(),
            node.api_addr.clone().into(),
            node.peer_addr.clone().into(),
            node.region.clone().into(),
            node.zone.clone().into(),
            node.replicas.into(),
            node.leaders.into(),
            node.binary.clone().into(),
            moment(node.joined_at_micros),
        ]);
    }
    listing
}

/// Whether a node was heard of, in words.
fn health(node: &v1::Node) -> String {
    let unheard = node.unheard_ms / 1_000;
    match (node.state(), node.dead, unheard) {
        (v1::NodeState::Removed, ..) => String::new(),
        (_, true, _) => format!("dead, {unheard}s"),
        (_, false, 0) => "live".to_owned(),
        (_, false, _) => format!("silent, {unheard}s"),
    }
}

/// How far a node's clock is ahead of the others', in words.
fn clock(node: &v1::Node) -> String {
    if !node.reachable {
        return String::new();
    }
    let seconds = node.clock_ahead_ms as f64 / 1_000.0;
    let doubted = if node.clock_doubted { ", doubted" } else { "" };
    format!("{seconds:+.3}s{doubted}")
}

async fn status(client: &Client) -> Result<v1::ClusterStatus, Trouble> {
    Ok(client
        .cluster()
        .get_status(client.request(v1::GetStatusRequest {}))
        .await?
        .into_inner())
}

async fn set_state(client: &Client, node: &str, state: v1::NodeState) -> Result<(), Trouble> {
    let request = v1::SetNodeStateRequest {
        node: node.to_owned(),
        state: state.into(),
    };
    client.cluster().set_node_state(client.request(request)).await?;
    let word = state_text(state.into());
    remark(&format!("node {node} is {}", word.as_str().unwrap_or_default()));
    Ok(())
}

fn find<'a>(status: &'a v1::ClusterStatus, node: &str) -> Result<&'a v1::Node, Trouble> {
    let known = status.nodes.iter().find(|each| each.id == node);
    known.ok_or_else(|| Trouble::refused(format!("node `{node}` does not exist"), "see `covey node list`"))
}

/// The exact command for one more node: joins through every node that answers, on ports that none of them uses.
fn start_command(
    status: &v1::ClusterStatus,
    data_dir: &str,
    host: &str,
    port: Option<u16>,
) -> Result<String, Trouble> {
    let present = status
        .nodes
        .iter()
        .filter(|node| node.state() != v1::NodeState::Removed);
    let taken: Vec<u16> = present
        .clone()
        .flat_map(|node| [&node.api_addr, &node.peer_addr])
        .filter_map(|address| address.rsplit_once(':'))
        .filter(|(of, _)| *of == host)
        .filter_map(|(_, port)| port.parse().ok())
        .collect();
    let first = crate::config::API_PORT;
    let free = |port: &u16| !taken.contains(port) && !taken.contains(&(port + 1));
    let found = (first..u16::MAX - 10).step_by(10).find(free);
    let port = port
        .or(found)
        .ok_or_else(|| Trouble::usage(format!("no free port on `{host}`"), "give one with --port"))?;
    let seeds: Vec<&str> = present
        .filter(|node| node.reachable)
        .map(|node| node.api_addr.as_str())
        .collect();
    let is_here = host
        .parse::<IpAddr>()
        .map_or(host == "localhost", |address| address.is_loopback());
    let insecure = if is_here { "" } else { " --insecure" };
    let (seeds, peers) = (seeds.join(","), port + 1);
    let listen = format!("--api-listen {host}:{port} --peer-listen {host}:{peers}");
    Ok(format!(
        "covey start --data-dir {data_dir} {listen} --join {seeds}{insecure}"
    ))
}

async fn wait_for_newcomer(client: &Client, before: &v1::ClusterStatus, wait: Length) -> Result<(), Trouble> {
    let newcomer = wait_for("waiting for a node to join", wait.duration(), async || {
        let now = status(client).await?;
        let new = now
            .nodes
            .into_iter()
            .find(|node| before.nodes.iter().all(|known| known.id != node.id));
        Ok(new.map_or_else(|| Look::NotYet("nobody yet".to_owned()), Look::Reached))
    })
    .await?;
    remark(&format!("node {} has joined", newcomer.id));
    wait_settled(client, &newcomer.id, wait).await
}

async fn wait_settled(client: &Client, node: &str, wait: Length) -> Result<(), Trouble> {
    wait_for(&format!("waiting for node {node}"), wait.duration(), async || {
        let now = status(client).await?;
        let ready = find(&now, node)?;
        Ok(match (ready.reachable, now.groups_moving) {
            (true, 0) => Look::Reached(()),
            (true, _) => moving(&now),
            (false, _) => Look::NotYet("it does not answer yet".to_owned()),
        })
    })
    .await?;
    remark(&format!("node {node} takes part"));
    Ok(())
}

/// How far the groups are that move.
fn moving<T>(status: &v1::ClusterStatus) -> Look<T> {
    let text = format!("members in place, {} groups are moving", status.groups_moving);
    Look::Part {
        done: status.members_in_place,
        total: status.members_wanted,
        text,
    }
}

/// Waits until no group is moving.
pub(super) async fn wait_not_moving(client: &Client, what: &str, wait: Length) -> Result<(), Trouble> {
    if wait.micros() == 0 {
        return Ok(());
    }
    wait_for(what, wait.duration(), async || {
        let now = status(client).await?;
        Ok(if now.groups_moving == 0 {
            Look::Reached(())
        } else {
            moving(&now)
        })
    })
    .await?;
    remark("every group is where it should be");
    Ok(())
}

/// What a node gives up.
#[derive(Debug, Clone, Copy)]
enum GivesUp {
    Leadership,
    Replicas,
}

impl GivesUp {
    const fn what(self) -> &'static str {
        match self {
            Self::Leadership => "leadership",
            Self::Replicas => "replicas",
        }
    }

    const fn held(self, node: &v1::Node) -> u64 {
        match self {
            Self::Leadership => node.leaders,
            Self::Replicas => node.replicas,
        }
    }

    /// What is left to be done, or nothing. A group that still moves may still need a node that holds none of it by plan.
    fn left(self, node: &v1::Node, status: &v1::ClusterStatus) -> Option<String> {
        match (self, node.leaders, node.replicas, status.groups_moving) {
            (Self::Leadership, 0, ..) | (Self::Replicas, _, 0, 0) => None,
            (Self::Leadership, leaders, ..) => Some(format!("it still leads {leaders} groups")),
            (Self::Replicas, _, 0, moving) => Some(format!("{moving} groups are moving")),
            (Self::Replicas, _, replicas, _) => Some(format!("{replicas} replicas are left")),
        }
    }
}

async fn wait_given_up(client: &Client, node: &str, wait: Length, gives_up: GivesUp) -> Result<(), Trouble> {
    if wait.micros() == 0 {
        return Ok(());
    }
    let what = gives_up.what();
    // A bar from what it holds at first; a decommissioned node may go up before it goes down.
    let mut most = 0;
    wait_for(
        &format!("node {node} gives up its {what}"),
        wait.duration(),
        async || {
            let now = status(client).await?;
            let found = find(&now, node)?;
            let held = gives_up.held(found);
            most = held.max(most);
            Ok(match gives_up.left(found, &now) {
                None => Look::Reached(()),
                Some(_) if held == 0 => moving(&now),
                Some(text) => Look::Part {
                    done: most - held,
                    total: most,
                    text,
                },
            })
        },
    )
    .await?;
    remark(&format!("node {node} has given up its {what}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_command_avoids_the_ports_that_are_taken() {
        let node = v1::Node {
            id: "n1".to_owned(),
            api_addr: "127.0.0.1:7400".to_owned(),
            peer_addr: "127.0.0.1:7401".to_owned(),
            state: v1::NodeState::Active.into(),
            reachable: true,
            ..v1::Node::default()
        };
        let status = v1::ClusterStatus {
            nodes: vec![node],
            ..v1::ClusterStatus::default()
        };
        let command = start_command(&status, "n2", "127.0.0.1", None).unwrap();
        let expected = "covey start --data-dir n2 --api-listen 127.0.0.1:7410 --peer-listen 127.0.0.1:7411 \
                        --join 127.0.0.1:7400";
        assert_eq!(command, expected);
    }
}
