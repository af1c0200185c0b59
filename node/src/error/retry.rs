//! "Busy, try again in so long", as clients of gRPC understand it: `google.rpc.RetryInfo` among the details of the
//! status, and the plain metadata field `retry-after-ms` for those that do not decode details.

use std::time::Duration;

use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// The metadata field, in milliseconds.
const RETRY_AFTER_MS: &str = "retry-after-ms";

/// The type of the detail.
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`, as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// A status that says when to try again.
pub(super) fn busy(message: String, retry_after: Duration) -> Status {
    let delay = Delay {
        seconds: i64::try_from(retry_after.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(retry_after.subsec_nanos()).unwrap_or(0),
    };
    let detail = Detail {
        type_url: RETRY_INFO.to_owned(),
        value: RetryInfo {
            retry_delay: Some(delay),
        }
        .encode_to_vec(),
    };
    let status = RpcStatus {
        code: Code::ResourceExhausted as i32,
        message: message.clone(),
        details: vec![detail],
    };
    let mut metadata = MetadataMap::new();
    let milliseconds = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
    metadata.insert(RETRY_AFTER_MS, MetadataValue::from(milliseconds));
    Status::with_details_and_metadata(
        Code::ResourceExhausted,
        message,
        status.encode_to_vec().into(),
        metadata,
    )
}

/// When to try again, if a status says so.
pub(super) fn retry_after(status: &Status) -> Option<Duration> {
    let text = status.metadata().get(RETRY_AFTER_MS)?.to_str().ok()?;
    text.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_among_the_details_and_in_the_metadata() {
        let status = busy("the queue is full".to_owned(), Duration::from_millis(1_250));
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(retry_after(&status), Some(Duration::from_millis(1_250)));
        let decoded = RpcStatus::decode(status.details()).unwrap();
        assert_eq!(decoded.message, "the queue is full");
        let info = RetryInfo::decode(decoded.details[0].value.as_slice()).unwrap();
        let delay = info.retry_delay.unwrap();
        assert_eq!((delay.seconds, delay.nanos), (1, 250_000_000));
    }
}
