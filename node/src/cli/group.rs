//! `covey group`: where the groups are and how far.

use covey_proto::v1;
use covey_proto::v1::list_groups_reply::Replica;

use super::client::Access;
use super::output::Listing;
use super::trouble::Trouble;

/// Verbs of `covey group`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Group {
    /// List the replicas of every group
    #[command(after_help = "Examples:\n  covey group list\n  covey group list --all-nodes --output json")]
    List {
        /// Ask every node, not only the answering one
        #[arg(long)]
        all_nodes: bool,
    },
    /// Build a snapshot of a group on the answering node now
    #[command(after_help = "Examples:\n  covey group snapshot 3 --endpoint http://127.0.0.1:7410")]
    Snapshot {
        /// The group's number; 0 is the control group
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

fn listing(replicas: &[Replica]) -> Listing {
    let mut listing = Listing::new(&[
        "group", "node", "role", "term", "leader", "voters", "learners", "log", "applied", "snapshot",
        "fault",
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
            replica.fault.clone().into(),
        ]);
    }
    listing
}
