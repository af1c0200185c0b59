//! The host: this node's replicas of all groups, and the way to every group of the cluster.

mod groups;
mod inner;
mod proposal;
mod pulse;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use covey_proto::peer::v1::peer_service_server::PeerServiceServer;
use covey_state::{GroupId, NodeId};
use covey_storage::{RaftDb, StateDb};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::config::HostConfig;
use crate::error::Error;
use crate::forward::lead;
use crate::identity::{Identity, Peer};
use crate::machine::{Committed, StateMachine};
use crate::members::{self, Change, ChangeCall};
use crate::probation::Probation;
use crate::read::{self, Consistency, ReadPoint};
use crate::service::PeerEndpoint;
use crate::status::GroupStatus;
use crate::tenure::Tenure;
use crate::verify::{self, Verification};
pub use groups::Wipe;
pub(crate) use inner::Inner;
use proposal::Proposal;

/// The service that the peer port mounts.
pub type PeerServer = PeerServiceServer<PeerEndpoint>;

/// Where a host keeps things.
#[derive(Clone)]
pub struct Stores {
    /// The logs of all groups.
    pub raftdb: RaftDb,
    /// The state of all groups.
    pub statedb: StateDb,
    /// The directory of the snapshots; the host makes one directory per group in it.
    pub snapshot_dir: PathBuf,
}

/// This node's replicas of all groups. Clones share it.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Inner>,
}

impl Host {
    /// Opens every group that has anything on disk. A group that cannot be opened is stopped, and the rest go on.
    ///
    /// # Errors
    /// When the configuration is not usable, or the stores as a whole cannot be read.
    pub async fn start(
        config: HostConfig,
        identity: Identity,
        stores: Stores,
        machine: Arc<dyn StateMachine>,
    ) -> Result<Self, Error> {
        let inner = Arc::new(Inner::new(config, identity, stores, machine)?);
        // First: what is opened early must not wait for what is opened late.
        pulse::start(&inner);
        groups::reopen(&inner).await?;
        Ok(Self { inner })
    }

    /// Makes `members` the first voters of a group that nobody has yet; every one of them must have it open. Repeating
    /// it changes nothing.
    ///
    /// # Errors
    /// When the group cannot be opened here, or this node is not among the members.
    pub async fn bootstrap_group(&self, group: GroupId, members: Vec<Peer>) -> Result<(), Error> {
        groups::bootstrap(&self.inner, group, members).await
    }

    /// Whether this node's replica of a group was opened with [`Probation::UNTIL_TOLD`] and has not been told since.
    pub fn is_prepared(&self, group: GroupId) -> bool {
        self.inner
            .replica(group)
            .is_some_and(|replica| replica.is_prepared())
    }

    /// Makes `members` the first voters of a group that is prepared here; otherwise it changes nothing. For somebody who
    /// had to learn first whether the group may be begun here: what is prepared survives a restart, and elects nobody.
    ///
    /// # Errors
    /// As [`Self::bootstrap_group`].
    pub async fn begin_prepared_group(&self, group: GroupId, members: Vec<Peer>) -> Result<(), Error> {
        groups::begin_prepared(&self.inner, group, members).await
    }

    /// Opens an empty replica that waits to be added to its group, or the one that is there already.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn open_group(&self, group: GroupId) -> Result<(), Error> {
        groups::open(&self.inner, group).await.map(drop)
    }

    /// Opens an empty replica on a node that may have been a member of the group before, as the leader wants it that ends
    /// at `probation`. It neither votes nor asks for votes until it has heard of its admission: the log may hold
    /// memberships from before in which it votes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn admit_group(&self, group: GroupId, probation: Probation) -> Result<(), Error> {
        groups::admit(&self.inner, group, probation).await
    }

    /// Stops this node's replica of a group. It must not be a member any more when it is erased.
    ///
    /// # Errors
    /// When the store fails; the replica is stopped all the same.
    pub async fn close_group(&self, group: GroupId, wipe: Wipe) -> Result<(), Error> {
        groups::close(&self.inner, group, wipe).await
    }

    /// Takes note that the store of this node's replica is damaged, as whoever reads it has found. The replica goes on
    /// for as long as its own work does not meet the damage, because a group may need its vote; see
    /// [`GroupStatus::damaged`].
    pub fn found_damaged(&self, group: GroupId, reason: &str) {
        if let Some(replica) = self.inner.replica(group) {
            replica.found_damaged(reason);
        }
    }

    /// Compares the replicas of a group on these nodes, all as they are at one place in the log, and tells `progress` how
    /// far it is. The state of the group does not change.
    ///
    /// # Errors
    /// [`Error::Deadline`] when no leader takes the mark in time. What keeps a single replica from being compared is
    /// told of that replica.
    pub async fn verify(
        &self,
        group: GroupId,
        nodes: &[NodeId],
        deadline: impl Into<Instant> + Send,
        progress: impl Fn(verify::Progress) + Send + Sync,
    ) -> Result<Verification, Error> {
        let comparison = verify::Comparison {
            inner: &self.inner,
            group,
            deadline: deadline.into(),
            progress: &progress,
        };
        comparison.run(nodes).await
    }

    /// Every replica on this node, in ascending order of the groups.
    pub fn groups(&self) -> Vec<GroupStatus> {
        groups::statuses(&self.inner)
    }

    /// The replica of a group.
    pub fn group(&self, group: GroupId) -> Option<GroupStatus> {
        groups::status(&self.inner, group)
    }

    /// Has an entry committed and applied by its group, wherever the leader is. The entry may be proposed more than
    /// once on the way, so it must carry a request id that the state machine recognises.
    ///
    /// # Errors
    /// [`Error::Deadline`] when time runs out, and then the entry may still be committed; [`Error::Overloaded`] when
    /// too many proposals wait here or at the leader, or its disk is behind; [`Error::TooLarge`] for an entry that is.
    pub async fn propose(
        &self,
        group: GroupId,
        entry: Bytes,
        deadline: impl Into<Instant> + Send,
    ) -> Result<Committed, Error> {
        self.propose_for(String::new(), group, entry, deadline).await
    }

    /// The same as a part of `request`, which the leader's node names in its log lines.
    ///
    /// # Errors
    /// Those of [`Self::propose`].
    pub async fn propose_for(
        &self,
        request: String,
        group: GroupId,
        entry: Bytes,
        deadline: impl Into<Instant> + Send,
    ) -> Result<Committed, Error> {
        let (bytes, limit) = (entry.len(), self.inner.config.entry_bytes_max);
        if bytes > limit {
            return Err(Error::TooLarge { group, bytes, limit });
        }
        let _room = self.inner.admission.admit(bytes)?;
        let proposal = Proposal {
            group,
            entry,
            request,
        };
        lead(&self.inner, group, &proposal, deadline.into()).await
    }

    /// Waits until the replica on this node satisfies `consistency`. Take a view of the state after that, and then ask
    /// [`Self::still_has`].
    ///
    /// # Errors
    /// [`Error::NotHosted`] when there is no replica here, [`Error::Deadline`] when time runs out.
    pub async fn read(
        &self,
        group: GroupId,
        consistency: Consistency,
        deadline: impl Into<Instant> + Send,
    ) -> Result<ReadPoint, Error> {
        read::read(&self.inner, group, consistency, deadline.into()).await
    }

    /// Whether the replica here has not been erased since it was read at `point`. A view that was taken before this is
    /// asked shows all of `point`; otherwise it may show the group as empty.
    pub fn still_has(&self, point: &ReadPoint) -> bool {
        self.applied(point.group)
            .is_some_and(|applied| *applied.borrow() >= point.index)
    }

    /// Follows the index of the last entry applied here; 0 before the first.
    pub fn applied(&self, group: GroupId) -> Option<watch::Receiver<u64>> {
        self.inner.replica(group).map(|replica| replica.applied())
    }

    /// Adds a node that follows without voting; it must have the group open. Returns when the change is committed,
    /// which is before the node has caught up: see [`GroupStatus::replication`].
    ///
    /// # Errors
    /// [`Error::Refused`] when it cannot be, [`Error::Deadline`] when time runs out.
    pub async fn add_learner(
        &self,
        group: GroupId,
        peer: Peer,
        deadline: impl Into<Instant> + Send,
    ) -> Result<(), Error> {
        self.inner.transport.heard_of(&peer);
        self.change(group, Change::AddLearner(peer), deadline.into())
            .await
    }

    /// Adds a node that was asked to open the group with this probation, if this node still leads in the same term: a
    /// later leader's log may hold memberships that the probation does not cover, so it has to ask anew.
    ///
    /// # Errors
    /// [`Error::Refused`] when this node does not lead in that term any more.
    pub async fn admit_learner(&self, group: GroupId, peer: Peer, probation: Probation) -> Result<(), Error> {
        self.inner.transport.heard_of(&peer);
        members::admit(&*self.inner.hosted(group)?, peer, probation.term).await
    }

    /// The group as this node leads it in this term, for changes that must not be made by a later leader.
    pub fn tenure(&self, group: GroupId, term: u64) -> Tenure {
        Tenure::new(self.clone(), group, term)
    }

    /// Replaces the voters; new ones must be learners and are waited for until they have nearly caught up. Leaders are
    /// asked one after the other until the deadline, so it may undo what was decided meanwhile; see [`Tenure`].
    ///
    /// # Errors
    /// [`Error::Refused`] when it cannot be, [`Error::Deadline`] when time runs out.
    pub async fn change_voters(
        &self,
        group: GroupId,
        voters: BTreeSet<NodeId>,
        retain_as_learners: bool,
        deadline: impl Into<Instant> + Send,
    ) -> Result<(), Error> {
        self.change(
            group,
            Change::ReplaceVoters {
                voters,
                retain_as_learners,
            },
            deadline.into(),
        )
        .await
    }

    /// Removes a node that does not vote.
    ///
    /// # Errors
    /// [`Error::Refused`] when it votes, [`Error::Deadline`] when time runs out.
    pub async fn remove_learner(
        &self,
        group: GroupId,
        node: NodeId,
        deadline: impl Into<Instant> + Send,
    ) -> Result<(), Error> {
        self.change(group, Change::RemoveLearner(node), deadline.into())
            .await
    }

    /// Hands leadership to a voter and returns when it leads.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no voter, [`Error::Deadline`] when time runs out.
    pub async fn transfer_leader(
        &self,
        group: GroupId,
        to: NodeId,
        deadline: impl Into<Instant> + Send,
    ) -> Result<(), Error> {
        self.change(group, Change::TransferLeader(to), deadline.into())
            .await
    }

    /// Has this node's replica take a snapshot soon.
    ///
    /// # Errors
    /// [`Error::NotHosted`] or [`Error::Stopped`] when no replica runs here.
    pub async fn snapshot(&self, group: GroupId) -> Result<(), Error> {
        let replica = self.inner.hosted(group)?;
        let triggered = replica.raft.trigger().snapshot().await;
        triggered.map_err(|fatal| Error::Stopped {
            group,
            reason: fatal.to_string(),
        })
    }

    /// Notes where a peer is; a changed address replaces the connections.
    ///
    /// # Errors
    /// [`Error::Address`] when the address cannot be parsed.
    pub fn knows(&self, peer: Peer) -> Result<(), Error> {
        self.inner.transport.knows(peer)
    }

    /// The peers whose address is known.
    pub fn peers(&self) -> Vec<NodeId> {
        self.inner.transport.peers()
    }

    /// A connection to a peer for the application's own calls; it comes up when it is used.
    ///
    /// # Errors
    /// [`Error::UnknownNode`] when no address is known.
    pub fn channel(&self, node: NodeId) -> Result<Channel, Error> {
        self.inner.transport.channel(node)
    }

    /// Who this node is.
    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// Brings the gauges of the groups up to date; call it before the registry is read.
    pub fn observe(&self) {
        self.inner.metrics.observe(&self.groups());
    }

    /// The service for the peer port.
    pub fn peer_service(&self) -> PeerServer {
        let bytes_max = self.inner.config.message_bytes_max;
        PeerServer::new(PeerEndpoint::new(Arc::clone(&self.inner)))
            .max_decoding_message_size(bytes_max)
            .max_encoding_message_size(bytes_max)
    }

    /// Stops every replica and ends every stream.
    pub async fn shutdown(self) {
        groups::shutdown(&self.inner).await;
    }

    async fn change(&self, group: GroupId, change: Change, deadline: Instant) -> Result<(), Error> {
        let call = ChangeCall {
            group,
            change,
            promote_lag_max: self.inner.config.promote_lag_max,
        };
        lead(&self.inner, group, &call, deadline).await
    }
}
