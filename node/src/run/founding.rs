//! Making the cluster: the first node votes alone in every group and asks group 0 to write the cluster down.
//!
//! Every step may be repeated, so a crash in between is mended by the next start.

use anyhow::Context as _;
use covey_cluster::{Host, Peer};
use covey_state::{Command, GroupId, Rejection, RequestId};
use tokio::time::{Duration, Instant};

use crate::api::Caller;
use crate::config::Config;
use crate::error::Failure;
use crate::identity::{DataDir, Founding, Identity};
use crate::ledger::Ledger;
use crate::membership::spec_of;

/// How long the first election and the first entry may take.
const FOUNDING_LIMIT: Duration = Duration::from_secs(60);

/// Gives the node its own replica of every group, with itself as the only voter.
pub(super) async fn bootstrap(host: &Host, config: &Config, identity: &Identity) -> anyhow::Result<()> {
    let spec = spec_of(config);
    let own = Peer {
        node: identity.node_id,
        peer_addr: spec.peer_addr,
        api_addr: spec.api_addr,
    };
    for group in (0..=identity.groups).map(GroupId::new) {
        let made = host.bootstrap_group(group, vec![own.clone()]).await;
        made.with_context(|| format!("cannot make group {group}"))?;
    }
    Ok(())
}

/// Writes the cluster down in group 0, then forgets that this node is founding it.
pub(super) async fn write_down(
    ledger: &Ledger,
    config: &Config,
    data: &DataDir,
    identity: Identity,
) -> anyhow::Result<()> {
    let Some(Founding {
        name,
        replication_factor,
    }) = identity.founding.clone()
    else {
        return Ok(());
    };
    let id = identity.cluster_id.as_u128();
    let first = spec_of(config);
    let command = Command::InitCluster {
        id,
        name,
        groups: identity.groups,
        replication_factor,
        first,
    };
    let caller = Caller::new(id, "founding", Instant::now() + FOUNDING_LIMIT);
    match ledger
        .ask(&caller, GroupId::CONTROL, RequestId::Unique(id, 0), command)
        .await
    {
        Ok(_) | Err(Failure::Rejected(Rejection::Exists { .. })) => {}
        Err(failure) => return Err(failure).context("cannot make the cluster"),
    }
    data.store(&Identity {
        founding: None,
        ..identity
    })
}
