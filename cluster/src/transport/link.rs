//! The stream to one peer: it connects when there is something to send, and again, with jitter, when it broke.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use covey_proto::peer::v1::envelope::Body;
use covey_proto::peer::v1::{Echo, Envelope, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::PeerClient;
use super::outbox::{Call, CallError, Inbox};
use crate::backoff::Backoff;
use crate::config::HostConfig;
use crate::identity::Peer;
use crate::metrics::HostMetrics;

/// Frames between the link and the connection. Few: what waits here is past the priorities.
const FRAMES_WAITING: usize = 2;

/// Everything the task of a link owns.
pub(super) struct LinkTask {
    pub(super) peer: Peer,
    pub(super) client: PeerClient,
    pub(super) inbox: Inbox,
    pub(super) config: Arc<HostConfig>,
    pub(super) metrics: HostMetrics,
}

/// An open stream.
struct Session {
    frames: mpsc::Sender<Frame>,
    replies: Streaming<Frame>,
}

/// How a session ended.
enum Ending {
    /// The host has dropped the link.
    LinkDropped,
    /// The stream broke; `useful` when it carried an answer before.
    Broken { reason: String, useful: bool },
}

impl LinkTask {
    /// Serves the link until its outbox is dropped.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.retry_min, self.config.retry_max);
        while let Some(calls) = self.inbox.next().await {
            let reason = match self.connect().await {
                Ok(session) => match self.serve(session, calls).await {
                    Ending::LinkDropped => return,
                    Ending::Broken { reason, useful } => {
                        if useful {
                            backoff.reset();
                        }
                        reason
                    }
                },
                Err(reason) => {
                    calls.into_iter().for_each(|call| call.fail(&reason));
                    reason
                }
            };
            tracing::debug!(peer = %self.peer, reason, "the stream to a peer is down");
            self.refuse_until(Instant::now() + backoff.pause(), &reason).await;
        }
    }

    async fn connect(&mut self) -> Result<Session, String> {
        let (frames, outgoing) = mpsc::channel(FRAMES_WAITING);
        let opening = self.client.exchange(ReceiverStream::new(outgoing));
        match tokio::time::timeout(self.config.connect_timeout, opening).await {
            Err(_) => Err(format!(
                "no connection to {} within {:?}",
                self.peer, self.config.connect_timeout
            )),
            Ok(Err(status)) => Err(format!("{} refused the stream: {}", self.peer, status.message())),
            Ok(Ok(response)) => {
                self.metrics
                    .connections
                    .with_label_values(&[&self.peer.node.to_string()])
                    .inc();
                Ok(Session {
                    frames,
                    replies: response.into_inner(),
                })
            }
        }
    }

    /// Sends what the outbox gives and hands out the answers, until one side ends.
    async fn serve(&mut self, session: Session, first: Vec<Call>) -> Ending {
        let Session { frames, mut replies } = session;
        let label = self.peer.node.to_string();
        let messages_sent = self.metrics.messages_sent.with_label_values(&[&label]);
        let frames_sent = self.metrics.frames_sent.with_label_values(&[&label]);
        let mut pending = Pending::default();
        let mut next = Some(first);
        let mut useful = false;
        let reason = loop {
            if let Some(calls) = next.take() {
                messages_sent.inc_by(calls.len() as u64);
                frames_sent.inc();
                if frames.send(pending.frame(calls)).await.is_err() {
                    break "the connection closed".to_owned();
                }
            }
            tokio::select! {
                biased;
                reply = replies.message() => match reply {
                    Ok(Some(frame)) => {
                        useful = true;
                        pending.answer(frame);
                    }
                    Ok(None) => break "the peer ended the stream".to_owned(),
                    Err(status) => break status.message().to_owned(),
                },
                calls = sendable(&frames, &mut self.inbox) => match calls {
                    Some(calls) => next = Some(calls),
                    None => return Ending::LinkDropped,
                },
            }
        };
        pending.fail(&reason);
        Ending::Broken { reason, useful }
    }

    /// Answers everything with `reason` until it is time to connect again.
    async fn refuse_until(&mut self, until: Instant, reason: &str) {
        loop {
            tokio::select! {
                biased;
                // sleep: this is the pause between two tries to connect.
                () = tokio::time::sleep_until(until) => return,
                calls = self.inbox.next() => match calls {
                    Some(calls) => calls.into_iter().for_each(|call| call.fail(reason)),
                    None => return,
                },
            }
        }
    }
}

/// Waits until the connection can take a frame, and only then takes messages out of the queues, so that the
/// priorities count up to the last moment.
async fn sendable(frames: &mpsc::Sender<Frame>, inbox: &mut Inbox) -> Option<Vec<Call>> {
    // A closed connection shows itself on the side of the replies.
    let _room = frames.reserve().await;
    inbox.next().await
}

/// Requests on their way.
#[derive(Default)]
struct Pending {
    correlation: u64,
    /// The newest stamp of the peer, and when it came.
    stamp: Option<(u64, Instant)>,
    waiting: HashMap<u64, oneshot::Sender<Result<Body, CallError>>>,
}

/// After how many requests those whose callers gave up are forgotten.
const SWEEP_EVERY: u64 = 1_024;

impl Pending {
    /// Numbers the messages and remembers who waits for them.
    fn frame(&mut self, calls: Vec<Call>) -> Frame {
        let envelopes = calls
            .into_iter()
            .map(|call| {
                self.correlation += 1;
                if self.correlation.is_multiple_of(SWEEP_EVERY) {
                    self.waiting.retain(|_, answer| !answer.is_closed());
                }
                let mut body = call.body;
                if let Body::Append(request) = &mut body
                    && let Some(age) = &mut request.quorum_age_ms
                {
                    // It was exact when the message was queued.
                    *age = age.saturating_add(whole_ms(call.queued_at.elapsed()) + 1);
                }
                self.waiting.insert(self.correlation, call.answer);
                Envelope {
                    group: call.group.get(),
                    correlation: self.correlation,
                    body: Some(body),
                }
            })
            .collect();
        Frame {
            envelopes,
            stamp_ms: None,
            echo: self.stamp.map(|(stamp_ms, at)| Echo {
                stamp_ms,
                held_ms: whole_ms(at.elapsed()),
            }),
        }
    }

    fn answer(&mut self, frame: Frame) {
        self.stamp = frame.stamp_ms.map(|stamp| (stamp, Instant::now())).or(self.stamp);
        for envelope in frame.envelopes {
            if let (Some(answer), Some(body)) = (self.waiting.remove(&envelope.correlation), envelope.body) {
                // Nobody waits any more when the caller's time ran out.
                let _ = answer.send(Ok(body));
            }
        }
    }

    fn fail(self, reason: &str) {
        for answer in self.waiting.into_values() {
            let _ = answer.send(Err(CallError::Unreachable {
                reason: reason.to_owned(),
            }));
        }
    }
}

fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
