//! What waits to be sent to one peer: bounded, and in two priorities, so that votes and heartbeats pass the data.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use covey_proto::peer::v1::envelope::Body;
use covey_state::GroupId;
use tokio::sync::{mpsc, oneshot};

use crate::config::HostConfig;

/// Messages in one frame.
const FRAME_MESSAGES_MAX: usize = 256;

/// Bytes in one frame, unless a single message is larger. A heartbeat waits behind at most a few frames.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Which queue a message waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Votes, hand-overs and heartbeats: small, and late ones cost a leader its term.
    Urgent,
    /// Entries.
    Bulk,
}

/// Why a message got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// Too much waits already.
    #[error("outbox is full: {messages} messages or {bytes} bytes wait")]
    Full {
        /// The limit of messages.
        messages: usize,
        /// The bytes that wait.
        bytes: usize,
    },
    /// The peer cannot be reached, or the stream to it broke.
    #[error("peer is not reachable: {reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
}

/// A message and who waits for its answer.
pub(crate) struct Call {
    pub(crate) group: GroupId,
    pub(crate) body: Body,
    pub(crate) answer: oneshot::Sender<Result<Body, CallError>>,
    bytes: usize,
}

impl Call {
    /// Tells whoever waits that there will be no answer.
    pub(crate) fn fail(self, reason: &str) {
        // Nobody waits any more when the caller's time ran out.
        let _ = self.answer.send(Err(CallError::Unreachable {
            reason: reason.to_owned(),
        }));
    }
}

/// The sending end. Clones share the queues.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    urgent: mpsc::Sender<Call>,
    bulk: mpsc::Sender<Call>,
    queued_bytes: Arc<AtomicUsize>,
    messages_max: usize,
    bytes_max: usize,
}

/// The end that the link empties.
pub(crate) struct Inbox {
    urgent: mpsc::Receiver<Call>,
    bulk: mpsc::Receiver<Call>,
    queued_bytes: Arc<AtomicUsize>,
}

/// An empty outbox.
pub(crate) fn outbox(config: &HostConfig) -> (Outbox, Inbox) {
    let (urgent, urgent_inbox) = mpsc::channel(config.outbox_messages_max);
    let (bulk, bulk_inbox) = mpsc::channel(config.outbox_messages_max);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        urgent,
        bulk,
        queued_bytes: Arc::clone(&queued_bytes),
        messages_max: config.outbox_messages_max,
        bytes_max: config.outbox_bytes_max,
    };
    (
        outbox,
        Inbox {
            urgent: urgent_inbox,
            bulk: bulk_inbox,
            queued_bytes,
        },
    )
}

impl Outbox {
    /// Queues a message; the answer comes through the receiver.
    pub(crate) fn push(
        &self,
        priority: Priority,
        group: GroupId,
        body: Body,
    ) -> Result<oneshot::Receiver<Result<Body, CallError>>, CallError> {
        let (answer, answered) = oneshot::channel();
        let bytes = body.encoded_len();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let full = || CallError::Full {
            messages: self.messages_max,
            bytes: queued,
        };
        // A message larger than the whole outbox still passes when nothing else waits, or it could never pass.
        if queued > 0 && queued + bytes > self.bytes_max {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(full());
        }
        let queue = match priority {
            Priority::Urgent => &self.urgent,
            Priority::Bulk => &self.bulk,
        };
        queue
            .try_send(Call {
                group,
                body,
                answer,
                bytes,
            })
            .map_err(|refused| {
                self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                match refused {
                    mpsc::error::TrySendError::Full(_) => full(),
                    mpsc::error::TrySendError::Closed(_) => CallError::Unreachable {
                        reason: "its link is closed".to_owned(),
                    },
                }
            })?;
        Ok(answered)
    }
}

impl Inbox {
    /// Waits for messages and takes as many as fit into one frame, urgent ones first; `None` once the outbox is gone.
    /// Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Vec<Call>> {
        let first = tokio::select! {
            biased;
            Some(call) = self.urgent.recv() => call,
            Some(call) = self.bulk.recv() => call,
            else => return None,
        };
        let mut bytes = first.bytes;
        let mut calls = vec![first];
        while calls.len() < FRAME_MESSAGES_MAX && bytes < FRAME_BYTES_MAX {
            let Ok(call) = self.urgent.try_recv().or_else(|_| self.bulk.try_recv()) else {
                break;
            };
            bytes += call.bytes;
            calls.push(call);
        }
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(calls)
    }
}

#[cfg(test)]
mod tests {
    use covey_proto::peer::v1 as wire;

    use super::*;

    fn entries(bytes: usize) -> Body {
        let entry = wire::Entry {
            payload: Some(wire::entry::Payload::Request(vec![0; bytes].into())),
            ..wire::Entry::default()
        };
        Body::Append(wire::AppendRequest {
            entries: vec![entry],
            ..wire::AppendRequest::default()
        })
    }

    fn vote() -> Body {
        Body::Vote(wire::VoteRequest::default())
    }

    const GROUP: GroupId = GroupId::new(1);

    #[tokio::test]
    async fn votes_pass_entries_that_were_queued_before() {
        let (outbox, mut inbox) = outbox(&HostConfig::default());
        let _entries = outbox.push(Priority::Bulk, GROUP, entries(10)).unwrap();
        let _vote = outbox.push(Priority::Urgent, GROUP, vote()).unwrap();
        let calls = inbox.next().await.unwrap();
        assert!(matches!(calls[0].body, Body::Vote(_)));
        assert!(matches!(calls[1].body, Body::Append(_)));
    }

    #[tokio::test]
    async fn a_full_outbox_refuses_and_takes_again_once_emptied() {
        let config = HostConfig {
            outbox_bytes_max: 100,
            ..HostConfig::default()
        };
        let (outbox, mut inbox) = outbox(&config);
        let _first = outbox.push(Priority::Bulk, GROUP, entries(80)).unwrap();
        assert!(matches!(
            outbox.push(Priority::Bulk, GROUP, entries(80)),
            Err(CallError::Full { .. })
        ));
        inbox.next().await.unwrap();
        let _second = outbox.push(Priority::Bulk, GROUP, entries(80)).unwrap();
    }

    #[tokio::test]
    async fn the_inbox_ends_when_the_outbox_is_gone() {
        let (outbox, mut inbox) = outbox(&HostConfig::default());
        drop(outbox);
        assert!(inbox.next().await.is_none());
    }
}
