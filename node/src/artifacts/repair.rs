//! Bringing home the chunks that this node should have: those of every version and dataset in the groups it hosts.

use std::time::Duration;

use covey_cluster::Consistency;
use covey_state::registry::Artifact;
use covey_state::{Key, Record};
use tokio_util::sync::CancellationToken;

use crate::api::Caller;
use crate::context::Context;
use crate::error::chain;
use crate::ledger::same_kind;

/// How often the manifests are gone through.
const PASS_EVERY: Duration = Duration::from_secs(20);

/// Fetches missing chunks until told to stop.
pub(crate) async fn keep_repaired(context: Context, stop: CancellationToken) {
    let mut pass = tokio::time::interval(PASS_EVERY);
    while stop.run_until_cancelled(pass.tick()).await.is_some() {
        for artifact in manifests(&context).await {
            for digest in &artifact.chunks {
                if !context.artifacts.store.contains(*digest)
                    && let Err(error) = context.artifacts.chunk(*digest).await
                {
                    tracing::warn!(artifact = artifact.name, %digest, %error, "artifact chunk is still missing here");
                }
            }
        }
    }
}

/// Every manifest in the groups that this node hosts.
async fn manifests(context: &Context) -> Vec<Artifact> {
    let caller = Caller::internal("artifact repair");
    let mut found = Vec::new();
    for group in context
        .ledger
        .data_groups()
        .filter(|group| context.ledger.hosts(*group))
    {
        for from in [
            Key::ModelVersion(String::new(), 0),
            Key::Dataset(String::new(), 0),
        ] {
            let records = context
                .ledger
                .scan_all(&caller, group, from, same_kind, Consistency::Local)
                .await;
            let records = records.unwrap_or_else(|error| {
                tracing::warn!(%group, error = chain(&error), "manifests not looked at; it is tried again");
                Vec::new()
            });
            for (_, record) in records {
                match record {
                    Record::ModelVersion(version) => found.extend(version.spec.artifacts),
                    Record::Dataset(manifest) => found.push(manifest.artifact),
                    // The scan stays within the two kinds above.
                    _ => {}
                }
            }
        }
    }
    found
}
