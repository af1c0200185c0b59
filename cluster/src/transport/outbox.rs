//! What waits to be sent to one peer: bounded, and in three priorities, so that votes and heartbeats pass the data.
//! Heartbeats are held back while those of all groups gather; nothing else ever waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use covey_proto::peer::v1::envelope::Body;
use covey_state::GroupId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::config::HostConfig;

/// Messages in one frame: the heartbeats of a thousand groups.
const FRAME_MESSAGES_MAX: usize = 1_024;

/// Bytes in one frame, unless a single message is larger. A heartbeat waits behind at most a few frames.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Which queue a message waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Votes, hand-overs and whatever a reader waits for: small, and a late one costs an election or a read.
    Urgent,
    /// Periodic heartbeats: small, and worth a few milliseconds so that those of all groups share a frame.
    Beat,
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
    /// When it was queued.
    pub(crate) queued_at: Instant,
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
    beats: mpsc::Sender<Call>,
    bulk: mpsc::Sender<Call>,
    queued_bytes: Arc<AtomicUsize>,
    messages_max: usize,
    bytes_max: usize,
}

/// The end that the link empties.
pub(crate) struct Inbox {
    urgent: mpsc::Receiver<Call>,
    beats: mpsc::Receiver<Call>,
    bulk: mpsc::Receiver<Call>,
    /// True while heartbeats gather.
    held: watch::Receiver<bool>,
    /// A heartbeat that was taken out of its queue just when they began to gather.
    early: Option<Call>,
    queued_bytes: Arc<AtomicUsize>,
}

/// An empty outbox, whose heartbeats wait while `held` is true.
pub(crate) fn outbox(config: &HostConfig, held: watch::Receiver<bool>) -> (Outbox, Inbox) {
    let (urgent, urgent_inbox) = mpsc::channel(config.outbox_messages_max);
    let (beats, beats_inbox) = mpsc::channel(config.outbox_messages_max);
    let (bulk, bulk_inbox) = mpsc::channel(config.outbox_messages_max);
    let queued_bytes = Arc::new(AtomicUsize::new(0));
    let outbox = Outbox {
        urgent,
        beats,
        bulk,
        queued_bytes: Arc::clone(&queued_bytes),
        messages_max: config.outbox_messages_max,
        bytes_max: config.outbox_bytes_max,
    };
    (
        outbox,
        Inbox {
            urgent: urgent_inbox,
            beats: beats_inbox,
            bulk: bulk_inbox,
            held,
            early: None,
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
            Priority::Beat => &self.beats,
            Priority::Bulk => &self.bulk,
        };
        queue
            .try_send(Call {
                group,
                body,
                answer,
                queued_at: Instant::now(),
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
        let first = self.first().await?;
        let mut bytes = first.bytes;
        let mut calls = vec![first];
        while calls.len() < FRAME_MESSAGES_MAX && bytes < FRAME_BYTES_MAX {
            let Some(call) = self.another() else { break };
            bytes += call.bytes;
            calls.push(call);
        }
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(calls)
    }

    async fn first(&mut self) -> Option<Call> {
        loop {
            let held = *self.held.borrow_and_update();
            if !held && let Some(early) = self.early.take() {
                return Some(early);
            }
            tokio::select! {
                biased;
                Some(call) = self.urgent.recv() => return Some(call),
                Some(call) = self.beats.recv(), if !held => {
                    if !*self.held.borrow() {
                        return Some(call);
                    }
                    self.early = Some(call);
                }
                Some(call) = self.bulk.recv() => return Some(call),
                // Without its sender nothing is held any more.
                changed = self.held.changed(), if held => if changed.is_err() {
                    return None;
                },
                else => return None,
            }
        }
    }

    /// The next message for the same frame.
    fn another(&mut self) -> Option<Call> {
        let urgent = self.urgent.try_recv().ok();
        let beat = || {
            if *self.held.borrow() {
                return None;
            }
            self.early.take().or_else(|| self.beats.try_recv().ok())
        };
        urgent.or_else(beat).or_else(|| self.bulk.try_recv().ok())
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

    fn beat() -> Body {
        Body::Append(wire::AppendRequest::default())
    }

    const GROUP: GroupId = GroupId::new(1);

    fn held(held: bool) -> watch::Sender<bool> {
        watch::Sender::new(held)
    }

    #[tokio::test]
    async fn heartbeats_gather_into_one_frame_and_nothing_else_waits_for_them() {
        let gate = held(true);
        let (outbox, mut inbox) = outbox(&HostConfig::default(), gate.subscribe());
        let answers: Vec<_> = (0..300)
            .map(|group| outbox.push(Priority::Beat, GroupId::new(group), beat()).unwrap())
            .collect();
        let _vote = outbox.push(Priority::Urgent, GROUP, vote()).unwrap();
        let _entries = outbox.push(Priority::Bulk, GROUP, entries(10)).unwrap();
        let passing = inbox.next().await.unwrap();
        assert_eq!(passing.len(), 2, "the vote and the entries do not wait");
        gate.send_replace(false);
        let calls = inbox.next().await.unwrap();
        assert_eq!(calls.len(), answers.len());
    }

    #[tokio::test]
    async fn a_heartbeat_that_wakes_the_link_while_others_gather_waits_with_them() {
        let gate = held(false);
        let (outbox, mut inbox) = outbox(&HostConfig::default(), gate.subscribe());
        let mut next = std::pin::pin!(inbox.next());
        // The link sleeps on open queues.
        assert!(futures::poll!(&mut next).is_pending());
        gate.send_replace(true);
        let _first = outbox.push(Priority::Beat, GROUP, beat()).unwrap();
        assert!(futures::poll!(&mut next).is_pending());
        let _second = outbox.push(Priority::Beat, GROUP, beat()).unwrap();
        gate.send_replace(false);
        assert_eq!(next.await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn votes_pass_entries_that_were_queued_before() {
        let (outbox, mut inbox) = outbox(&HostConfig::default(), held(false).subscribe());
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
        let (outbox, mut inbox) = outbox(&config, held(false).subscribe());
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
        let (outbox, mut inbox) = outbox(&HostConfig::default(), held(false).subscribe());
        drop(outbox);
        assert!(inbox.next().await.is_none());
    }
}
