//! The web page that every node serves at `/`: the cluster, its groups and what it serves, as this node knows them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use axum::extract::State;
use axum::response::Html;
use covey_cluster::GroupStatus;
use covey_state::NodeId;
use covey_state::deployment::Target;

use super::Gate;
use crate::catalog::CatalogCopy;

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=5>\
    <title>Covey</title><style>body{font:14px system-ui;margin:2rem;color:#222}table{border-collapse:collapse;\
    margin:0 0 2rem}th,td{text-align:left;padding:.25rem .8rem;border-bottom:1px solid #ddd}</style>";

/// Text that shows as itself in HTML.
struct Escaped<T>(T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.to_string().chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Answers `/`.
pub(super) async fn page(State(gate): State<Gate>) -> Html<String> {
    let ledger = &gate.context.ledger;
    let copy = gate.context.catalog.current();
    let mut html = HEAD.to_owned();
    let name = copy
        .cluster
        .as_ref()
        .map_or("being made", |cluster| cluster.name.as_str());
    html += &format!(
        "<h1>Covey: {}</h1><p>as node {} knows it</p>",
        Escaped(name),
        ledger.node()
    );
    html += &nodes(&copy);
    html += &groups(&ledger.host().groups());
    html += &deployments(&copy);
    html += "<p><a href=/metrics>metrics</a></p></html>";
    Html(html)
}

fn nodes(copy: &CatalogCopy) -> String {
    let mut votes: BTreeMap<NodeId, usize> = BTreeMap::new();
    for voter in copy.placements.values().flat_map(|placement| &placement.voters) {
        *votes.entry(*voter).or_default() += 1;
    }
    let rows = copy.nodes.values().map(|node| {
        let groups = votes.get(&node.id).copied().unwrap_or(0).to_string();
        [
            node.id.to_string(),
            node.state.to_string(),
            node.api_addr.clone(),
            node.region.clone(),
            node.zone.clone(),
            groups,
        ]
    });
    table(
        "Nodes",
        ["node", "state", "API", "region", "zone", "groups"],
        rows,
    )
}

fn groups(statuses: &[GroupStatus]) -> String {
    let rows = statuses.iter().map(|status| {
        let leader = status
            .leader
            .map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        let voters: Vec<String> = status.voters.iter().map(NodeId::to_string).collect();
        let applied = status.applied_index.unwrap_or(0).to_string();
        let fault = status.fault.clone().unwrap_or_default();
        [
            status.group.to_string(),
            status.role.to_string(),
            leader,
            voters.join(", "),
            applied,
            fault,
        ]
    });
    table(
        "Groups on this node",
        ["group", "role", "leader", "voters", "applied", "fault"],
        rows,
    )
}

fn deployments(copy: &CatalogCopy) -> String {
    let rows = copy.deployments.values().map(|record| {
        let target = match &record.spec.target {
            Target::Alias(alias) => format!("@{alias}"),
            Target::Version(version) => format!("version {version}"),
        };
        let nodes: Vec<String> = record.placement.iter().map(NodeId::to_string).collect();
        [
            record.spec.name.clone(),
            record.spec.model.clone(),
            target,
            nodes.join(", "),
        ]
    });
    table("Deployments", ["name", "model", "serves", "replicas on"], rows)
}

fn table<const N: usize>(title: &str, heads: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let mut html = format!("<h2>{title}</h2><table><tr>");
    for head in heads {
        html += &format!("<th>{head}</th>");
    }
    for row in rows {
        html += "</tr><tr>";
        for cell in row {
            html += &format!("<td>{}</td>", Escaped(cell));
        }
    }
    html + "</tr></table>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_users_choose_cannot_become_markup() {
        let html = table("Nodes", ["name"], std::iter::once(["<script>\"&".to_owned()]));
        assert!(html.contains("&lt;script&gt;&quot;&amp;"), "{html}");
    }
}
