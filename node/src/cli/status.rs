//! `covey status`: the cluster at a glance.

use covey_proto::v1;
use serde_json::Value as Json;

use super::client::Access;
use super::node::node_listing;
use super::output::{Card, Output, remark, say};
use super::trouble::Trouble;

/// Options of `covey status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  covey status\n  covey status --endpoint http://10.0.0.3:7400 --output json"
)]
pub(super) struct Status {}

impl Status {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        let status = client
            .cluster()
            .get_status(client.request(v1::GetStatusRequest {}))
            .await?
            .into_inner();
        let nodes = node_listing(&status.nodes);
        let mut card = Card::default()
            .with("cluster", status.name.clone())
            .with("id", status.id.clone())
            .with("groups", status.groups)
            .with("replication factor", status.replication_factor)
            .with("version", status.version)
            .with("groups moving", status.groups_moving)
            .with("groups without leader", status.groups_without_leader);
        match access.output {
            Output::Table => {
                card.print(access.output);
                say("");
                nodes.print(access.output);
            }
            Output::Json => {
                card = card.with("nodes", nodes.json());
                card.print(access.output);
            }
        }
        advise(&status);
        Ok(())
    }
}

/// Says what an operator should do about what is not well.
fn advise(status: &v1::ClusterStatus) {
    for node in status
        .nodes
        .iter()
        .filter(|node| !node.reachable && node.state() != v1::NodeState::Removed)
    {
        remark(&format!(
            "node {} does not answer: start it again, or `covey node decommission {}`",
            node.id, node.id
        ));
    }
    for node in status.nodes.iter().filter(|node| node.clock_doubted) {
        remark(&format!(
            "node {} takes no writes: its clock differs from the others'; check its time synchronisation (NTP)",
            node.id
        ));
    }
    let active = status
        .nodes
        .iter()
        .filter(|node| node.state() == v1::NodeState::Active)
        .count();
    if active < usize::try_from(status.replication_factor).unwrap_or(usize::MAX) {
        let missing = format!(
            "{active} of {} nodes for full replication",
            status.replication_factor
        );
        remark(&format!("{missing}: see `covey node add`"));
    }
    if status.groups_without_leader > 0 {
        remark("some groups have no leader: writes to them wait until a majority of their nodes is back");
    }
}

/// The state of a node in words.
pub(super) fn state_text(state: i32) -> Json {
    let text = match v1::NodeState::try_from(state) {
        Ok(v1::NodeState::Active) => "active",
        Ok(v1::NodeState::Draining) => "draining",
        Ok(v1::NodeState::Decommissioning) => "decommissioning",
        Ok(v1::NodeState::Removed) => "removed",
        Ok(v1::NodeState::Unspecified) | Err(_) => "unknown",
    };
    text.into()
}
