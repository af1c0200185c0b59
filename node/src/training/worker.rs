//! The worker of a node: an actor that keeps decoded datasets and computes partial sums over their partitions.
//!
//! Invariant: an answer is a function of the order and the dataset's bytes, so any worker may give it, any time.

use std::sync::Arc;

use bytes::Bytes;
use covey_ml::frame::Frame;
use covey_ml::training::task::Task;
use covey_proto::node::v1 as node_v1;
use covey_state::Digest;
use covey_state::dataset::DatasetManifest;
use futures::future::try_join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call};
use tracing::{Instrument, Span};

use super::order::Order;
use crate::context::Context;
use crate::error::Failure;
use crate::features::frames;

/// At most this many decoded datasets are kept.
const DATASETS_KEPT_MAX: usize = 3;

/// The actor.
pub struct Worker;

/// A request to the worker.
pub struct Work {
    order: Order,
    partitions: Vec<usize>,
    /// The span of the request, for log lines.
    span: Span,
    reply: RpcReplyPort<Result<Vec<Bytes>, Failure>>,
}

/// A decoded dataset.
struct Decoded {
    content: Digest,
    partitions: Arc<Vec<Frame>>,
    whole: Option<Arc<Vec<Frame>>>,
}

/// What the worker keeps.
pub struct Kept {
    context: Context,
    /// Most recently used last.
    datasets: Vec<Decoded>,
}

impl Actor for Worker {
    type Msg = Work;
    type State = Kept;
    type Arguments = Context;

    async fn pre_start(&self, _myself: ActorRef<Work>, context: Context) -> Result<Kept, ActorProcessingErr> {
        Ok(Kept {
            context,
            datasets: Vec::new(),
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Work>,
        work: Work,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        fail::fail_point!("training::work");
        if work.reply.is_closed() {
            return Ok(());
        }
        let answer = kept
            .compute(work.order, work.partitions)
            .instrument(work.span)
            .await;
        // A caller that has gone away needs no answer.
        let _ = work.reply.send(answer);
        Ok(())
    }
}

impl Kept {
    async fn compute(&mut self, order: Order, partitions: Vec<usize>) -> Result<Vec<Bytes>, Failure> {
        let frames = self.frames(&order.dataset, order.whole).await?;
        let task = Arc::new(order.task);
        let partials = partitions.into_iter().map(|partition| {
            let (frames, task) = (Arc::clone(&frames), Arc::clone(&task));
            self.context
                .compute
                .run(move || partial(&task, &frames, partition))
        });
        // Each future answers in the place of its partition.
        try_join_all(partials).await
    }

    async fn frames(&mut self, dataset: &DatasetManifest, whole: bool) -> Result<Arc<Vec<Frame>>, Failure> {
        let position = self
            .datasets
            .iter()
            .position(|decoded| decoded.content == dataset.content);
        let mut decoded = match position {
            Some(position) => self.datasets.remove(position),
            None => self.decode(dataset).await?,
        };
        let frames = if whole {
            decoded.whole()?
        } else {
            Arc::clone(&decoded.partitions)
        };
        self.datasets.push(decoded);
        let surplus = self.datasets.len().saturating_sub(DATASETS_KEPT_MAX);
        self.datasets.drain(..surplus);
        Ok(frames)
    }

    async fn decode(&self, dataset: &DatasetManifest) -> Result<Decoded, Failure> {
        let bytes = self.context.artifacts.load(&dataset.artifact).await?;
        let sizes = dataset.partitions.clone();
        let partitions = self
            .context
            .compute
            .run(move || frames::partitions(bytes, &sizes))
            .await?;
        Ok(Decoded {
            content: dataset.content,
            partitions: Arc::new(partitions),
            whole: None,
        })
    }
}

impl Decoded {
    fn whole(&mut self) -> Result<Arc<Vec<Frame>>, Failure> {
        if let Some(whole) = &self.whole {
            return Ok(Arc::clone(whole));
        }
        let whole = Frame::concat(&self.partitions)
            .map_err(|error| Failure::internal("gathering a dataset", error))?;
        Ok(Arc::clone(self.whole.insert(Arc::new(vec![whole]))))
    }
}

fn partial(task: &Task, frames: &[Frame], partition: usize) -> Result<Bytes, Failure> {
    let frame = frames.get(partition).ok_or_else(|| {
        Failure::invalid(
            "partitions",
            format!("partition {partition} of {} does not exist", frames.len()),
        )
    })?;
    let partial = task
        .execute(frame)
        .map_err(|error| Failure::invalid("task", error.to_string()))?;
    let bytes =
        postcard::to_stdvec(&partial).map_err(|error| Failure::internal("encoding a partial sum", error))?;
    Ok(Bytes::from(bytes))
}

/// The worker's name in the actor registry of its process.
pub(super) fn name(context: &Context) -> String {
    format!("{}-training-worker", context.ledger.node())
}

/// Answers a coordinator on any node: `NodePeer.Train`.
pub async fn train(
    context: &Context,
    request: node_v1::TrainRequest,
) -> Result<node_v1::TrainReply, Failure> {
    let worker: ActorRef<Work> = ActorRef::where_is(name(context))
        .ok_or_else(|| Failure::unavailable(format!("the training worker of {}", context.ledger.node())))?;
    let order: Order = postcard::from_bytes(&request.task)
        .map_err(|error| Failure::invalid("task", format!("cannot be decoded: {error}")))?;
    let partitions = request
        .partitions
        .iter()
        .map(|partition| *partition as usize)
        .collect();
    let partials = call!(worker, |reply| Work {
        order,
        partitions,
        span: Span::current(),
        reply
    })
    .map_err(|error| Failure::internal("asking the training worker", error.to_string()))??;
    Ok(node_v1::TrainReply { partials })
}
