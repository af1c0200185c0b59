//! The clients: they append versions to models and read how many there are, push rows and flush drift counters and read
//! what is counted, through any node.
//!
//! An append goes on under one request id until it is acknowledged or its client loses patience, and some are sent
//! again long after. The numbers that versions get are the order of the appends, so every promise can be checked.
//! Pushes and flushes are sent like appends.

mod requests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use covey_cluster::{Consistency, Error, ReadPoint};
use covey_state::answer::Answer;
use covey_state::{Command, NodeId, Request};
use covey_storage::StateDb;
use tokio::time::Instant;

use self::requests::Requests;
use crate::chance::Chance;
use crate::event::{Appended, Counted, Event, Read, Recounted};
use crate::ledger::{Counts, Ledger};
use crate::machine::carried_out;
use crate::moment::Moment;
use crate::node::{GROUP, Node, count, position};
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
    requests: Requests,
    /// Acknowledged requests, to be sent again.
    kept: Vec<Request>,
    pub(crate) tally: Tally,
}

/// What came of it all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Appends that were acknowledged.
    pub appends: u64,
    /// Pushes and flushes that were acknowledged.
    pub counts: u64,
    /// Acknowledged repeats of older requests.
    pub repeats: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// Reads of what was counted that were answered.
    pub recounts: u64,
    /// Attempts that failed or whose node went away.
    pub failures: u64,
    /// Appends, pushes and flushes whose outcome nobody knows.
    pub unknown: u64,
}

/// Attempts that have ended, with what came of them.
type Ended = Arc<Mutex<Vec<(u64, Outcome)>>>;

enum Outcome {
    Committed(Bytes),
    Seen(ReadPoint, u64),
    Recounted(u64, Ledger),
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
    /// An append, a push or a flush.
    Change(Request),
    Repeat(Request),
    Read(String, Consistency),
    Recount(Consistency),
}

impl Workload {
    pub(crate) fn new(seed: u64, clients: usize, trace: Trace) -> Self {
        Self {
            chance: Chance::new(seed, "clients"),
            trace,
            clients: (0..clients).map(|_| Client::default()).collect(),
            ended: Ended::default(),
            attempts: 0,
            requests: Requests::new(seed, clients),
            kept: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// The requests that make the view and the models.
    pub(crate) fn founding() -> Vec<Bytes> {
        requests::founding()
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
            (Outcome::Committed(answer), Task::Change(request) | Task::Repeat(request)) => {
                let repeat = matches!(work.task, Task::Repeat(_));
                self.acknowledged((work.invoked, now), request, &answer, repeat);
            }
            (Outcome::Recounted(index, ledger), Task::Recount(consistency)) => {
                self.tally.recounts += 1;
                self.trace.event(Event::Recounted(Recounted {
                    node: work.node,
                    consistency: *consistency,
                    index,
                    ledger,
                    invoked: work.invoked,
                }));
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
            (Outcome::Committed(_) | Outcome::Seen(..) | Outcome::Recounted(..), _) => {}
        }
    }

    fn acknowledged(
        &mut self,
        (invoked, answered): (Moment, Moment),
        request: &Request,
        answer: &[u8],
        repeat: bool,
    ) {
        let id = request.id.to_string();
        let (event, of) = match (&request.command, carried_out(answer)) {
            (Command::CreateVersion { model, .. }, Some(Answer::Number(number))) => {
                let appended = Appended {
                    request: id,
                    model: model.clone(),
                    number,
                    invoked,
                    answered,
                };
                (Event::Appended(appended), &mut self.tally.appends)
            }
            (_, Some(answer)) => {
                let accepted = match answer {
                    Answer::Rows { accepted, .. } => Some(u64::from(accepted)),
                    _ => None,
                };
                let counted = Counted {
                    request: id,
                    accepted,
                    answered,
                };
                (Event::Counted(counted), &mut self.tally.counts)
            }
            (_, None) => return self.trace.line(format_args!("{id} was refused")),
        };
        if repeat {
            self.tally.repeats += 1;
        } else {
            *of += 1;
            if self.kept.len() < KEPT_MAX {
                self.kept.push(request.clone());
            }
        }
        self.trace.event(event);
    }

    /// Tries again, unless it has taken too long: a read is given up, and of an append nobody knows.
    fn again(&mut self, now: Moment, mut work: Work) -> Option<Work> {
        if now.ms_since(work.invoked) < PATIENCE_MS {
            if let Task::Change(request) = &mut work.task
                && matches!(request.command, Command::FlushDrift { .. })
            {
                self.requests.rename(request);
                self.ask(request);
            }
            return Some(work);
        }
        if matches!(work.task, Task::Change(_)) {
            self.tally.unknown += 1;
        }
        None
    }

    fn begin(&mut self, now: Moment, place: usize, begins: f64) -> Option<Work> {
        if !self.chance.happens(begins) {
            return None;
        }
        let model = (*self.chance.pick(&MODELS)?).to_owned();
        let task = match self.chance.within(0, 115) {
            0..40 => Task::Change(self.requests.append(now, model)),
            40..48 => match self.chance.pick(&self.kept) {
                Some(request) => Task::Repeat(request.clone()),
                None => return None,
            },
            48..75 => Task::Read(model, Consistency::Linearizable),
            75..85 => Task::Read(model, Consistency::AtLeast(self.clients[place].index)),
            85..95 => {
                let bound = Duration::from_millis(self.chance.within(50, 3_000));
                Task::Read(model, Consistency::Bounded(bound))
            }
            95..100 => Task::Read(model, Consistency::Local),
            100..106 => Task::Change(self.requests.push(now)),
            106..111 => Task::Change(self.requests.flush(now, place)),
            111..114 => Task::Recount(Consistency::Linearizable),
            _ => Task::Recount(Consistency::Local),
        };
        if let Task::Change(request) = &task {
            self.ask(request);
        }
        Some(Work {
            attempt: 0,
            node: NodeId::new(0),
            incarnation: 0,
            task,
            invoked: now,
            under_way: false,
        })
    }

    /// Tells the properties what a request asks to be counted.
    fn ask(&self, request: &Request) {
        if let Some(counts) = Counts::of(&request.command) {
            let request = request.id.to_string();
            self.trace.event(Event::Asked { request, counts });
        }
    }

    /// Sends work that is not under way to some node.
    fn attempt(&mut self, mut work: Work, nodes: &[Node]) -> Work {
        if work.under_way {
            return work;
        }
        // A client is sent on to where there is a replica.
        let up: Vec<&Node> = nodes.iter().filter(|node| node.status().is_some()).collect();
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
            Task::Change(request) | Task::Repeat(request) => {
                let entry = Bytes::from(request.encode());
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
            Task::Recount(consistency) => {
                let (consistency, statedb) = (*consistency, node.statedb());
                runtime.spawn(async move {
                    let read = host.read(GROUP, consistency, Instant::now() + ATTEMPT).await;
                    let counted = statedb.map(|statedb| counted(&statedb));
                    end(match (read, counted) {
                        (Ok(point), _) if !host.still_has(&point) => {
                            Outcome::Failed("the replica was erased".to_owned())
                        }
                        (Ok(_), Some(Ok((index, ledger)))) => Outcome::Recounted(index, ledger),
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

/// What a state has counted, and the last entry that it has taken in.
fn counted(statedb: &StateDb) -> anyhow::Result<(u64, Ledger)> {
    let view = statedb.group(GROUP).read();
    Ok((position(&view)?, Ledger::read(&view)?))
}

fn failed(error: Error) -> Outcome {
    Outcome::Failed(error.to_string())
}
