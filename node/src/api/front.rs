//! What every request passes first: it gets its caller, its deadline, its span, and is counted.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use covey_state::Rejection;
use futures::StreamExt as _;
use prost::Message as _;
use prost_types::{FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code, Status};
use tracing::Instrument;
use uuid::Uuid;

use super::caller::{Caller, DEADLINE_DEFAULT, REQUEST_ID, USER};
use crate::context::Context;
use crate::error::Failure;
use crate::membership::Membership;

/// The longest deadline that a request may set for itself.
const DEADLINE_MAX: Duration = Duration::from_secs(6 * 3600);

/// Requests that clients have begun and that have no answer yet, on one node. More would only wait for each other, and
/// most of them in vain.
const UNANSWERED_MAX: usize = 2_048;

/// When a request that found no room should come again.
const ROOM_AFTER: Duration = Duration::from_millis(100);

/// What is read of a request that found no room, and how long that may take.
const DISCARDED_MAX: usize = 1 << 20;
const DISCARD_WITHIN: Duration = Duration::from_millis(100);

/// The services that this is about. Operators, other nodes and health checks are let in however full it is.
const BUSY_SERVICES: [&str; 5] = [
    "covey.v1.Features/",
    "covey.v1.Registry/",
    "covey.v1.Training/",
    "covey.v1.Serving/",
    "covey.v1.Monitoring/",
];

/// Every method of the API, as requests name it.
static METHODS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let described = [
        covey_proto::FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    let files = described
        .iter()
        .flat_map(|set| FileDescriptorSet::decode(*set).unwrap_or_default().file);
    let methods = files.flat_map(|file| {
        let package = file.package().to_owned();
        let of_service = move |service: ServiceDescriptorProto| {
            let service_name = format!("{package}.{}", service.name());
            let name = move |method: MethodDescriptorProto| format!("{service_name}/{}", method.name());
            service.method.into_iter().map(name)
        };
        file.service.into_iter().flat_map(of_service)
    });
    methods.collect()
});

/// What the front needs of the node.
#[derive(Clone)]
pub struct Gate {
    /// The node.
    pub(super) context: Context,
    /// Tells whether this node still belongs to the cluster.
    pub(super) membership: Membership,
    room: Arc<Semaphore>,
}

impl Gate {
    /// The gate of a node.
    pub fn new(context: Context, membership: Membership) -> Self {
        let room = Arc::new(Semaphore::new(UNANSWERED_MAX));
        Self {
            context,
            membership,
            room,
        }
    }

    /// A place among the requests that are being answered, until it is dropped.
    fn enter(&self, method: &str) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        if let Some(node) = self.membership.expelled() {
            return Err(Failure::Rejected(Rejection::NodeRemoved(node)));
        }
        if !BUSY_SERVICES.iter().any(|service| method.starts_with(service)) {
            return Ok(None);
        }
        let place = Arc::clone(&self.room).try_acquire_owned();
        place.map(Some).map_err(|_| Failure::Busy {
            what: format!(
                "{}, which is answering {UNANSWERED_MAX} other requests,",
                self.context.ledger.node()
            ),
            retry_after: ROOM_AFTER,
        })
    }
}

/// Makes the caller, runs the request in a span of its own until its deadline, and counts it.
pub async fn admit(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let metrics = &gate.context.metrics;
    let started = Instant::now();
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let caller = caller_of(request.headers(), started);
    let deadline = caller.deadline;
    let id = format!("{:032x}", caller.request_id);
    let span = tracing::info_span!("request", %method, %id, by = %caller.by);
    request.extensions_mut().insert(caller);

    let answer = match gate.enter(&method) {
        Err(failure) => {
            discard(request.into_body()).await;
            Ok(refused(failure))
        }
        Ok(_place) => {
            timeout_at(deadline, next.run(request))
                .instrument(span.clone())
                .await
        }
    };
    let mut response = answer.unwrap_or_else(|_| refused(Failure::DeadlineExceeded { what: method.clone() }));
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let code = code_of(&response);
    let seconds = started.elapsed().as_secs_f64();
    // Whatever path a caller makes up must not become a label of its own.
    let label = if METHODS.contains(&method) {
        method.as_str()
    } else {
        "unknown"
    };
    metrics.requests.with_label_values(&[label, &code]).inc();
    metrics
        .request_seconds
        .with_label_values(&[label, &code])
        .observe(seconds);
    span.in_scope(|| tracing::debug!(%code, seconds, "request answered"));
    response
}

/// Reads what a refused request brings, up to a limit. The rest is reset; HTTP/2 allows few resets before it ends the whole
/// connection, and with it the requests that were let in.
async fn discard(body: Body) {
    let mut parts = body.into_data_stream();
    let reading = async {
        let mut left = DISCARDED_MAX;
        while let Some(Ok(part)) = parts.next().await
            && part.len() <= left
        {
            left -= part.len();
        }
    };
    // Whoever takes longer is reset.
    let _ = timeout(DISCARD_WITHIN, reading).await;
}

fn caller_of(headers: &HeaderMap, now: Instant) -> Caller {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let request_id = text(REQUEST_ID)
        .and_then(|id| Uuid::try_parse(id).ok())
        .unwrap_or_else(Uuid::new_v4);
    let by = text(USER).filter(|user| !user.is_empty()).unwrap_or("anonymous");
    let allowed = text("grpc-timeout")
        .and_then(timeout_of)
        .unwrap_or(DEADLINE_DEFAULT)
        .min(DEADLINE_MAX);
    Caller::new(request_id.as_u128(), by, now + allowed)
}

/// A gRPC timeout: up to eight digits and a unit.
fn timeout_of(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

fn refused(failure: Failure) -> Response {
    Status::from(failure).into_http::<Body>().into_response()
}

/// The gRPC code of an answer as far as its head tells; a stream that fails later has begun well.
fn code_of(response: &Response) -> String {
    match response
        .headers()
        .get("grpc-status")
        .map(|value| Code::from_bytes(value.as_bytes()))
    {
        Some(code) => format!("{code:?}"),
        None if response.status().is_success() => "Ok".to_owned(),
        None => response.status().as_u16().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_a_caller_makes_up_is_no_label_of_the_metrics_even_if_it_is_refused() {
        for known in [
            "covey.v1.Features/Push",
            "covey.v1.Cluster/Join",
            "grpc.health.v1.Health/Check",
        ] {
            assert!(METHODS.contains(known), "{known} of {METHODS:?}");
        }
        assert!(!METHODS.contains("covey.v1.Features/MadeUp"));
    }

    #[test]
    fn a_grpc_timeout_is_digits_and_a_unit() {
        assert_eq!(timeout_of("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout_of("3S"), Some(Duration::from_secs(3)));
        for text in ["", "S", "-1S", "123456789S", "5x", "5é"] {
            assert_eq!(timeout_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_request_without_metadata_is_anonymous_and_gets_an_id_and_a_deadline() {
        let now = Instant::now();
        let caller = caller_of(&HeaderMap::new(), now);
        assert_eq!(
            (caller.by.as_str(), caller.deadline),
            ("anonymous", now + DEADLINE_DEFAULT)
        );
        assert_ne!(caller.request_id, 0);
    }
}
