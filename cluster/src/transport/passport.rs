//! Who calls whom: stamped on every call, checked at the door.
//!
//! Invariant: a call is served only by the node of the cluster it was meant for, and only for a caller of the same
//! cluster whose data directory is not older than one already seen.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use covey_state::NodeId;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::identity::Identity;

const CLUSTER: &str = "covey-cluster";
const FROM: &str = "covey-from";
const INCARNATION: &str = "covey-incarnation";
const TO: &str = "covey-to";

/// Writes both sides into every call.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    fields: [(&'static str, MetadataValue<Ascii>); 4],
}

impl Stamp {
    pub(crate) fn new(identity: &Identity, to: NodeId) -> Self {
        let field = |text: String| {
            MetadataValue::try_from(text).expect("digits, letters and hyphens are allowed in metadata")
        };
        Self {
            fields: [
                (CLUSTER, field(identity.cluster.to_string())),
                (FROM, field(identity.node.to_string())),
                (INCARNATION, MetadataValue::from(identity.incarnation)),
                (TO, field(to.to_string())),
            ],
        }
    }
}

impl Interceptor for Stamp {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.fields {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

/// Checks the stamp of every call.
#[derive(Debug)]
pub(crate) struct Gate {
    identity: Identity,
    /// The highest incarnation seen of each peer.
    seen: Mutex<BTreeMap<NodeId, u64>>,
}

impl Gate {
    pub(crate) fn new(identity: Identity) -> Self {
        Self {
            identity,
            seen: Mutex::default(),
        }
    }

    /// The caller, if the call is meant for this node.
    pub(crate) fn admit(&self, metadata: &MetadataMap) -> Result<NodeId, Status> {
        let cluster: Uuid = field(metadata, CLUSTER)?;
        let from: NodeId = field(metadata, FROM)?;
        let incarnation: u64 = field(metadata, INCARNATION)?;
        let to: NodeId = field(metadata, TO)?;
        if cluster != self.identity.cluster || to != self.identity.node {
            let meant = format!(
                "this is {}, the call is for node {to} of cluster {cluster}",
                self.identity
            );
            tracing::warn!(caller = %from, %cluster, %to, "refused a call that is not for this node");
            return Err(Status::failed_precondition(meant));
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = seen.entry(from).or_insert(incarnation);
        if incarnation < *newest {
            tracing::warn!(caller = %from, incarnation, newest, "refused a call from an old copy of a node's data");
            return Err(Status::failed_precondition(format!(
                "node {from} calls as incarnation {incarnation}, but incarnation {newest} was here before"
            )));
        }
        *newest = incarnation;
        Ok(from)
    }
}

fn field<T: FromStr>(metadata: &MetadataMap, name: &'static str) -> Result<T, Status> {
    metadata
        .get(name)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Status::unauthenticated(format!("metadata field `{name}` is missing or malformed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(node: u64, incarnation: u64) -> Identity {
        Identity {
            cluster: Uuid::from_u128(7),
            node: NodeId::new(node),
            incarnation,
        }
    }

    fn call(from: Identity, to: u64) -> MetadataMap {
        Stamp::new(&from, NodeId::new(to))
            .call(Request::new(()))
            .unwrap()
            .metadata()
            .clone()
    }

    #[test]
    fn a_call_for_this_node_is_admitted() {
        let gate = Gate::new(identity(2, 1));
        assert_eq!(gate.admit(&call(identity(1, 5), 2)).unwrap(), NodeId::new(1));
    }

    #[test]
    fn a_call_for_another_node_or_cluster_is_refused_with_this_nodes_name() {
        let gate = Gate::new(identity(2, 1));
        let elsewhere = Identity {
            cluster: Uuid::from_u128(8),
            ..identity(1, 1)
        };
        for metadata in [call(identity(1, 1), 3), call(elsewhere, 2)] {
            let status = gate.admit(&metadata).unwrap_err();
            assert_eq!(status.code(), tonic::Code::FailedPrecondition);
            assert!(status.message().contains("this is node n2"), "{status}");
        }
    }

    #[test]
    fn an_older_incarnation_is_refused_after_a_newer_one() {
        let gate = Gate::new(identity(2, 1));
        gate.admit(&call(identity(1, 5), 2)).unwrap();
        assert!(gate.admit(&call(identity(1, 4), 2)).is_err());
        gate.admit(&call(identity(1, 6), 2)).unwrap();
    }

    #[test]
    fn a_call_without_a_stamp_is_refused() {
        assert!(Gate::new(identity(2, 1)).admit(&MetadataMap::new()).is_err());
    }
}
