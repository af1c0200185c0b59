//! The sending end of a stream: takes messages out of a body and gives them to the network.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use covey_proto::peer::v1::Frame;
use http_body_util::BodyExt as _;
use prost::Message as _;
use tonic::body::Body;

use super::pipe::Item;
use super::{Direction, Network, Parcel, Stream};

/// Bytes before each message of gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Sends everything in the body, until it ends or nobody wants it any more.
pub(super) async fn run(network: &Network, stream: &Arc<Stream>, direction: Direction, mut body: Body) {
    let pipe = match direction {
        Direction::There => &stream.request,
        Direction::Back => &stream.reply,
    };
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { break };
        if pipe.is_dead() {
            return;
        }
        match frame.into_data() {
            Ok(data) => messages(data).for_each(|message| network.send(stream, direction, message)),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    network.end(stream, direction, Item::Trailers(trailers));
                }
            }
        }
    }
    network.end(stream, direction, Item::End);
}

/// The messages in a piece of a body, each with its prefix. The sender never tears one over two pieces.
fn messages(mut data: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        if data.len() < PREFIX_BYTES {
            return None;
        }
        let length = (&data[1..PREFIX_BYTES]).get_u32() as usize;
        Some(data.split_to((PREFIX_BYTES + length).min(data.len())))
    })
}

impl Network {
    /// Sends one message.
    fn send(&self, stream: &Arc<Stream>, direction: Direction, message: Bytes) {
        let mut state = self.lock();
        state.sent += 1;
        if stream.lossy
            && let Ok(frame) = Frame::decode(message.slice(PREFIX_BYTES..))
        {
            state.trace.frame((stream.from, stream.to), direction, &frame);
        }
        let pipe = match direction {
            Direction::There => stream.request.clone(),
            Direction::Back => stream.reply.clone(),
        };
        let item = Item::Message(message);
        if !stream.lossy {
            if !state.post(stream, direction, Parcel::Item(pipe, item)) {
                state.lost += 1;
            }
            return;
        }
        let weather = state.weather;
        if !state.passes(stream, direction) || state.chance.happens(weather.loss) {
            state.lost += 1;
            return;
        }
        let (min, max) = weather.delay_ms;
        if state.chance.happens(weather.repetition) {
            let delay_ms = state.chance.within(min, 4 * max);
            state.schedule(delay_ms, Parcel::Item(pipe.clone(), item.clone()));
        }
        let delay_ms = if state.chance.happens(weather.disorder) {
            state.chance.within(min, 4 * max)
        } else {
            state.delay(stream, direction)
        };
        state.schedule(delay_ms, Parcel::Item(pipe, item));
    }

    /// Sends what follows the last message.
    fn end(&self, stream: &Arc<Stream>, direction: Direction, item: Item) {
        let pipe = match direction {
            Direction::There => stream.request.clone(),
            Direction::Back => stream.reply.clone(),
        };
        self.lock().post(stream, direction, Parcel::Item(pipe, item));
    }
}
