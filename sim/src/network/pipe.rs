//! One direction of a stream: what has arrived and is not read yet.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};
use tonic::Status;

use super::{Network, Stream};
use crate::moment::Moment;

/// Something that arrives.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// A message.
    Message(Bytes),
    /// What follows the last message.
    Trailers(tonic::codegen::http::HeaderMap),
    /// The end without trailers.
    End,
}

/// See the page's head. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipe(Arc<Mutex<Arrived>>);

#[derive(Debug, Default)]
struct Arrived {
    items: VecDeque<Item>,
    broken: bool,
    ended: bool,
    /// Whether nobody reads any more.
    abandoned: bool,
    reader: Option<Waker>,
    /// When the last item in order arrives.
    last: Moment,
}

impl Pipe {
    /// Lets an item arrive.
    pub(super) fn push(&self, item: Item) {
        let mut arrived = self.lock();
        arrived.items.push_back(item);
        wake(arrived);
    }

    /// Breaks it: whoever reads learns that at once.
    pub(super) fn fail(&self) {
        let mut arrived = self.lock();
        arrived.broken = true;
        wake(arrived);
    }

    /// Whether sending is of no use any more.
    pub(super) fn is_dead(&self) -> bool {
        let arrived = self.lock();
        arrived.broken || arrived.abandoned
    }

    /// A delay in milliseconds that is not shorter than `delay_ms` and overtakes nothing.
    pub(super) fn in_order(&self, now: Moment, delay_ms: u64) -> u64 {
        let mut arrived = self.lock();
        let at = now.plus_ms(delay_ms).max(arrived.last);
        arrived.last = at;
        at.ms_since(now)
    }

    /// The reading end; if it is told whose it is, its end breaks the stream.
    pub(super) fn reader(&self, owner: Option<(Network, Arc<Stream>)>) -> Reader {
        Reader {
            pipe: self.clone(),
            owner,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arrived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut arrived: MutexGuard<'_, Arrived>) {
    let reader = arrived.reader.take();
    drop(arrived);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// The body that the other side reads.
pub(super) struct Reader {
    pipe: Pipe,
    owner: Option<(Network, Arc<Stream>)>,
}

impl Body for Reader {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut arrived = self.pipe.lock();
        if arrived.ended {
            return Poll::Ready(None);
        }
        if arrived.broken {
            arrived.ended = true;
            return Poll::Ready(Some(Err(Status::unavailable("the connection broke"))));
        }
        match arrived.items.pop_front() {
            Some(Item::Message(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Item::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Item::End) => {
                arrived.ended = true;
                Poll::Ready(None)
            }
            None => {
                arrived.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.pipe.lock().abandoned = true;
        if let Some((network, stream)) = self.owner.take() {
            network.hung_up(&stream);
        }
    }
}
