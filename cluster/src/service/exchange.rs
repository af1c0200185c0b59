//! The receiving end of a peer's stream: hands each message to its group and sends the answers back.
//!
//! Messages enter the queues of their groups in the order in which they came; their answers wait for the disk on
//! their own, so one slow group holds up no other.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use covey_proto::peer::v1::envelope::Body;
use covey_proto::peer::v1::{AppendRequest, Envelope, Frame, ProposeRequest, Refusal};
use covey_state::{GroupId, NodeId};
use futures::future::BoxFuture;
use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::outcome::propose_reply;
use super::{end_of, within};
use crate::codec;
use crate::error::{Error, chain};
use crate::forward::Outcome;
use crate::host::Inner;
use crate::replica::Replica;

/// Answers in one frame.
const FRAME_ANSWERS_MAX: usize = 256;

/// Serves the stream in a task; the answers come out of the stream returned.
pub(super) fn start(
    inner: Arc<Inner>,
    from: NodeId,
    incoming: Streaming<Frame>,
) -> impl Stream<Item = Result<Frame, Status>> + Send {
    // As many answers can wait as requests are open, so an answer never waits for room.
    let requests_max = inner.config.peer_requests_max;
    let (answers, outgoing) = mpsc::channel(requests_max);
    let requests = Arc::new(Semaphore::new(requests_max));
    tokio::spawn(serve(
        Door {
            inner,
            from,
            answers,
            requests,
        },
        incoming,
    ));
    ReceiverStream::new(outgoing)
        .ready_chunks(FRAME_ANSWERS_MAX)
        .map(|envelopes| Ok(Frame { envelopes }))
}

/// What the task of a stream owns.
struct Door {
    inner: Arc<Inner>,
    from: NodeId,
    answers: mpsc::Sender<Envelope>,
    requests: Arc<Semaphore>,
}

async fn serve(door: Door, mut incoming: Streaming<Frame>) {
    let mut closing = door.inner.closing();
    loop {
        let frame = tokio::select! {
            frame = incoming.message() => frame,
            () = door.answers.closed() => return,
            _ = closing.wait_for(|closing| *closing) => return,
        };
        match frame {
            Ok(Some(frame)) => {
                for envelope in frame.envelopes {
                    door.take(envelope).await;
                }
            }
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(peer = %door.from, reason = status.message(), "the stream of a peer broke");
                return;
            }
        }
    }
}

impl Door {
    /// Lets a proposal wait for its commit on its own. The group limits how many do, and they take no turn from the
    /// consensus messages, which may be what they wait for.
    fn propose(&self, group: u64, correlation: u64, request: ProposeRequest) {
        let replica = self.inner.replica(GroupId::new(group));
        let answers = self.answers.clone();
        let span = tracing::info_span!("proposal", id = request.request, group, from = %self.from);
        let proposed = async move {
            let outcome = match replica {
                Some(replica) => within(end_of(request.timeout_ms), replica.propose(request.entry)).await,
                None => Outcome::NotHosted,
            };
            tracing::debug!("proposal of a peer answered");
            let body = Some(Body::ProposeReply(propose_reply(outcome)));
            // The caller has hung up if this fails, and nobody waits for the answer.
            let _ = answers
                .send(Envelope {
                    group,
                    correlation,
                    body,
                })
                .await;
        };
        tokio::spawn(proposed.instrument(span));
    }

    /// Hands a request to its group; the answer follows when it is there.
    async fn take(&self, envelope: Envelope) {
        let Envelope {
            group,
            correlation,
            body: Some(body),
        } = envelope
        else {
            return;
        };
        if let Body::Propose(request) = body {
            return self.propose(group, correlation, request);
        }
        let permit = Arc::clone(&self.requests)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let mut handling = handle(self.inner.replica(GroupId::new(group)), body);
        // The first poll puts the request into the queue of its group, here and now, which keeps the order of the
        // stream. It must not be put off by the scheduler's budget.
        let first = tokio::task::unconstrained(std::future::poll_fn(|context| {
            Poll::Ready(handling.poll_unpin(context))
        }));
        let (answers, reply) = (self.answers.clone(), move |body| Envelope {
            group,
            correlation,
            body: Some(body),
        });
        match first.await {
            Poll::Ready(body) => deliver(&answers, reply(body), permit).await,
            Poll::Pending => {
                tokio::spawn(async move { deliver(&answers, reply(handling.await), permit).await });
            }
        }
    }
}

async fn deliver(answers: &mpsc::Sender<Envelope>, answer: Envelope, _permit: OwnedSemaphorePermit) {
    // The caller has hung up if this fails, and nobody waits for the answer.
    let _ = answers.send(answer).await;
}

/// Answers a request.
fn handle(replica: Option<Arc<Replica>>, body: Body) -> BoxFuture<'static, Body> {
    let Some(replica) = replica else {
        return refusal("this node has no running replica of the group").boxed();
    };
    async move {
        answer(&replica, body)
            .await
            .unwrap_or_else(|reason| Body::Refusal(Refusal { reason }))
    }
    .boxed()
}

async fn refusal(reason: &'static str) -> Body {
    Body::Refusal(Refusal {
        reason: reason.to_owned(),
    })
}

async fn answer(replica: &Replica, body: Body) -> Result<Body, String> {
    match body {
        Body::Append(request) => append(replica, request).await,
        Body::Vote(request) => {
            let request = codec::vote_request_from(request).map_err(malformed)?;
            let reply = replica.raft.vote(request).await.map_err(|error| chain(&error))?;
            Ok(Body::VoteReply(codec::vote_reply(&reply)))
        }
        Body::PreVote(request) => {
            let request = codec::vote_request_from(request).map_err(malformed)?;
            let reply = replica
                .raft
                .pre_vote(request)
                .await
                .map_err(|error| chain(&error))?;
            Ok(Body::VoteReply(codec::vote_reply(&reply)))
        }
        Body::Transfer(request) => {
            let request = codec::transfer_from(request).map_err(malformed)?;
            let reply = replica
                .raft
                .handle_transfer_leader(request)
                .await
                .map_err(|error| chain(&error))?;
            Ok(Body::TransferReply(codec::transfer_reply(&reply)))
        }
        Body::Propose(_)
        | Body::ProposeReply(_)
        | Body::AppendReply(_)
        | Body::VoteReply(_)
        | Body::TransferReply(_)
        | Body::Refusal(_) => Err("this is no consensus request".to_owned()),
    }
}

async fn append(replica: &Replica, request: AppendRequest) -> Result<Body, String> {
    let quorum_age = request.quorum_age_ms.map(Duration::from_millis);
    let request = codec::append_from(request).map_err(malformed)?;
    let (vote, commit) = (request.vote, request.leader_commit);
    let reply = replica
        .raft
        .append_entries(request)
        .await
        .map_err(|error| chain(&error))?;
    if reply.is_success() {
        replica
            .freshness
            .heard(&vote, commit, quorum_age, replica.applied_index());
    }
    Ok(Body::AppendReply(codec::append_reply(&reply)))
}

fn malformed(error: Error) -> String {
    chain(&error)
}
