//! What happened, in order: a hash of all of it, and as text if somebody wants to read it.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covey_proto::peer::v1::Frame;
use covey_proto::peer::v1::envelope::Body;
use covey_state::NodeId;

use crate::event::Event;
use crate::moment::Moment;
use crate::network::Direction;

/// The record of a world. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Trace(Arc<Mutex<Record>>);

#[derive(Debug)]
struct Record {
    now: Moment,
    hash: u64,
    /// Whether lines are printed.
    aloud: bool,
    events: Vec<Event>,
    /// Requests for votes that are not answered yet: the link and the number of the request in it.
    votes_asked: BTreeSet<((NodeId, NodeId), u64)>,
}

/// The basis and the prime of the FNV-1a hash of 64 bits.
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

impl Trace {
    /// An empty record; `aloud` prints each line as it comes.
    pub(crate) fn new(aloud: bool) -> Self {
        Self(Arc::new(Mutex::new(Record {
            now: Moment::START,
            hash: FNV_BASIS,
            aloud,
            events: Vec::new(),
            votes_asked: BTreeSet::new(),
        })))
    }

    /// The hash of everything up to now: two runs of one seed have the same.
    pub(crate) fn hash(&self) -> u64 {
        self.lock().hash
    }

    pub(crate) fn set_now(&self, now: Moment) {
        self.lock().now = now;
    }

    /// Adds a line.
    pub(crate) fn line(&self, line: impl Display) {
        self.lock().add(&line.to_string());
    }

    /// Adds an event, which the properties see after the step.
    pub(crate) fn event(&self, event: Event) {
        let mut record = self.lock();
        record.add(&event.to_string());
        record.events.push(event);
    }

    /// The events since the last call.
    pub(crate) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock().events)
    }

    /// Adds what is said in a stream between hosts; `link` is who opened it, and to whom.
    pub(crate) fn frame(&self, link: (NodeId, NodeId), direction: Direction, frame: &Frame) {
        for envelope in &frame.envelopes {
            if let Some(body) = &envelope.body {
                self.message(link, direction, envelope.correlation, body);
            }
        }
    }

    fn message(&self, link: (NodeId, NodeId), direction: Direction, correlation: u64, body: &Body) {
        let (from, to) = match direction {
            Direction::There => link,
            Direction::Back => (link.1, link.0),
        };
        let mut record = self.lock();
        record.add(&format!("{from}->{to} {correlation} {}", words(body)));
        let question = (link, correlation);
        match (direction, body) {
            (Direction::There, Body::Vote(_)) => drop(record.votes_asked.insert(question)),
            // Its answer looks the same and binds nobody.
            (Direction::There, Body::PreVote(_)) => drop(record.votes_asked.remove(&question)),
            (Direction::Back, Body::VoteReply(reply)) => {
                let asked = record.votes_asked.remove(&question);
                drop(record);
                if let Some(vote) = reply.vote.filter(|_| asked && reply.granted) {
                    self.event(Event::Granted {
                        node: from,
                        term: vote.term,
                        candidate: NodeId::new(vote.node),
                    });
                }
            }
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    fn add(&mut self, line: &str) {
        for byte in line.bytes().chain(self.now.micros().to_le_bytes()) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        if self.aloud {
            eprintln!("{} {line}", self.now);
        }
    }
}

fn words(body: &Body) -> String {
    match body {
        Body::Append(request) => {
            let (vote, previous) = (request.vote.as_ref(), request.previous.as_ref());
            let term = vote.map_or(0, |vote| vote.term);
            let previous = previous.map_or_else(|| "-".to_owned(), |id| format!("{}.{}", id.term, id.index));
            let count = request.entries.len();
            let commit = request.commit.as_ref().map_or(0, |id| id.index);
            format!("append term {term} after {previous} entries {count} commit {commit}")
        }
        Body::AppendReply(reply) => format!("append reply {reply:?}"),
        Body::Vote(request) => format!("vote {:?}", request.vote),
        Body::PreVote(request) => format!("pre-vote {:?}", request.vote),
        Body::VoteReply(reply) => format!("vote reply {:?} granted {}", reply.vote, reply.granted),
        Body::Propose(request) => format!("propose {} bytes", request.entry.len()),
        Body::ProposeReply(reply) => match &reply.outcome {
            Some(outcome) => format!("propose reply {outcome:?}"),
            None => "propose reply".to_owned(),
        },
        Body::Transfer(_) => "transfer".to_owned(),
        Body::TransferReply(_) => "transfer reply".to_owned(),
        Body::ReadIndex(_) => "read index".to_owned(),
        Body::ReadIndexReply(reply) => format!("read index reply {:?}", reply.outcome),
        Body::Refusal(refusal) => format!("refusal: {}", refusal.reason),
    }
}
