//! `covey group`: where the groups are and how far, and what an operator moves by hand.

use covey_proto::v1;
use covey_proto::v1::list_groups_reply::Replica;

use super::client::{Access, Client};
use super::length::Length;
use super::output::{Card, Listing, Output, remark, say};
use super::trouble::Trouble;
use super::waiting::{Look, wait_for};

/// Verbs of `covey group`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Group {
    /// List the replicas on the answering node, or with --all-nodes on every node
    #[command(after_help = "Examples:\n  covey group list\n  covey group list --all-nodes --output json")]
    List {
        /// Ask every node, not only the answering one
        #[arg(long)]
        all_nodes: bool,
    },
    /// Show where a group should be, where it is and what it weighs
    #[command(after_help = "Examples:\n  covey group show 3\n  covey group show g3 --output json")]
    Show {
        /// The group, for instance g3; g0 is the control group
        #[arg(value_parser = group_number)]
        group: u64,
    },
    /// Have another node hold a replica of a group; it stays there until `covey rebalance` or until the node leaves
    #[command(after_help = "Examples:\n  covey group move g3 --from n1 --to n4\n\n\
        A move that would keep the policy of the group's namespace worse is refused.")]
    Move {
        /// The group, for instance g3
        #[arg(value_parser = group_number)]
        group: u64,
        /// The node that gives its replica up
        #[arg(long, value_name = "NODE")]
        from: String,
        /// The node that takes it
        #[arg(long, value_name = "NODE")]
        to: String,
        /// How long to wait for it to be done; 0s does not wait
        #[arg(long, default_value = "10m", value_name = "LENGTH")]
        wait: Length,
    },
    /// Have a voter lead a group, until `covey rebalance` or for as long as it can
    #[command(after_help = "Examples:\n  covey group transfer-leader g3 --to n2")]
    TransferLeader {
        /// The group, for instance g3
        #[arg(value_parser = group_number)]
        group: u64,
        /// The voter that is to lead
        #[arg(long, value_name = "NODE")]
        to: String,
        /// How long to wait for it to lead; 0s does not wait
        #[arg(long, default_value = "1m", value_name = "LENGTH")]
        wait: Length,
    },
    /// Build a snapshot of a group on the answering node now
    #[command(after_help = "Examples:\n  covey group snapshot 3 --endpoint http://127.0.0.1:7410")]
    Snapshot {
        /// The group, for instance g3; g0 is the control group
        #[arg(value_parser = group_number)]
        group: u64,
    },
}

impl Group {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        match self {
            Self::List { all_nodes } => {
                let request = client.request(v1::ListGroupsRequest { all_nodes });
                let reply = client.cluster().list_groups(request).await?.into_inner();
                listing(&reply.replicas).print(access.output);
            }
            Self::Show { group } => print(&show(&client, group).await?, access.output),
            Self::Move {
                group,
                from,
                to,
                wait,
            } => {
                let request = v1::MoveReplicaRequest { group, from, to };
                client.cluster().move_replica(client.request(request)).await?;
                wait_settled(&client, group, wait).await?;
                print(&show(&client, group).await?, access.output);
            }
            Self::TransferLeader { group, to, wait } => {
                let request = v1::TransferLeaderRequest {
                    group,
                    to: to.clone(),
                };
                client.cluster().transfer_leader(client.request(request)).await?;
                wait_led(&client, group, (&to, wait)).await?;
                print(&show(&client, group).await?, access.output);
            }
            Self::Snapshot { group } => {
                let request = client.long_request(v1::TakeSnapshotRequest { group });
                let reply = client.admin().take_snapshot(request).await?.into_inner();
                let mut listing = Listing::new(&["group", "index"]);
                listing.row([group.into(), reply.index.into()]);
                listing.print(access.output);
            }
        }
        Ok(())
    }
}

/// A group's number, with or without its prefix.
pub(super) fn group_number(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix('g').unwrap_or(text);
    number
        .parse()
        .map_err(|_| format!("`{text}` is no group such as g3"))
}

async fn show(client: &Client, group: u64) -> Result<v1::GroupDetail, Trouble> {
    let request = client.request(v1::GetGroupRequest { group });
    Ok(client.cluster().get_group(request).await?.into_inner())
}

async fn wait_settled(client: &Client, group: u64, wait: Length) -> Result<(), Trouble> {
    if wait.micros() == 0 {
        return Ok(());
    }
    wait_for(&format!("group g{group} moves"), wait.duration(), async || {
        let detail = show(client, group).await?;
        let leader = detail.replicas.iter().find(|replica| replica.role == "leader");
        let wanted = detail
            .placement
            .iter()
            .flat_map(|placed| placed.voters.iter().chain(&placed.learners));
        let wanted: Vec<&String> = wanted.collect();
        let ready = |node: &&&String| leader.is_some_and(|leader| leader.caught_up.contains(node));
        let (total, text) = (wanted.len() as u64, "members in place".to_owned());
        Ok(match detail.settled {
            true => Look::Reached(()),
            false => Look::Part {
                done: wanted.iter().filter(ready).count() as u64,
                total,
                text,
            },
        })
    })
    .await?;
    remark(&format!("group g{group} is where it should be"));
    Ok(())
}

async fn wait_led(client: &Client, group: u64, (to, wait): (&str, Length)) -> Result<(), Trouble> {
    if wait.micros() == 0 {
        return Ok(());
    }
    wait_for(
        &format!("node {to} takes over group g{group}"),
        wait.duration(),
        async || {
            let detail = show(client, group).await?;
            let leader = detail.replicas.iter().find(|replica| replica.role == "leader");
            Ok(match leader {
                Some(leader) if leader.node == to => Look::Reached(()),
                Some(leader) => Look::NotYet(format!("{} leads", leader.node)),
                None => Look::NotYet("nobody leads".to_owned()),
            })
        },
    )
    .await
}

fn print(detail: &v1::GroupDetail, output: Output) {
    let placement = detail.placement.clone().unwrap_or_default();
    let card = Card::default()
        .with("group", detail.group)
        .with("namespace", detail.namespace.clone())
        .with("policy", detail.policy.clone())
        .with("settled", detail.settled)
        .with("voters", placement.voters)
        .with("learners", placement.learners)
        .with("preferred leader", placement.preferred_leader)
        .with("revision", placement.revision)
        .with("bytes", placement.bytes)
        .with("load per second", placement.load)
        .with("replicas pinned", placement.replicas_pinned)
        .with("leader pinned", placement.leader_pinned)
        .with("made", placement.made);
    let replicas = listing(&detail.replicas);
    match output {
        Output::Table => {
            card.print(output);
            say("");
            replicas.print(output);
        }
        Output::Json => card.with("replicas", replicas.json()).print(output),
    }
}

fn listing(replicas: &[Replica]) -> Listing {
    let mut listing = Listing::new(&[
        "group", "node", "role", "term", "leader", "voters", "learners", "log", "applied", "snapshot",
        "bytes", "reads", "fault", "damaged",
    ]);
    for replica in replicas {
        listing.row([
            replica.group.into(),
            replica.node.clone().into(),
            replica.role.clone().into(),
            replica.term.into(),
            replica.leader.clone().into(),
            replica.voters.clone().into(),
            replica.learners.clone().into(),
            replica.last_log_index.into(),
            replica.applied_index.into(),
            replica.snapshot_index.into(),
            replica.bytes.into(),
            replica.reads.into(),
            replica.fault.clone().into(),
            replica.damaged.clone().into(),
        ]);
    }
    listing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_named_with_or_without_its_prefix() {
        assert_eq!((group_number("g3"), group_number("3")), (Ok(3), Ok(3)));
        assert!(group_number("n3").is_err_and(|reason| reason.contains("n3")));
    }
}
