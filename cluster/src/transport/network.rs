//! The transport as the consensus library wants it: one client per group, member and purpose, all on the same links.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use covey_proto::peer::v1::envelope::Body;
use covey_state::{GroupId, NodeId};
use futures::future::Either;
use futures::{FutureExt as _, Stream, StreamExt as _};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{SnapshotResponse, StreamAppendError, StreamAppendResult};
use openraft::type_config::alias::SnapshotOf;
use openraft::{OptionalSend, RPCTypes};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::Transport;
use super::outbox::{CallError, Priority};
use crate::codec;
use crate::consensus::{
    Address, AppendReply, AppendRequest, LogId, TransferReply, TransferRequest, TypeConfig, Vote, VoteReply,
    VoteRequest,
};
use crate::contact::Contacts;
use crate::error::{Error, chain};
use crate::freshness::Freshness;
use crate::snapshot::SnapshotData;

type CallResult<T> = Result<T, RPCError<TypeConfig>>;
type Answer = oneshot::Receiver<Result<Body, CallError>>;

/// Makes the clients of one group.
#[derive(Clone)]
pub(crate) struct NetworkFactory {
    pub(crate) transport: Arc<Transport>,
    pub(crate) group: GroupId,
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) contacts: Arc<Contacts>,
    /// Whether readers wait for a confirmation of leadership, which a heartbeat brings.
    pub(crate) confirming: Arc<AtomicBool>,
    /// The index that readers at followers wait for: they must hear soon that it is committed.
    pub(crate) awaited: Arc<watch::Sender<u64>>,
}

impl NetworkFactory {
    fn client(&self, target: u64, address: &Address, priority: Priority) -> Network {
        self.transport.heard_of(&address.of_node(target));
        Network {
            factory: self.clone(),
            target: NodeId::new(target),
            priority,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for NetworkFactory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, address: &Address) -> Network {
        self.client(target, address, Priority::Bulk)
    }

    async fn new_heartbeat_client(&mut self, target: u64, address: &Address) -> Network {
        self.client(target, address, Priority::Beat)
    }
}

/// A client for one member of one group. It holds no connection: it finds the link anew for every message.
#[derive(Clone)]
pub(crate) struct Network {
    factory: NetworkFactory,
    target: NodeId,
    /// For appends; votes and hand-overs are always urgent.
    priority: Priority,
}

impl Network {
    fn transport(&self) -> &Transport {
        &self.factory.transport
    }

    fn push(&self, priority: Priority, body: Body) -> CallResult<Answer> {
        let link = self
            .transport()
            .link(self.target)
            .map_err(|error| unreachable(&error))?;
        link.outbox
            .push(priority, self.factory.group, body)
            .map_err(|error| {
                if matches!(error, CallError::Full { .. }) {
                    self.transport()
                        .metrics
                        .messages_refused
                        .with_label_values(&[&self.target.to_string()])
                        .inc();
                }
                unreachable(&error)
            })
    }

    fn patience(&self, action: RPCTypes, timeout: Duration) -> Timeout<TypeConfig> {
        let id = self.transport().identity.node.get();
        Timeout {
            action,
            id,
            target: self.target.get(),
            timeout,
        }
    }

    /// Sends an urgent message and waits for its answer.
    async fn ask(&self, action: RPCTypes, body: Body, option: &RPCOption) -> CallResult<Body> {
        let answer = self.push(Priority::Urgent, body)?;
        receive(answer, self.patience(action, option.soft_ttl())).await
    }

    /// Sends a message of entries at once; the future waits for its answer.
    ///
    /// Invariant: a member counts as in contact as of a moment before the message left.
    fn send_append(
        &self,
        request: AppendRequest,
    ) -> impl Future<Output = CallResult<StreamAppendResult<TypeConfig>>> + Send + use<> {
        let (leader, sent_at) = (request.vote.leader_id, Instant::now());
        let (contacts, member) = (Arc::clone(&self.factory.contacts), self.target.get());
        let previous = request.prev_log_id;
        let last = request.entries.last().map(|entry| entry.log_id).or(previous);
        let age = self.factory.freshness.quorum_age_with(request.leader_commit);
        // Rounded up. The link adds the time in its queue.
        let age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX - 1) + 1);
        let body = Body::Append(codec::append(request, age_ms));
        let sent = match self.priority {
            // Readers wait for this one.
            Priority::Beat if self.factory.confirming.load(Ordering::Relaxed) => {
                self.push(Priority::Urgent, body)
            }
            priority => self.push(priority, body),
        };
        if self.priority == Priority::Beat {
            self.transport().gathering.arrived();
        }
        let patience = self.patience(RPCTypes::AppendEntries, self.transport().config.append_timeout);
        async move {
            let Body::AppendReply(reply) = receive(sent?, patience).await? else {
                return Err(unexpected());
            };
            let reply = codec::append_reply_from(reply).map_err(|error| broken(&error))?;
            if !matches!(reply, AppendReply::HigherVote(_)) {
                contacts.accepted(member, leader, sent_at);
            }
            append_result(reply, previous, last)
        }
    }

    /// Sends a message that brings nothing but a newer commit index, unless one follows that brings it too: soon, or when
    /// a reader at the member waits for more than the member was told.
    async fn send_commit(
        self,
        request: AppendRequest,
        told: u64,
        outdated: oneshot::Receiver<()>,
    ) -> Option<CallResult<StreamAppendResult<TypeConfig>>> {
        let mut awaited = self.factory.awaited.subscribe();
        tokio::select! {
            biased;
            _ = outdated => return None,
            _ = async { awaited.wait_for(|awaited| *awaited > told).await.map(drop) } => {}
            // sleep: this is how long the entries that follow may take.
            () = tokio::time::sleep(self.transport().config.commit_pause) => {}
        }
        Some(self.send_append(request).await)
    }
}

/// What a reply means for the entries between `previous` and `last`.
fn append_result(
    reply: AppendReply,
    previous: Option<LogId>,
    last: Option<LogId>,
) -> CallResult<StreamAppendResult<TypeConfig>> {
    match (reply, previous) {
        (AppendReply::Success, _) => Ok(Ok(last)),
        (AppendReply::PartialSuccess(matching), _) => Ok(Ok(matching)),
        (AppendReply::HigherVote(vote), _) => Ok(Err(StreamAppendError::HigherVote(vote))),
        (AppendReply::Conflict, Some(previous)) => Ok(Err(StreamAppendError::Conflict(previous))),
        (AppendReply::Conflict, None) => Err(unexpected()),
    }
}

/// Waits for an answer, but not longer than `patience`.
async fn receive(answer: Answer, patience: Timeout<TypeConfig>) -> CallResult<Body> {
    match tokio::time::timeout(patience.timeout, answer).await {
        Err(_) => Err(RPCError::Timeout(patience)),
        Ok(Err(_)) => Err(RPCError::Unreachable(Unreachable::from_string(
            "the link to the peer is closed",
        ))),
        Ok(Ok(Err(error))) => Err(unreachable(&error)),
        Ok(Ok(Ok(Body::Refusal(refusal)))) => {
            Err(RPCError::Unreachable(Unreachable::from_string(refusal.reason)))
        }
        Ok(Ok(Ok(body))) => Ok(body),
    }
}

fn unreachable(error: &(dyn std::error::Error + 'static)) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(chain(error)))
}

fn broken(error: &Error) -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(error))
}

fn unexpected() -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(
        "the peer's answer does not fit the request",
    ))
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(&mut self, request: AppendRequest, _: RPCOption) -> CallResult<AppendReply> {
        let last = request
            .entries
            .last()
            .map(|entry| entry.log_id)
            .or(request.prev_log_id);
        Ok(match self.send_append(request).await? {
            Ok(matching) if matching == last => AppendReply::Success,
            Ok(matching) => AppendReply::PartialSuccess(matching),
            Err(StreamAppendError::Conflict(_)) => AppendReply::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendReply::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _: RPCOption,
    ) -> BoxFuture<'s, CallResult<BoxStream<'s, CallResult<StreamAppendResult<TypeConfig>>>>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        let window = self.transport().config.append_window;
        // What the member was told for certain of commits on this stream, and the message that waits to tell it more.
        let (mut told, mut waiting) = (None, None);
        let messages = input.map(move |request| {
            // It outdates the one that waits. What is dropped here needs no answer: the library hears the later one's.
            drop(waiting.take());
            match told {
                Some(told) if request.entries.is_empty() => {
                    let (later, outdated) = oneshot::channel();
                    waiting = Some(later);
                    Either::Left(self.clone().send_commit(request, told, outdated))
                }
                _ => {
                    told = Some(request.leader_commit.map_or(0, |commit| commit.index));
                    Either::Right(self.send_append(request).map(Some))
                }
            }
        });
        let replies = messages.buffered(window).filter_map(std::future::ready);
        // The library wants nothing after the first reply that is not a success.
        let until_failure = futures::stream::unfold(Some(Box::pin(replies)), |replies| async move {
            let mut replies = replies?;
            let reply = replies.next().await?;
            let goes_on = matches!(reply, Ok(Ok(_)));
            Some((reply, goes_on.then_some(replies)))
        });
        let stream: BoxStream<'s, _> = Box::pin(until_failure);
        Box::pin(async move { Ok(stream) })
    }

    async fn vote(&mut self, request: VoteRequest, option: RPCOption) -> CallResult<VoteReply> {
        let body = Body::Vote(codec::vote_request(&request));
        vote_reply(self.ask(RPCTypes::Vote, body, &option).await?)
    }

    async fn pre_vote(&mut self, request: VoteRequest, option: RPCOption) -> CallResult<VoteReply> {
        let body = Body::PreVote(codec::vote_request(&request));
        vote_reply(self.ask(RPCTypes::Vote, body, &option).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = self
            .transport()
            .send_snapshot(self.target, self.factory.group, vote, snapshot);
        tokio::select! {
            biased;
            sent = sending => match sent {
                Ok(vote) => Ok(SnapshotResponse::new(vote)),
                Err(error) => Err(StreamingError::Unreachable(Unreachable::from_string(chain(&error)))),
            },
            closed = cancel => Err(StreamingError::Closed(closed)),
            // sleep: openraft says how long a snapshot may take.
            () = tokio::time::sleep(option.soft_ttl()) => {
                Err(StreamingError::Timeout(self.patience(RPCTypes::InstallSnapshot, option.soft_ttl())))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferRequest,
        option: RPCOption,
    ) -> CallResult<TransferReply> {
        let body = Body::Transfer(codec::transfer(&request));
        let Body::TransferReply(reply) = self.ask(RPCTypes::TransferLeader, body, &option).await? else {
            return Err(unexpected());
        };
        codec::transfer_reply_from(reply).map_err(|error| broken(&error))
    }
}

fn vote_reply(body: Body) -> CallResult<VoteReply> {
    let Body::VoteReply(reply) = body else {
        return Err(unexpected());
    };
    codec::vote_reply_from(reply).map_err(|error| broken(&error))
}
