//! What every request passes first: it gets its caller, its deadline, its span, and is counted.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use covey_state::Rejection;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status};
use tracing::Instrument;
use uuid::Uuid;

use super::caller::{Caller, DEADLINE_DEFAULT, REQUEST_ID, USER};
use crate::context::Context;
use crate::error::Failure;
use crate::membership::Membership;

/// The longest deadline that a request may set for itself.
const DEADLINE_MAX: Duration = Duration::from_secs(3600);

/// What the front needs of the node.
#[derive(Clone)]
pub struct Gate {
    /// The node.
    pub context: Context,
    /// Tells whether this node still belongs to the cluster.
    pub membership: Membership,
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

    let answer = match gate.membership.expelled() {
        Some(node) => Ok(refused(Failure::Rejected(Rejection::NodeRemoved(node)))),
        None => {
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
    let label = if is_known(&response) {
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
    Status::from(failure)
        .into_http::<axum::body::Body>()
        .into_response()
}

/// Whether the path was one that this node serves.
fn is_known(response: &Response) -> bool {
    let code = response
        .headers()
        .get("grpc-status")
        .map(|value| Code::from_bytes(value.as_bytes()));
    response.status() != StatusCode::NOT_FOUND && code != Some(Code::Unimplemented)
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
