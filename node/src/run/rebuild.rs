//! A node whose stores cannot be opened, because bytes in them are damaged, begins anew with nothing, from the others.
//!
//! Which groups have acknowledged something behind the damage cannot be read. So no group is opened, and none may count
//! on this node's vote or entries any more:
//!
//! 1. A host without any group asks the leader of every group to let this node go. A leader does so when a majority of the
//!    voters is intact without it, and commits a membership without it. Until all have, the damaged stores stay as they are.
//! 2. A mark says that all have. Nobody can admit this node meanwhile: it serves no port.
//! 3. The stores are removed, and then the mark.
//!
//! Then the node starts as one that has nothing: its groups find it missing and admit it on probation, as after every repair.
//! A crash before step 2 begins again; one after it goes on with step 3.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use covey_cluster::{Host, HostConfig, PlanMachine, Stores};
use covey_proto::v1;
use covey_proto::v1::cluster_client::ClusterClient;
use covey_state::{GroupId, NodeId};
use covey_storage::{RaftDb, RaftDbConfig, StateDb, StateDbConfig};
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

use crate::config::Config;
use crate::error::{Failure, chain};
use crate::identity::Identity;
use crate::membership::ask_dismissal;
use crate::peers::Peers;

/// The mark of step 2.
const LET_GO: &str = "let-go";
/// Where the host without groups keeps its empty stores.
const ASIDE: &str = "aside";
/// How often a group that could not let this node go is asked again.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long a node may take to say how many groups there are.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Whether stores could not be opened because of damage in them.
pub(super) fn is_damage(failure: &anyhow::Error) -> bool {
    let mut causes = failure.chain();
    causes.any(|cause| {
        let storage = cause.downcast_ref::<covey_storage::Error>();
        storage.is_some_and(covey_storage::Error::is_corruption)
    })
}

/// Steps 1 to 3. It takes as long as the groups need; each that has to wait says why.
pub(super) async fn begin_anew(config: &Config, identity: &Identity) -> anyhow::Result<()> {
    let aside = config.store_path(ASIDE);
    remove(&aside)?;
    let host = without_groups(&aside, identity).await?;
    let groups = groups_of_cluster(identity).await;
    let peers = Peers::new(host.clone());
    for group in (0..groups).map(GroupId::new) {
        be_let_go(&peers, identity, group).await;
    }
    host.shutdown().await;
    let mark = config.store_path(LET_GO);
    let made = fs::File::create(&mark).and_then(|file| file.sync_all());
    made.with_context(|| format!("cannot write `{}`", mark.display()))?;
    sync(&config.data_dir)?;
    tracing::warn!(
        groups,
        "all groups have let this node go; it begins anew with nothing"
    );
    finish(config)
}

/// Step 3, if step 2 was reached.
pub(super) fn finish(config: &Config) -> anyhow::Result<()> {
    let mark = config.store_path(LET_GO);
    if !mark.exists() {
        return Ok(());
    }
    for part in [ASIDE, "state", "snapshots"] {
        remove(&config.store_path(part))?;
    }
    RaftDb::remove(&config.store_path("raft"))?;
    sync(&config.data_dir)?;
    fs::remove_file(&mark).with_context(|| format!("cannot remove `{}`", mark.display()))?;
    sync(&config.data_dir)
}

/// A host that can ask others and has nothing itself.
async fn without_groups(aside: &Path, identity: &Identity) -> anyhow::Result<Host> {
    let own = covey_cluster::Identity {
        cluster: identity.cluster_id,
        node: identity.node_id,
        incarnation: identity.incarnation,
    };
    let stores = Stores {
        raftdb: RaftDb::open(&aside.join("raft"), RaftDbConfig::default())?,
        statedb: StateDb::open(&aside.join("state"), StateDbConfig::default())?,
        snapshot_dir: aside.join("snapshots"),
    };
    let host = Host::start(HostConfig::default(), own, stores, Arc::new(PlanMachine))
        .await
        .context("cannot ask the other nodes")?;
    for seed in &identity.seeds {
        host.knows(seed.clone())?;
    }
    Ok(host)
}

/// How many groups the cluster has, the control group included, as the first node says that can tell.
async fn groups_of_cluster(identity: &Identity) -> u64 {
    let mut told = None;
    loop {
        for seed in &identity.seeds {
            match timeout(ANSWER_LIMIT, ask_groups(&seed.api_addr)).await {
                Ok(Ok(groups)) => return groups,
                Ok(Err(error)) => tell(&mut told, &format!("{}: {error:#}", seed.node)),
                Err(_) => tell(&mut told, &format!("{} gives no answer", seed.node)),
            }
        }
        // sleep: nothing tells when somebody can answer.
        sleep(ASK_EVERY).await;
    }
}

async fn ask_groups(address: &str) -> anyhow::Result<u64> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    let status = ClusterClient::new(channel)
        .get_status(v1::GetStatusRequest {})
        .await?;
    Ok(status.into_inner().groups + 1)
}

/// Returns once a group has no place for this node any more.
async fn be_let_go(peers: &Peers, identity: &Identity, group: GroupId) {
    let mut told = None;
    loop {
        let candidates: Vec<NodeId> = identity.seeds.iter().map(|seed| seed.node).collect();
        let asked: Result<(), Failure> = ask_dismissal(peers, candidates, group, identity.node_id).await;
        let Err(failure) = asked else { return };
        tell(&mut told, &format!("{group}: {}", chain(&failure)));
        // sleep: nothing tells when the group can.
        sleep(ASK_EVERY).await;
    }
}

/// Says why it has to wait, once.
fn tell(told: &mut Option<String>, reason: &str) {
    if told.as_deref() != Some(reason) {
        tracing::warn!(reason, "this node cannot begin anew yet");
        *told = Some(reason.to_owned());
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

fn sync(directory: &Path) -> anyhow::Result<()> {
    let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
    synced.with_context(|| format!("cannot sync `{}`", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    fn config(directory: &Path) -> Config {
        let options = Options {
            data_dir: Some(directory.to_owned()),
            ..Options::default()
        };
        Config::resolve(options).unwrap()
    }

    #[test]
    fn stores_are_removed_only_after_all_groups_have_let_the_node_go_and_then_with_what_a_rewrite_has_left() {
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path());
        let parts = ["state", "snapshots", "raft", "raft.new", "aside"];
        for part in parts {
            fs::create_dir_all(config.store_path(part)).unwrap();
        }
        fs::write(config.store_path("raft.rewrite"), "").unwrap();
        finish(&config).unwrap();
        assert!(parts.iter().all(|part| config.store_path(part).exists()));
        fs::write(config.store_path(LET_GO), "").unwrap();
        finish(&config).unwrap();
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn only_damage_is_a_reason_to_begin_anew() {
        let damaged = covey_storage::Error::Corrupt {
            place: covey_storage::Place::Database { path: "raft".into() },
            reason: "a checksum does not fit".to_owned(),
        };
        assert!(is_damage(
            &anyhow::Error::new(damaged).context("cannot open the stores")
        ));
        let other = covey_storage::Error::Injected("somewhere");
        assert!(!is_damage(
            &anyhow::Error::new(other).context("cannot open the stores")
        ));
    }
}
