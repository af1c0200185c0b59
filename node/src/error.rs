//! Everything that can go wrong above the Raft host, and the one place where it becomes a gRPC status.

use std::time::Duration;

use covey_state::Rejection;
use tonic::{Code, Status};

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
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    /// A thing that does not exist.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { kind, name: name.into() }
    }

    /// Something that may work later.
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::Unavailable { what: what.into(), source: None }
    }

    /// A failure of the program itself.
    pub fn internal(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Internal { what: what.into(), source: source.into() }
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
            Self::Busy { .. } => (Code::ResourceExhausted, "busy"),
            Self::DeadlineExceeded { .. } => (Code::DeadlineExceeded, "deadline_exceeded"),
            Self::Storage(_) => (Code::DataLoss, "storage"),
            Self::Internal { .. } => (Code::Internal, "internal"),
        }
    }
}

/// The text of an error and of everything beneath it.
fn chain(error: &dyn std::error::Error) -> String {
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
        let mut status = Self::new(code, chain(&failure));
        status.metadata_mut().insert("covey-code", tonic::metadata::MetadataValue::from_static(name));
        status
    }
}
