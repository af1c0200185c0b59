//! Reads: which states of the local replica a caller accepts, and waiting for one.

use std::sync::Arc;
use std::time::Duration;

use covey_proto::peer::v1 as wire;
use covey_proto::peer::v1::envelope::Body;
use covey_state::{GroupId, NodeId};
use futures::future::{Either, select};
use tokio::time::Instant;

use crate::config::HostConfig;
use crate::error::Error;
use crate::forward::{LeaderCall, Outcome, lead};
use crate::host::Inner;
use crate::replica::Replica;
use crate::round::NoAnswer;
use crate::service;
use crate::transport::{Priority, Transport};

/// What a reader asks of the state it sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Everything that was acknowledged anywhere before the read began.
    Linearizable,
    /// At least the entry at this index: what a writer has written itself.
    AtLeast(u64),
    /// Everything that was acknowledged anywhere longer ago than this.
    Bounded(Duration),
    /// Whatever is here, at a replica that holds at least what there was when it was admitted.
    Local,
}

/// A state of the local replica that satisfies a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPoint {
    /// The group.
    pub group: GroupId,
    /// The last entry that the state surely includes.
    pub index: u64,
    /// The state includes everything acknowledged longer ago than this; [`Duration::MAX`] when nothing is known.
    pub staleness: Duration,
}

/// Waits until the local replica satisfies `consistency`.
pub(crate) async fn read(
    inner: &Arc<Inner>,
    group: GroupId,
    consistency: Consistency,
    deadline: Instant,
) -> Result<ReadPoint, Error> {
    let replica = inner.hosted(group)?;
    match consistency {
        Consistency::Local if !replica.is_filled() => return Err(Error::NotHosted { group }),
        Consistency::Local => {}
        Consistency::AtLeast(index) => at_least(inner, &replica, index, deadline).await?,
        Consistency::Linearizable => return linearizable(inner, &replica, deadline).await,
        Consistency::Bounded(bound) => {
            let here = point(&replica);
            if here.staleness <= bound {
                return Ok(here);
            }
            return linearizable(inner, &replica, deadline).await;
        }
    }
    Ok(point(&replica))
}

/// Waits for an entry. A follower may not have heard yet that it is committed, and asks.
async fn at_least(inner: &Arc<Inner>, replica: &Replica, index: u64, deadline: Instant) -> Result<(), Error> {
    let waiting = std::pin::pin!(wait_applied(replica, index, deadline));
    let follows = replica.leader() != Some(inner.identity.node);
    if replica.applied_index() < index && follows {
        let asking = std::pin::pin!(read_index(inner, replica, deadline));
        // What counts is the entry, which may come without the leader's answer.
        return match select(waiting, asking).await {
            Either::Left((reached, _)) => reached,
            Either::Right((_, waiting)) => waiting.await,
        };
    }
    waiting.await
}

async fn linearizable(inner: &Arc<Inner>, replica: &Replica, deadline: Instant) -> Result<ReadPoint, Error> {
    let index = read_index(inner, replica, deadline).await?;
    wait_applied(replica, index, deadline).await?;
    // Acknowledgements after the read began are not promised, and none from before it is missing.
    Ok(ReadPoint {
        group: replica.group,
        index: replica.applied_index(),
        staleness: Duration::ZERO,
    })
}

/// The index a read must wait for: one round serves everybody who asked before it began.
async fn read_index(inner: &Arc<Inner>, replica: &Replica, deadline: Instant) -> Result<u64, Error> {
    let group = replica.group;
    let mut obstacle = "no leader confirmed itself".to_owned();
    loop {
        let asking = Arc::clone(inner);
        let round = move || {
            let inner = Arc::clone(&asking);
            async move {
                inner.metrics.read_rounds.inc();
                let until = Instant::now() + inner.config.election_max;
                lead(&inner, group, &ReadIndex { group }, until).await
            }
        };
        match tokio::time::timeout_at(deadline, replica.read_indexes.join(round)).await {
            Ok(Ok(Ok(index))) => return Ok(index),
            Ok(Ok(Err(Error::Deadline { obstacle: latest, .. }))) => obstacle = latest,
            Ok(Ok(Err(error))) => return Err(error),
            Ok(Err(NoAnswer::Lost)) => "the round broke off".clone_into(&mut obstacle),
            Ok(Err(NoAnswer::Full)) => {
                return Err(Error::Overloaded {
                    queue: "queue of reads".into(),
                    limit: inner.config.reads_max,
                    retry_after: inner.config.retry_after,
                });
            }
            Err(_) => {
                return Err(Error::Deadline {
                    group,
                    operation: ReadIndex::NAME,
                    obstacle,
                });
            }
        }
    }
}

/// Waits until the entry at `index` is applied here.
pub(crate) async fn wait_applied(replica: &Replica, index: u64, deadline: Instant) -> Result<(), Error> {
    let mut applied = replica.applied();
    let mut metrics = replica.metrics();
    let group = replica.group;
    let reached = async {
        tokio::select! {
            biased;
            reached = applied.wait_for(|applied| *applied >= index) => reached.map(drop).ok(),
            () = stops(&mut metrics) => None,
        }
    };
    match tokio::time::timeout_at(deadline, reached).await {
        Ok(Some(())) => Ok(()),
        Ok(None) => Err(replica.fault().unwrap_or(Error::NotHosted { group })),
        Err(_) => {
            let obstacle = format!(
                "entry {index} is awaited, entry {} is applied",
                replica.applied_index()
            );
            Err(Error::Deadline {
                group,
                operation: "read",
                obstacle,
            })
        }
    }
}

/// Returns when the replica has stopped.
async fn stops(metrics: &mut crate::freshness::MetricsWatch) {
    use openraft::async_runtime::watch::WatchReceiver as _;
    loop {
        if metrics.borrow_watched().running_state.is_err() || metrics.changed().await.is_err() {
            return;
        }
    }
}

fn point(replica: &Replica) -> ReadPoint {
    let index = replica.applied_index();
    let staleness = replica.freshness.staleness(index).unwrap_or(Duration::MAX);
    ReadPoint {
        group: replica.group,
        index,
        staleness,
    }
}

/// Asks the leader for a read index.
struct ReadIndex {
    group: GroupId,
}

impl LeaderCall for ReadIndex {
    type Answer = u64;

    const NAME: &'static str = "linearizable read";

    fn patience(&self, config: &HostConfig) -> Duration {
        config.election_min
    }

    async fn here(&self, replica: Arc<Replica>, _: Instant) -> Outcome<u64> {
        replica.confirm().await
    }

    async fn there(&self, transport: &Transport, to: NodeId, until: Instant) -> Outcome<u64> {
        // With the consensus messages, and before the data: it is small, and its reader waits.
        let request = wire::ReadIndexRequest {
            timeout_ms: service::timeout_ms(until),
        };
        let body = Body::ReadIndex(request);
        match transport.request(to, Priority::Urgent, self.group, body).await {
            Ok(Body::ReadIndexReply(reply)) => service::read_index_outcome(reply),
            Ok(other) => Outcome::of_other_answer(&other, to, &transport.config),
            Err(error) => Outcome::of_call(error, to, &transport.config),
        }
    }
}
