//! Who asks, which request it is, and until when they wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use covey_state::RequestId;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use uuid::Uuid;

/// Metadata that carries the request id, as 32 hexadecimal digits or a UUID.
pub const REQUEST_ID: &str = "covey-request-id";
/// Metadata that names the user, for the audit trail.
pub const USER: &str = "covey-user";
/// How long a request may take that names no deadline.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// Part numbers that `next_request_id` gives begin here; smaller ones are for callers that number parts themselves.
const FIRST_PART: u32 = 1 << 16;

/// The caller of one request. Clones share the request's part numbers.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The identity that repeats of the request share.
    pub request_id: u128,
    /// The user, or the driver inside the node.
    pub by: String,
    /// When the answer is of no more use.
    pub deadline: Instant,
    parts: Arc<AtomicU32>,
}

impl Caller {
    /// A caller with a given request id.
    pub fn new(request_id: u128, by: impl Into<String>, deadline: Instant) -> Self {
        Self {
            request_id,
            by: by.into(),
            deadline,
            parts: Arc::new(AtomicU32::new(FIRST_PART)),
        }
    }

    /// A driver inside this node, with a fresh request id and the default deadline.
    pub fn internal(by: &str) -> Self {
        Self::new(Uuid::new_v4().as_u128(), by, Instant::now() + DEADLINE_DEFAULT)
    }

    /// The caller of a gRPC request, as the server's front found it.
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        match request.extensions().get::<Self>() {
            Some(caller) => caller.clone(),
            None => Self::internal("anonymous"),
        }
    }

    /// The same caller with this deadline, if it is earlier.
    #[must_use]
    pub fn by_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = self.deadline.min(deadline);
        self
    }

    /// The time that is left.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The id of the next part of this request.
    pub fn next_request_id(&self) -> RequestId {
        self.request_part(self.parts.fetch_add(1, Ordering::Relaxed))
    }

    /// The id of a part of this request that the caller numbers itself, below 65,536.
    pub fn request_part(&self, part: u32) -> RequestId {
        RequestId::Unique(self.request_id, part)
    }

    /// A request to another node on this caller's behalf: same request id, same user, the time that is left.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.remaining());
        let id = format!("{:032x}", self.request_id);
        let metadata = request.metadata_mut();
        metadata.insert(REQUEST_ID, id.parse().expect("hexadecimal digits are ASCII"));
        if let Ok(user) = self.by.parse::<MetadataValue<Ascii>>() {
            metadata.insert(USER, user);
        }
        request
    }
}
