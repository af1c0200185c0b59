//! The network between the hosts of a world: it carries the frames of gRPC and does to them what networks do.
//!
//! A stream of consensus messages may lose, repeat and reorder its messages; any other call is in order and whole, or
//! it breaks, as it would on TCP. Nothing arrives by itself: [`Network::deliver`] hands out what is due.

mod pipe;
mod pump;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covey_cluster::{Carrier, Peer, PeerServer, Reply};
use covey_state::NodeId;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::codegen::{Service as _, http};

use crate::chance::Chance;
use crate::moment::Moment;
use crate::trace::Trace;
use pipe::{Item, Pipe};

/// How the network treats messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weather {
    /// The shortest and the longest delay in milliseconds.
    pub delay_ms: (u64, u64),
    /// The probability that a message is lost.
    pub loss: f64,
    /// The probability that it arrives twice.
    pub repetition: f64,
    /// The probability that it overtakes or is overtaken.
    pub disorder: f64,
}

impl Weather {
    /// A quiet network.
    pub const FAIR: Self = Self {
        delay_ms: (1, 4),
        loss: 0.0,
        repetition: 0.0,
        disorder: 0.0,
    };
}

/// The network. Clones share it.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<State>>);

struct State {
    now: Moment,
    chance: Chance,
    weather: Weather,
    doors: BTreeMap<NodeId, Door>,
    /// Who cannot reach whom.
    cuts: BTreeSet<(NodeId, NodeId)>,
    due: BTreeMap<(Moment, u64), Parcel>,
    sequence: u64,
    streams: BTreeMap<u64, Arc<Stream>>,
    trace: Trace,
    sent: u64,
    lost: u64,
}

/// Where the calls to a running node go.
struct Door {
    server: PeerServer,
    runtime: tokio::runtime::Handle,
}

/// One call and everything that flows in it.
pub(crate) struct Stream {
    id: u64,
    from: NodeId,
    to: NodeId,
    /// Whether messages may be lost one by one; otherwise a loss breaks the stream.
    lossy: bool,
    request: Pipe,
    reply: Pipe,
}

/// Something on its way.
enum Parcel {
    Call(Arc<Stream>, http::request::Parts, oneshot::Sender<Reply>),
    Answer(http::Response<Body>, oneshot::Sender<Reply>),
    Item(Pipe, Item),
    Break(Arc<Stream>),
    Refusal(oneshot::Sender<Reply>),
    /// It never arrives; whoever waits for it learns that when the connection ends.
    Lost(Box<Self>),
}

/// How long it takes until the end of a connection shows by itself.
const KEEP_ALIVE_MS: u64 = 1_500;

impl Network {
    /// A quiet network.
    pub(crate) fn new(seed: u64, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Moment::START,
            chance: Chance::new(seed, "network"),
            weather: Weather::FAIR,
            doors: BTreeMap::new(),
            cuts: BTreeSet::new(),
            due: BTreeMap::new(),
            sequence: 0,
            streams: BTreeMap::new(),
            trace,
            sent: 0,
            lost: 0,
        })))
    }

    /// What carries the calls of a node.
    pub(crate) fn carrier(&self, from: NodeId) -> Arc<dyn Carrier> {
        Arc::new(Way {
            network: self.clone(),
            from,
        })
    }

    /// Lets calls to a node in.
    pub(crate) fn open(&self, node: NodeId, server: PeerServer, runtime: tokio::runtime::Handle) {
        self.lock().doors.insert(node, Door { server, runtime });
    }

    /// A node is gone; whoever talked to it learns that after a while.
    pub(crate) fn close(&self, node: NodeId) {
        let mut state = self.lock();
        state.doors.remove(&node);
        state.break_streams(|stream| stream.from == node || stream.to == node, 50);
    }

    /// Sets how messages are treated from now on.
    pub(crate) fn set_weather(&self, weather: Weather) {
        self.lock().weather = weather;
    }

    /// From now on nothing gets from the first of a pair to the second.
    pub(crate) fn set_cuts(&self, cuts: BTreeSet<(NodeId, NodeId)>) {
        let mut state = self.lock();
        let crosses = |stream: &Stream| {
            cuts.contains(&(stream.from, stream.to)) || cuts.contains(&(stream.to, stream.from))
        };
        state.break_streams(crosses, KEEP_ALIVE_MS);
        state.cuts = cuts;
    }

    /// Breaks every connection.
    pub(crate) fn reset(&self) {
        self.lock().break_streams(|_| true, 5);
    }

    /// Hands out what is due.
    pub(crate) fn deliver(&self, now: Moment) {
        loop {
            let parcel = {
                let mut state = self.lock();
                state.now = now;
                match state.due.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    Some(_) | None => return,
                }
            };
            self.hand_out(parcel);
        }
    }

    /// Forgets everything that is on its way.
    pub(crate) fn forget(&self) {
        let forgotten = {
            let mut state = self.lock();
            (
                std::mem::take(&mut state.due),
                std::mem::take(&mut state.streams),
                std::mem::take(&mut state.doors),
            )
        };
        // Not under the lock: what is on its way may hold the reading end of a stream, which takes it.
        drop(forgotten);
    }

    /// Messages sent and messages lost so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        (state.sent, state.lost)
    }

    fn hand_out(&self, parcel: Parcel) {
        match parcel {
            Parcel::Item(pipe, item) => pipe.push(item),
            Parcel::Break(stream) => {
                self.lock().streams.remove(&stream.id);
                stream.request.fail();
                stream.reply.fail();
            }
            // Whoever asked may have given up.
            Parcel::Answer(response, answer) => drop(answer.send(Ok(response))),
            Parcel::Refusal(answer) => drop(answer.send(Err("the connection was refused".into()))),
            Parcel::Call(stream, parts, answer) => self.serve(stream, parts, answer),
            Parcel::Lost(parcel) => drop(parcel),
        }
    }

    /// A call has arrived.
    fn serve(&self, stream: Arc<Stream>, parts: http::request::Parts, answer: oneshot::Sender<Reply>) {
        let door = {
            let mut state = self.lock();
            match state.doors.get(&stream.to) {
                Some(door) => (door.server.clone(), door.runtime.clone()),
                None => {
                    let _ = state.post(&stream, Direction::Back, Parcel::Refusal(answer));
                    return;
                }
            }
        };
        let (mut server, runtime) = door;
        let call = http::Request::from_parts(parts, Body::new(stream.request.reader(None)));
        let network = self.clone();
        runtime.spawn(async move {
            let Ok(response) = server.call(call).await;
            let (parts, body) = response.into_parts();
            let reader = stream.reply.reader(Some((network.clone(), Arc::clone(&stream))));
            let response = http::Response::from_parts(parts, Body::new(reader));
            let posted = network
                .lock()
                .post(&stream, Direction::Back, Parcel::Answer(response, answer));
            if posted {
                pump::run(&network, &stream, Direction::Back, body).await;
            }
        });
    }

    /// Sends a call on its way; `None` if it cannot get through.
    fn call(
        &self,
        (from, to): (NodeId, NodeId),
        lossy: bool,
        parts: http::request::Parts,
        answer: oneshot::Sender<Reply>,
    ) -> Option<Arc<Stream>> {
        let mut state = self.lock();
        state.sequence += 1;
        let stream = Arc::new(Stream {
            id: state.sequence,
            from,
            to,
            lossy,
            request: Pipe::default(),
            reply: Pipe::default(),
        });
        state.streams.insert(stream.id, Arc::clone(&stream));
        let parcel = Parcel::Call(Arc::clone(&stream), parts, answer);
        state.post(&stream, Direction::There, parcel).then_some(stream)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reader of the answers has hung up.
    fn hung_up(&self, stream: &Arc<Stream>) {
        let mut state = self.lock();
        if state.streams.contains_key(&stream.id) {
            state.schedule(1, Parcel::Break(Arc::clone(stream)));
        }
    }
}

/// Which way something flows in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    There,
    Back,
}

impl State {
    fn schedule(&mut self, delay_ms: u64, parcel: Parcel) {
        self.sequence += 1;
        let at = self.now.plus_ms(delay_ms);
        self.due.insert((at, self.sequence), parcel);
    }

    fn break_streams(&mut self, concerns: impl Fn(&Stream) -> bool, within_ms: u64) {
        let broken: Vec<_> = self
            .streams
            .values()
            .filter(|stream| concerns(stream))
            .cloned()
            .collect();
        for stream in broken {
            let delay_ms = self.chance.within(within_ms / 2, within_ms);
            self.schedule(delay_ms, Parcel::Break(stream));
        }
    }

    /// Whether anything gets through in a direction.
    fn passes(&self, stream: &Stream, direction: Direction) -> bool {
        let way = match direction {
            Direction::There => (stream.from, stream.to),
            Direction::Back => (stream.to, stream.from),
        };
        !self.cuts.contains(&way)
    }

    /// Sends what must not be lost: false if it cannot get through, and then the stream breaks.
    fn post(&mut self, stream: &Arc<Stream>, direction: Direction, parcel: Parcel) -> bool {
        if !self.passes(stream, direction) {
            self.schedule(KEEP_ALIVE_MS, Parcel::Break(Arc::clone(stream)));
            self.schedule(KEEP_ALIVE_MS, Parcel::Lost(Box::new(parcel)));
            return false;
        }
        let delay_ms = self.delay(stream, direction);
        self.schedule(delay_ms, parcel);
        true
    }

    /// A delay that keeps the order of a stream.
    fn delay(&mut self, stream: &Stream, direction: Direction) -> u64 {
        let (min, max) = self.weather.delay_ms;
        let drawn = self.chance.within(min, max);
        let pipe = match direction {
            Direction::There => &stream.request,
            Direction::Back => &stream.reply,
        };
        pipe.in_order(self.now, drawn)
    }
}

/// The way of one node's calls.
struct Way {
    network: Network,
    from: NodeId,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

impl Carrier for Way {
    fn carry(&self, to: &Peer, call: http::Request<Body>) -> BoxFuture<'static, Reply> {
        let (network, from, to) = (self.network.clone(), self.from, to.node);
        async move {
            let (parts, body) = call.into_parts();
            let (answer, answered) = oneshot::channel();
            let lossy = parts.uri.path().ends_with("/Exchange");
            let Some(stream) = network.call((from, to), lossy, parts, answer) else {
                // sleep: nobody says that a packet is lost.
                tokio::time::sleep(Duration::from_millis(KEEP_ALIVE_MS)).await;
                return Err("the connection timed out".into());
            };
            tokio::spawn(async move { pump::run(&network, &stream, Direction::There, body).await });
            answered
                .await
                .unwrap_or_else(|_| Err("the connection broke".into()))
        }
        .boxed()
    }
}
