//! Everything that can go wrong above the Raft host, and the one place where it becomes a gRPC status.

mod retry;

use std::time::Duration;

use covey_proto::convert::InvalidField;
use covey_state::{Fault, NodeId, Rejection};
use tonic::{Code, Status};

use crate::clock::Skew;

/// When to try again after a queue of the consensus layer was full.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(100);

/// The header of an answer that names what went wrong, for programs.
const CODE_HEADER: &str = "covey-code";
/// Names whose gRPC code does not tell them apart from others.
const PASSED_ON: [&str; 5] = ["limit", "node_removed", "too_old", "wrong_state", "busy"];

/// An error of any type that can be sent between threads.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request was not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The state machine refused it: deterministic, nothing changed.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The request is wrong, found before consensus.
    #[error("{field} is invalid: {reason}")]
    Invalid {
        /// The field's path.
        field: String,
        /// What is wrong with which value.
        reason: String,
    },
    /// The thing does not exist.
    #[error("{kind} `{name}` does not exist")]
    NotFound {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The cluster cannot do it now; the same request may succeed later.
    #[error("{what} is not available now; try again")]
    Unavailable {
        /// What is not available.
        what: String,
        /// Why, if known.
        #[source]
        source: Option<BoxError>,
    },
    /// This node's clock is doubted, or a leader does not take its time. Other nodes may write.
    #[error(transparent)]
    Clock(#[from] Skew),
    /// A queue is full.
    #[error("{what} is busy; try again in {} ms", retry_after.as_millis())]
    Busy {
        /// Whose queue.
        what: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The caller's deadline passed. The request may or may not have been carried out; repeat it with the same id.
    #[error("{what} did not finish before the deadline")]
    DeadlineExceeded {
        /// What did not finish.
        what: String,
    },
    /// The local store failed.
    #[error("local storage failed")]
    Storage(#[from] covey_storage::Error),
    /// The Raft host failed in a way that trying again does not mend.
    #[error("the consensus layer failed")]
    Cluster(#[source] covey_cluster::Error),
    /// Another node refused, in its own words.
    #[error("node {node} answered: {}", status.message())]
    Peer {
        /// The node.
        node: NodeId,
        /// Its answer; the code is passed on.
        status: Box<Status>,
    },
    /// A state of the program that must not be.
    #[error("{what} failed")]
    Internal {
        /// What failed.
        what: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

impl Failure {
    /// Bad input: the field's path and what is wrong with which value.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// A thing that does not exist.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound {
            kind,
            name: name.into(),
        }
    }

    /// Something that may work later.
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable {
            what: what.into(),
            source: None,
        }
    }

    /// A failure of the program itself.
    pub fn internal(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Internal {
            what: what.into(),
            source: source.into(),
        }
    }

    /// The answer of another node that was not what was asked for.
    pub fn from_peer(node: NodeId, status: Status) -> Self {
        match status.code() {
            Code::Unavailable | Code::Cancelled | Code::Unknown => {
                let source = Some(status.into());
                Self::Unavailable {
                    what: format!("node {node}"),
                    source,
                }
            }
            Code::DeadlineExceeded => Self::DeadlineExceeded {
                what: format!("node {node}"),
            },
            Code::ResourceExhausted if peer_name(&status) != "limit" => Self::Busy {
                what: format!("node {node}"),
                retry_after: retry::retry_after(&status).unwrap_or(OVERLOAD_PAUSE),
            },
            _ => Self::Peer {
                node,
                status: Box::new(status),
            },
        }
    }

    /// The same of one thing among several: the field of a refusal gets the thing in front.
    pub fn about(self, kind: &str, name: &str) -> Self {
        match self {
            Self::Rejected(Rejection::Invalid { field, reason }) => Self::Rejected(Rejection::Invalid {
                field: format!("{field} of {kind} `{name}`"),
                reason,
            }),
            other => other,
        }
    }

    /// Whether asking again later, or asking another node, may work.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unavailable { .. }
            | Self::Clock(_)
            | Self::Busy { .. }
            | Self::DeadlineExceeded { .. }
            | Self::Storage(_)
            | Self::Cluster(_) => true,
            // A damaged record and a node that is out of the cluster are that node's own trouble.
            Self::Peer { status, .. } => {
                status.code() == Code::DataLoss || peer_name(status) == "node_removed"
            }
            Self::Rejected(_) | Self::Invalid { .. } | Self::NotFound { .. } | Self::Internal { .. } => false,
        }
    }

    /// The gRPC code and the stable name that programs match on.
    fn code(&self) -> (Code, &'static str) {
        match self {
            Self::Rejected(rejection) => match rejection {
                Rejection::Invalid { .. } => (Code::InvalidArgument, "invalid"),
                Rejection::NotFound { .. } => (Code::NotFound, "not_found"),
                Rejection::Exists { .. } => (Code::AlreadyExists, "exists"),
                Rejection::Conflict { .. } => (Code::Aborted, "conflict"),
                Rejection::WrongState { .. } => (Code::FailedPrecondition, "wrong_state"),
                Rejection::Limit { .. } => (Code::ResourceExhausted, "limit"),
                Rejection::NodeRemoved(_) => (Code::FailedPrecondition, "node_removed"),
                Rejection::TooOld(_) => (Code::FailedPrecondition, "too_old"),
            },
            Self::Invalid { .. } => (Code::InvalidArgument, "invalid"),
            Self::NotFound { .. } => (Code::NotFound, "not_found"),
            Self::Unavailable { .. } => (Code::Unavailable, "unavailable"),
            Self::Clock(_) => (Code::Unavailable, "clock_skew"),
            Self::Busy { .. } => (Code::ResourceExhausted, "busy"),
            Self::DeadlineExceeded { .. } => (Code::DeadlineExceeded, "deadline_exceeded"),
            Self::Storage(_) => (Code::DataLoss, "storage"),
            Self::Peer { status, .. } => (status.code(), peer_name(status)),
            Self::Cluster(_) | Self::Internal { .. } => (Code::Internal, "internal"),
        }
    }
}

impl From<InvalidField> for Failure {
    fn from(fault: InvalidField) -> Self {
        Self::Invalid {
            field: fault.field,
            reason: fault.reason,
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault.0.downcast::<covey_storage::Error>() {
            Ok(error) => Self::Storage(*error),
            Err(other) => Self::Internal {
                what: "reading the state of a group".to_owned(),
                source: other,
            },
        }
    }
}

impl From<covey_cluster::Error> for Failure {
    fn from(error: covey_cluster::Error) -> Self {
        use covey_cluster::Error;
        match error {
            Error::NotHosted { group } | Error::Stopped { group, .. } | Error::Damaged { group, .. } => {
                Self::Unavailable {
                    what: format!("group {group}"),
                    source: Some(error.into()),
                }
            }
            Error::Deadline {
                operation,
                group,
                obstacle,
            } => Self::DeadlineExceeded {
                what: format!("{operation} on group {group} ({obstacle})"),
            },
            Error::Overloaded {
                queue, retry_after, ..
            } => Self::Busy {
                what: queue.into_owned(),
                retry_after,
            },
            Error::TooLarge { bytes, limit, .. } => Self::Rejected(Rejection::Limit {
                what: format!("one change of {bytes} bytes"),
                limit: limit as u64,
            }),
            Error::Refused { .. } => Self::Unavailable {
                what: "the change of members".to_owned(),
                source: Some(error.into()),
            },
            Error::UnknownNode { node } | Error::Address { node, .. } => Self::Unavailable {
                what: format!("node {node}"),
                source: Some(error.into()),
            },
            Error::ClockAhead { .. } => Self::Clock(Skew::Refused(error)),
            Error::Storage { source, .. } => Self::Storage(source),
            Error::Config { .. } | Error::File { .. } | Error::Decode { .. } | Error::Metrics { .. } => {
                Self::Cluster(error)
            }
        }
    }
}

/// The stable name in another node's answer, passed on; one that this version does not know follows from the code.
fn peer_name(status: &Status) -> &'static str {
    let told = status
        .metadata()
        .get(CODE_HEADER)
        .and_then(|name| name.to_str().ok());
    if let Some(known) = told.and_then(|told| PASSED_ON.iter().find(|known| **known == told)) {
        return known;
    }
    match status.code() {
        Code::InvalidArgument => "invalid",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "exists",
        Code::Aborted => "conflict",
        Code::FailedPrecondition => "wrong_state",
        Code::ResourceExhausted => "busy",
        Code::DataLoss => "storage",
        _ => "internal",
    }
}

/// The text of an error and of everything beneath it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let (code, name) = failure.code();
        let text = chain(&failure);
        let mut status = if let Failure::Busy { retry_after, .. } = &failure {
            retry::busy(text, *retry_after)
        } else {
            Self::new(code, text)
        };
        status
            .metadata_mut()
            .insert(CODE_HEADER, tonic::metadata::MetadataValue::from_static(name));
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_peer(failure: Failure) -> Failure {
        Failure::from_peer(NodeId::new(2), failure.into())
    }

    #[test]
    fn a_full_queue_of_another_node_passes_and_a_limit_does_not() {
        let busy = Failure::Busy {
            what: "queue".to_owned(),
            retry_after: OVERLOAD_PAUSE,
        };
        let busy = from_peer(busy);
        assert!(
            matches!(busy, Failure::Busy { .. }) && busy.may_pass(),
            "{busy:?}"
        );
        let limit = from_peer(Failure::Rejected(Rejection::Limit {
            what: "steps".to_owned(),
            limit: 9,
        }));
        assert_eq!(limit.code(), (Code::ResourceExhausted, "limit"));
        assert!(!limit.may_pass());
    }

    #[test]
    fn the_trouble_of_one_node_passes_and_a_wrong_request_does_not() {
        let removed = from_peer(Failure::Rejected(Rejection::NodeRemoved(NodeId::new(2))));
        assert_eq!(removed.code(), (Code::FailedPrecondition, "node_removed"));
        assert!(removed.may_pass());
        let damaged = Failure::from_peer(NodeId::new(2), Status::data_loss("checksum"));
        assert!(damaged.may_pass());
        let state = Failure::from_peer(NodeId::new(2), Status::failed_precondition("no"));
        assert_eq!(state.code().1, "wrong_state");
        assert!(!state.may_pass());
        assert!(!from_peer(Failure::invalid("rows", "no")).may_pass());
    }
}
