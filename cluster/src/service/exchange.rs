//! The receiving end of a peer's stream: hands each message to its group and sends the answers back.
//!
//! Messages enter the queues of their groups in the order in which they came; their answers wait for the disk on
//! their own, so one slow group holds up no other. Only the answers to heartbeats, which wait for no disk, wait a moment
//! for each other: those of all groups leave in one frame, as the heartbeats came in one.

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use covey_proto::peer::v1::envelope::Body;
use covey_proto::peer::v1::{
    AppendRequest, Echo, Envelope, Frame, ProposeRequest, ReadIndexRequest, Refusal,
};
use covey_state::{GroupId, NodeId};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::outcome::{propose_reply, read_index_reply};
use super::{TIMEOUT_MAX, end_of, within};
use crate::codec;
use crate::error::{Error, chain};
use crate::forward::Outcome;
use crate::host::Inner;
use crate::replica::Replica;

/// Batches of answers in one frame.
const FRAME_BATCHES_MAX: usize = 256;

/// How long the answers to the heartbeats of one frame wait for each other. Readers may wait for one of them.
const GATHER: Duration = Duration::from_millis(5);

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
    let forwarded = Arc::new(Semaphore::new(inner.config.peer_forwarded_max));
    let opened = Instant::now();
    let frames_sent = inner
        .metrics
        .answer_frames_sent
        .with_label_values(&[&from.to_string()]);
    tokio::spawn(serve(
        Door {
            inner,
            from,
            opened,
            answers,
            requests,
            forwarded,
        },
        incoming,
    ));
    ReceiverStream::new(outgoing)
        .ready_chunks(FRAME_BATCHES_MAX)
        .map(move |batches: Vec<Vec<Envelope>>| {
            frames_sent.inc();
            Ok(Frame {
                envelopes: batches.into_iter().flatten().collect(),
                stamp_ms: Some(u64::try_from(opened.elapsed().as_millis()).unwrap_or(u64::MAX)),
                echo: None,
            })
        })
}

/// What the task of a stream owns.
struct Door {
    inner: Arc<Inner>,
    from: NodeId,
    /// The beginning of the stream's time.
    opened: Instant,
    answers: mpsc::Sender<Vec<Envelope>>,
    requests: Arc<Semaphore>,
    forwarded: Arc<Semaphore>,
}

/// An answer that is not there yet, and the request's turn.
type Waiting = BoxFuture<'static, (Envelope, OwnedSemaphorePermit)>;

async fn serve(door: Door, mut incoming: Streaming<Frame>) {
    let mut closing = door.inner.closing();
    loop {
        let frame = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            () = door.answers.closed() => return,
            frame = incoming.message() => frame,
        };
        match frame {
            Ok(Some(frame)) => {
                let mut heartbeats = FuturesUnordered::new();
                let sent_after = frame.echo.map(|echo| door.moment(echo));
                for envelope in frame.envelopes {
                    if door.requests.available_permits() == 0 {
                        // The heartbeats must give up their turns before others can have one.
                        door.answer_together(&mut heartbeats);
                    }
                    heartbeats.extend(door.take(envelope, sent_after).await);
                }
                door.answer_together(&mut heartbeats);
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
    /// A moment before which the frame that brought this echo was not sent.
    fn moment(&self, echo: Echo) -> Instant {
        let since = Duration::from_millis(echo.stamp_ms.saturating_add(echo.held_ms));
        // A peer whose clock runs faster than ours must not make it seem that the frame comes from the future.
        Instant::now().min(self.opened + since.min(TIMEOUT_MAX * 365))
    }

    /// Lets a proposal wait for its commit on its own. The group limits how many do and the node how many bytes, and
    /// they take no turn from the consensus messages, which may be what they wait for.
    fn propose(&self, group: u64, correlation: u64, request: ProposeRequest) {
        let admitted = self.inner.admission.admit(request.entry.len());
        let replica = self.inner.replica(GroupId::new(group));
        let span = tracing::info_span!("proposal", id = %request.request, group, from = %self.from);
        let proposed = async move {
            let outcome = match (admitted, replica) {
                (Err(busy), _) => Outcome::Busy(busy),
                (Ok(_room), Some(replica)) => {
                    within(end_of(request.timeout_ms), replica.propose(request.entry)).await
                }
                (Ok(_), None) => Outcome::NotHosted,
            };
            tracing::debug!("proposal of a peer answered");
            Body::ProposeReply(propose_reply(outcome))
        };
        self.answer_later(group, correlation, proposed.instrument(span));
    }

    /// Lets readers wait for the confirmation of a leader on their own; the group limits how many do.
    fn read_index(&self, group: u64, correlation: u64, request: ReadIndexRequest) {
        let replica = self.inner.replica(GroupId::new(group));
        self.answer_later(group, correlation, async move {
            let outcome = match replica {
                Some(replica) => within(end_of(request.timeout_ms), replica.confirm_to_follower()).await,
                None => Outcome::NotHosted,
            };
            Body::ReadIndexReply(read_index_reply(outcome))
        });
    }

    /// Answers a forwarded request when its work is done. A peer that forwards more than it may wait for is told so, if
    /// it takes answers at all.
    fn answer_later(&self, group: u64, correlation: u64, work: impl Future<Output = Body> + Send + 'static) {
        let answers = self.answers.clone();
        let answer = move |body| {
            vec![Envelope {
                group,
                correlation,
                body: Some(body),
            }]
        };
        let Ok(turn) = Arc::clone(&self.forwarded).try_acquire_owned() else {
            let from = self.from.to_string();
            self.inner
                .metrics
                .forwarded_refused
                .with_label_values(&[&from])
                .inc();
            let reason = "too many forwarded requests of this peer wait".to_owned();
            // Full means that it takes none.
            let _ = answers.try_send(answer(Body::Refusal(Refusal { reason })));
            return;
        };
        tokio::spawn(async move {
            deliver(&answers, answer(work.await)).await;
            drop(turn);
        });
    }

    /// Lets the heartbeats taken so far be answered.
    fn answer_together(&self, heartbeats: &mut FuturesUnordered<Waiting>) {
        if !heartbeats.is_empty() {
            tokio::spawn(gather(self.answers.clone(), std::mem::take(heartbeats)));
        }
    }

    /// Hands a request to its group. The answer follows when it is there, except that to a heartbeat, which is returned.
    async fn take(&self, envelope: Envelope, sent_after: Option<Instant>) -> Option<Waiting> {
        let Envelope {
            group,
            correlation,
            body: Some(body),
        } = envelope
        else {
            return None;
        };
        let body = match body {
            Body::Propose(request) => {
                self.propose(group, correlation, request);
                return None;
            }
            Body::ReadIndex(request) => {
                self.read_index(group, correlation, request);
                return None;
            }
            consensus => consensus,
        };
        let heartbeat = matches!(&body, Body::Append(request) if request.entries.is_empty());
        let permit = Arc::clone(&self.requests)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let handling = handle(self.inner.replica(GroupId::new(group)), body, sent_after);
        let mut waiting: Waiting = async move {
            let body = Some(handling.await);
            let answer = Envelope {
                group,
                correlation,
                body,
            };
            (answer, permit)
        }
        .boxed();
        // The first poll puts the request into the queue of its group, here and now, which keeps the order of the
        // stream. It must not be put off by the scheduler's budget.
        let first = tokio::task::unconstrained(std::future::poll_fn(|context| {
            Poll::Ready(waiting.poll_unpin(context))
        }));
        match first.await {
            Poll::Ready((answer, _permit)) if heartbeat => {
                return Some(std::future::ready((answer, _permit)).boxed());
            }
            Poll::Ready((answer, _permit)) => deliver(&self.answers, vec![answer]).await,
            Poll::Pending if heartbeat => return Some(waiting),
            Poll::Pending => {
                let answers = self.answers.clone();
                tokio::spawn(async move {
                    let (answer, _permit) = waiting.await;
                    deliver(&answers, vec![answer]).await;
                });
            }
        }
        None
    }
}

/// Sends the answers that come within a moment as one batch, then those of the next moment, until there are all.
async fn gather(answers: mpsc::Sender<Vec<Envelope>>, mut waiting: FuturesUnordered<Waiting>) {
    while let Some((answer, _permit)) = waiting.next().await {
        let mut ready = vec![answer];
        let others = async {
            while let Some((answer, _permit)) = waiting.next().await {
                ready.push(answer);
            }
        };
        // Those that do not come in time are of the next batch.
        let _ = tokio::time::timeout(GATHER, others).await;
        deliver(&answers, ready).await;
    }
}

async fn deliver(answers: &mpsc::Sender<Vec<Envelope>>, batch: Vec<Envelope>) {
    if !batch.is_empty() {
        // The caller has hung up if this fails, and nobody waits for the answer.
        let _ = answers.send(batch).await;
    }
}

/// Answers a request.
async fn handle(replica: Option<Arc<Replica>>, body: Body, sent_after: Option<Instant>) -> Body {
    let answered = match replica {
        Some(replica) => answer(&replica, body, sent_after).await,
        None => Err("this node has no running replica of the group".to_owned()),
    };
    answered.unwrap_or_else(|reason| Body::Refusal(Refusal { reason }))
}

async fn answer(replica: &Replica, body: Body, sent_after: Option<Instant>) -> Result<Body, String> {
    match body {
        Body::Append(request) => append(replica, request, sent_after).await,
        Body::Vote(request) => {
            // Whoever hands over relies on no lease any more, but a replica on probation does not know whom it votes for.
            match request.leadership_transfer {
                true => knows_its_admission(replica)?,
                false => may_vote(replica)?,
            }
            let request = codec::vote_request_from(request).map_err(malformed)?;
            let reply = replica.raft.vote(request).await.map_err(|error| chain(&error))?;
            Ok(Body::VoteReply(codec::vote_reply(&reply)))
        }
        Body::PreVote(request) => {
            may_vote(replica)?;
            let request = codec::vote_request_from(request).map_err(malformed)?;
            let reply = replica
                .raft
                .pre_vote(request)
                .await
                .map_err(|error| chain(&error))?;
            Ok(Body::VoteReply(codec::vote_reply(&reply)))
        }
        Body::Transfer(request) => {
            knows_its_admission(replica)?;
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
        | Body::ReadIndex(_)
        | Body::ReadIndexReply(_)
        | Body::AppendReply(_)
        | Body::VoteReply(_)
        | Body::TransferReply(_)
        | Body::Refusal(_) => Err("this is no consensus request".to_owned()),
    }
}

/// A leader that hands over lets voters vote in any case; every other candidate has to wait.
fn may_vote(replica: &Replica) -> Result<(), String> {
    if replica.may_vote() {
        return Ok(());
    }
    Err(
        "this node has just started, or the replica has just been admitted, and withholds its votes"
            .to_owned(),
    )
}

fn knows_its_admission(replica: &Replica) -> Result<(), String> {
    match replica.on_probation() {
        true => Err("this replica has not heard of its admission yet".to_owned()),
        false => Ok(()),
    }
}

async fn append(
    replica: &Replica,
    request: AppendRequest,
    sent_after: Option<Instant>,
) -> Result<Body, String> {
    let quorum_age = request.quorum_age_ms.map(Duration::from_millis);
    let confirmed = sent_after
        .zip(quorum_age)
        .and_then(|(sent, age)| sent.checked_sub(age));
    let request = codec::append_from(request).map_err(malformed)?;
    let (vote, commit) = (request.vote, request.leader_commit);
    replica.freshness.came(vote.leader_id.node_id);
    let reply = replica
        .raft
        .append_entries(request)
        .await
        .map_err(|error| chain(&error))?;
    if reply.is_success() {
        replica
            .freshness
            .heard(&vote, commit, confirmed, replica.applied_index());
    }
    Ok(Body::AppendReply(codec::append_reply(&reply)))
}

fn malformed(error: Error) -> String {
    chain(&error)
}
