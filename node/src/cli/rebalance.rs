//! `covey rebalance`: plans where the groups should be anew, and says what moves and why.

use covey_proto::v1;

use super::client::Access;
use super::length::Length;
use super::node::wait_not_moving;
use super::output::{Listing, remark};
use super::trouble::Trouble;

/// Options of `covey rebalance`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    covey rebalance --dry-run      say what would move and why\n  \
    covey rebalance                move it\n\n\
    The cluster stays balanced without it. A rebalance forgets what `covey group move` and `transfer-leader` have\n\
    pinned, and takes the load and the bytes of now, even where they have changed by little.")]
pub(super) struct Rebalance {
    /// Only say what would move
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for the moves; 0s does not wait
    #[arg(long, default_value = "10m", value_name = "LENGTH")]
    wait: Length,
}

impl Rebalance {
    pub(super) async fn run(self, access: &Access) -> Result<(), Trouble> {
        let client = access.connect().await?;
        let request = v1::RebalanceRequest {
            dry_run: self.dry_run,
        };
        let reply = client
            .cluster()
            .rebalance(client.request(request))
            .await?
            .into_inner();
        let mut listing = Listing::new(&["group", "what", "from", "to", "why"]);
        for each in &reply.moves {
            listing.row([
                each.group.into(),
                each.what.clone().into(),
                each.from.clone().into(),
                each.to.clone().into(),
                each.why.clone().into(),
            ]);
        }
        listing.print(access.output);
        match (self.dry_run, reply.moves.len()) {
            (_, 0) => remark("nothing is to move"),
            (true, _) => remark("this was a dry run; without --dry-run it is done"),
            (false, _) => wait_not_moving(&client, "moving", self.wait).await?,
        }
        Ok(())
    }
}
