//! The clients: they append versions to models and read how many there are, through any node.
//!
//! An append goes on under one request id until it is acknowledged or its client loses patience, and some are sent
//! again long after. The numbers that versions get are the order of the appends, so every promise can be checked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use covey_cluster::{Consistency, Error, ReadPoint};
use covey_state::registry::{Artifact, Lineage, VersionSpec};
use covey_state::{Command, Digest, NodeId, Request, RequestId, Timestamp};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::event::{Appended, Event, Read};
use crate::machine::number;
use crate::moment::Moment;
use crate::node::{GROUP, Node, count};
use crate::trace::Trace;

/// The models that are appended to.
pub(crate) const MODELS: [&str; 2] = ["larch", "rowan"];

/// How long one attempt may take on the clock of its node.
const ATTEMPT: Duration = Duration::from_secs(2);

/// How long a client tries an append, in milliseconds.
const PATIENCE_MS: u64 = 8_000;

/// Requests that are kept to be sent again.
const KEPT_MAX: usize = 64;

/// All clients of a world.
pub(crate) struct Workload {
    chance: Chance,
    trace: Trace,
    clients: Vec<Client>,
    ended: Ended,
    attempts: u64,
    requests: u64,
    /// Acknowledged appends, to be sent again.
    kept: Vec<Append>,
    pub(crate) tally: Tally,
}

/// What came of it all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Appends that were acknowledged.
    pub appends: u64,
    /// Acknowledged repeats of older appends.
    pub repeats: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Attempts that failed or whose node went away.
    pub failures: u64,
    /// Appends whose outcome nobody knows.
    pub unknown: u64,
}

/// Attempts that have ended, with what came of them.
type Ended = Arc<Mutex<Vec<(u64, Outcome)>>>;

enum Outcome {
    Committed(Bytes),
    Seen(ReadPoint, u64),
    Failed(String),
}

#[derive(Default)]
struct Client {
    busy: Option<Work>,
    /// What it has seen: the index of its last read, and the models' counts there.
    index: u64,
}

struct Work {
    attempt: u64,
    node: NodeId,
    incarnation: u64,
    task: Task,
    /// When its client asked.
    invoked: Moment,
    /// Whether it is on its way, or waits for another attempt.
    under_way: bool,
}

#[derive(Clone)]
enum Task {
    Append(Append),
    Repeat(Append),
    Read(String, Consistency),
}

#[derive(Clone)]
struct Append {
    model: String,
    request: Request,
}

impl Workload {
    pub(crate) fn new(seed: u64, clients: usize, trace: Trace) -> Self {
        Self {
            chance: Chance::new(seed, "clients"),
            trace,
            clients: (0..clients).map(|_| Client::default()).collect(),
            ended: Ended::default(),
            attempts: 0,
            requests: 0,
            kept: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// The requests that make the models.
    pub(crate) fn founding() -> Vec<Bytes> {
        let create = |(number, model): (usize, &&str)| Request {
            id: RequestId::Unique(number as u128, 1),
            at: Timestamp::from_micros(1),
            by: "sim".to_owned(),
            command: Command::CreateModel {
                name: (*model).to_owned(),
                description: String::new(),
            },
        };
        let requests = MODELS.iter().enumerate().map(create);
        requests.map(|request| Bytes::from(request.encode())).collect()
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.clients.iter().all(|client| client.busy.is_none())
    }

    /// Takes in what has ended and lets idle clients begin something; none of them if `begins` is zero.
    pub(crate) fn step(&mut self, now: Moment, nodes: &[Node], begins: f64) {
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        for (attempt, outcome) in ended {
            self.finish(now, attempt, outcome);
        }
        for place in 0..self.clients.len() {
            self.notice_losses(place, nodes);
            let work = match self.clients[place].busy.take() {
                Some(work) if work.under_way => Some(work),
                Some(work) => self.again(now, work),
                None => self.begin(now, place, begins),
            };
            self.clients[place].busy = work.map(|work| self.attempt(work, nodes));
        }
    }

    /// What was asked of a node that is gone has no answer.
    fn notice_losses(&mut self, place: usize, nodes: &[Node]) {
        if let Some(work) = &mut self.clients[place].busy
            && work.under_way
            && !nodes
                .iter()
                .any(|node| node.id == work.node && node.incarnation() == work.incarnation && node.is_up())
        {
            work.under_way = false;
            self.tally.failures += 1;
        }
    }

    fn finish(&mut self, now: Moment, attempt: u64, outcome: Outcome) {
        let found = self.clients.iter().position(|client| {
            client
                .busy
                .as_ref()
                .is_some_and(|work| work.attempt == attempt && work.under_way)
        });
        let Some(place) = found else { return };
        let Some(mut work) = self.clients[place].busy.take() else {
            return;
        };
        match (outcome, &work.task) {
            (Outcome::Committed(answer), Task::Append(append) | Task::Repeat(append)) => {
                let repeat = matches!(work.task, Task::Repeat(_));
                self.appended((work.invoked, now), append, &answer, repeat);
            }
            (Outcome::Seen(point, count), Task::Read(model, consistency)) => {
                self.tally.reads += 1;
                self.trace.event(Event::Read(Read {
                    client: place,
                    node: work.node,
                    consistency: *consistency,
                    model: model.clone(),
                    count,
                    index: point.index,
                    staleness: point.staleness,
                    invoked: work.invoked,
                    answered: now,
                }));
                self.clients[place].index = self.clients[place].index.max(point.index);
            }
            (Outcome::Failed(reason), _) => {
                self.tally.failures += 1;
                self.trace
                    .line(format_args!("client {place} failed on {}: {reason}", work.node));
                work.under_way = false;
                self.clients[place].busy = Some(work);
            }
            (Outcome::Committed(_) | Outcome::Seen(..), _) => {}
        }
    }

    fn appended(
        &mut self,
        (invoked, answered): (Moment, Moment),
        append: &Append,
        answer: &[u8],
        repeat: bool,
    ) {
        let Some(number) = number(answer) else {
            return self.trace.line(format_args!("{} was refused", append.request.id));
        };
        if repeat {
            self.tally.repeats += 1;
        } else {
            self.tally.appends += 1;
            if self.kept.len() < KEPT_MAX {
                self.kept.push(append.clone());
            }
        }
        self.trace.event(Event::Appended(Appended {
            request: append.request.id.to_string(),
            model: append.model.clone(),
            number,
            invoked,
            answered,
        }));
    }

    /// Tries again, unless it has taken too long: a read is given up, and of an append nobody knows.
    fn again(&mut self, now: Moment, work: Work) -> Option<Work> {
        if now.ms_since(work.invoked) < PATIENCE_MS {
            return Some(work);
        }
        if matches!(work.task, Task::Append(_)) {
            self.tally.unknown += 1;
        }
        None
    }

    fn begin(&mut self, now: Moment, place: usize, begins: f64) -> Option<Work> {
        if !self.chance.happens(begins) {
            return None;
        }
        let model = (*self.chance.pick(&MODELS)?).to_owned();
        let task = match self.chance.within(0, 99) {
            0..40 => Task::Append(self.new_append(now, model)),
            40..48 => match self.chance.pick(&self.kept) {
                Some(append) => Task::Repeat(append.clone()),
                None => return None,
            },
            48..75 => Task::Read(model, Consistency::Linearizable),
            75..85 => Task::Read(model, Consistency::AtLeast(self.clients[place].index)),
            85..95 => {
                let bound = Duration::from_millis(self.chance.within(50, 3_000));
                Task::Read(model, Consistency::Bounded(bound))
            }
            _ => Task::Read(model, Consistency::Local),
        };
        Some(Work {
            attempt: 0,
            node: NodeId::new(0),
            incarnation: 0,
            task,
            invoked: now,
            under_way: false,
        })
    }

    fn new_append(&mut self, now: Moment, model: String) -> Append {
        self.requests += 1;
        let spec = VersionSpec {
            artifacts: vec![Artifact {
                name: "model.json".to_owned(),
                bytes: 0,
                digest: Digest::of(b""),
                chunks: Vec::new(),
            }],
            algorithm: format!("a{}", self.requests),
            signature: Vec::new(),
            service: None,
            lineage: Lineage::default(),
            metrics: std::collections::BTreeMap::new(),
            profile: None,
        };
        let request = Request {
            id: RequestId::Unique(u128::from(self.requests), 0),
            at: Timestamp::from_micros(i64::try_from(now.micros()).unwrap_or(i64::MAX)),
            by: "sim".to_owned(),
            command: Command::CreateVersion {
                model: model.clone(),
                spec,
            },
        };
        Append { model, request }
    }

    /// Sends work that is not under way to some node.
    fn attempt(&mut self, mut work: Work, nodes: &[Node]) -> Work {
        if work.under_way {
            return work;
        }
        let up: Vec<&Node> = nodes.iter().filter(|node| node.is_up()).collect();
        let Some(node) = self.chance.pick(&up) else {
            return work;
        };
        let Some((host, runtime)) = node.host() else {
            return work;
        };
        self.attempts += 1;
        let (attempt, ended, host) = (self.attempts, Arc::clone(&self.ended), host.clone());
        work.attempt = attempt;
        work.node = node.id;
        work.incarnation = node.incarnation();
        work.under_way = true;
        let end = move |outcome| {
            ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((attempt, outcome))
        };
        match &work.task {
            Task::Append(append) | Task::Repeat(append) => {
                let entry = Bytes::from(append.request.encode());
                runtime.spawn(async move {
                    let committed = host.propose(GROUP, entry, Instant::now() + ATTEMPT).await;
                    end(committed.map_or_else(failed, |committed| Outcome::Committed(committed.answer)));
                });
            }
            Task::Read(model, consistency) => {
                let (model, consistency, statedb) = (model.clone(), *consistency, node.statedb());
                runtime.spawn(async move {
                    let read = host.read(GROUP, consistency, Instant::now() + ATTEMPT).await;
                    let seen = statedb.map(|statedb| count(&statedb.group(GROUP).read(), &model));
                    end(match (read, seen) {
                        (Ok(point), _) if !host.still_has(&point) => {
                            Outcome::Failed("the replica was erased".to_owned())
                        }
                        (Ok(point), Some(Ok(count))) => Outcome::Seen(point, count),
                        (Err(error), _) => failed(error),
                        (_, Some(Err(error))) => Outcome::Failed(error.to_string()),
                        (_, None) => Outcome::Failed("the node is gone".to_owned()),
                    });
                });
            }
        }
        work
    }
}

fn failed(error: Error) -> Outcome {
    Outcome::Failed(error.to_string())
}
