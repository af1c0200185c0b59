//! What operators ask about namespaces: which there are, what they are to survive, and whether they would.

use covey_proto::convert::cluster::policy;
use covey_proto::v1;
use covey_state::namespace::{Namespace, Policy};
use covey_state::placement::{feasible, score};
use covey_state::{Command, GroupId};

use super::operate::fresh_catalog;
use crate::api::Caller;
use crate::catalog::CatalogCopy;
use crate::context::Context;
use crate::error::Failure;

/// All namespaces, as of everything decided before the call.
pub async fn list(context: &Context, caller: &Caller) -> Result<v1::ListNamespacesReply, Failure> {
    let copy = fresh_catalog(context, caller).await?;
    let namespaces = copy
        .namespaces
        .values()
        .map(|namespace| describe(&copy, namespace));
    Ok(v1::ListNamespacesReply {
        namespaces: namespaces.collect(),
    })
}

/// Makes a namespace, or changes what its groups are to survive.
pub async fn put(
    context: &Context,
    caller: &Caller,
    request: v1::PutNamespaceRequest,
) -> Result<v1::Namespace, Failure> {
    let command = Command::PutNamespace {
        name: request.name.clone(),
        policy: policy(request.home, request.survive)?,
        groups: (request.groups > 0).then_some(request.groups),
    };
    context
        .ledger
        .ask_unique(caller, GroupId::CONTROL, command)
        .await?;
    let copy = fresh_catalog(context, caller).await?;
    let found = copy.namespaces.get(&request.name);
    let found = found.ok_or_else(|| Failure::not_found("namespace", request.name))?;
    Ok(describe(&copy, found))
}

fn describe(copy: &CatalogCopy, namespace: &Namespace) -> v1::Namespace {
    let placed = || {
        namespace
            .span
            .iter()
            .filter_map(|group| copy.placements.get(&group).map(|placed| (group, placed)))
    };
    v1::Namespace {
        made: placed().all(|(_, placement)| placement.is_made()),
        broken: broken(copy, namespace).unwrap_or_default(),
        ..namespace.clone().into()
    }
}

/// Why what a namespace is to survive would not be survived: by its nodes, or by where its voters are to be now.
fn broken(copy: &CatalogCopy, namespace: &Namespace) -> Option<String> {
    let policy = &namespace.policy;
    if let Err(reason) = feasible(policy, copy.nodes.values()) {
        return Some(reason);
    }
    let factor = copy
        .cluster
        .as_ref()
        .map_or(1, |cluster| cluster.replication_factor);
    let wanted = policy.voters(factor as usize);
    namespace.span.iter().find_map(|group| {
        let placed = copy.placements.get(&group)?;
        let voters = copy
            .nodes
            .values()
            .filter(|node| placed.voters.contains(&node.id));
        let [at_home, within, ..] = score(policy, voters);
        let kept = match policy {
            Policy::Anywhere => true,
            Policy::SurviveZone { .. } => at_home == wanted && within >= 3,
            Policy::SurviveRegion { .. } => at_home == 2 && within == placed.voters.len(),
        };
        (!kept || placed.voters.len() < wanted).then(|| format!("group {group} is not placed so yet"))
    })
}
