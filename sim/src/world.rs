//! A world: nodes, network, clients and what goes wrong, moved on step by step until it has healed or a promise broke.

mod membership;
mod turmoil;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use covey_cluster::{Consistency, HostConfig};
use covey_state::NodeId;

use self::membership::Membership;
use crate::chance::Chance;
use crate::event::{Event, Recounted};
use crate::ledger::{Ledger, whole};
use crate::moment::Moment;
use crate::network::Network;
use crate::node::{Node, Surroundings, position};
use crate::properties::{Observed, Properties, Scene, Violation};
use crate::schedule::{Fault, Schedule};
use crate::trace::Trace;
use crate::workload::{Tally, Workload};

/// The length of a step.
const STEP_MS: u64 = 2;

/// How long a world may take to heal.
const HEALING_MS: u64 = 60_000;

/// How long clients go on once nothing goes wrong any more.
const CALM_AFTER_MS: u64 = 3_000;

/// How often the members of the group are looked at, in microseconds.
const MEMBERSHIP_PERIOD: u64 = 100_000;

/// The probability that an idle client begins something in a step.
const BEGINS: f64 = 0.05;

/// The clients of a world.
const CLIENTS: usize = 4;

/// Why a world ended badly.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A promise was broken.
    #[error("at {at}: {violation}")]
    Broken {
        /// When.
        at: Moment,
        /// Which, and how.
        violation: Violation,
    },
    /// A node could not be started or crashed, which it always must.
    #[error("at {at}: {cause:#}")]
    Stuck {
        /// When.
        at: Moment,
        /// Why.
        cause: anyhow::Error,
    },
}

impl Failure {
    /// The name of what was broken.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Broken { violation, .. } => violation.property,
            Self::Stuck { .. } => "every disk can be opened",
        }
    }
}

/// What came of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How long it lasted.
    pub lasted: Moment,
    /// What its clients came to.
    pub tally: Tally,
    /// Faults that were brought about.
    pub faults: u64,
    /// Messages sent, and how many of them were lost.
    pub messages: (u64, u64),
    /// Two runs of the same schedule have the same.
    pub hash: u64,
}

/// See the page's head.
pub(crate) struct World {
    schedule: Schedule,
    now: Moment,
    trace: Trace,
    network: Network,
    nodes: Vec<Node>,
    workload: Workload,
    properties: Properties,
    /// What ends by itself, and when.
    lasting: Vec<(Moment, Fault)>,
    next_fault: usize,
    founded: bool,
    membership: Membership,
    /// The order in which nodes take their turns.
    chance: Chance,
}

impl World {
    pub(crate) fn new(schedule: Schedule, home: std::path::PathBuf, trace: Trace) -> Self {
        let seed = schedule.seed;
        let network = Network::new(seed, trace.clone());
        let surroundings = Surroundings {
            home,
            config: config(&schedule),
            network: network.clone(),
            trace: trace.clone(),
        };
        let mut chance = Chance::new(seed, "world");
        let nodes = schedule.ids().map(|id| {
            let rate = 1.0 + chance.fraction(-schedule.skew, schedule.skew);
            Node::new(id, seed, rate, surroundings.clone())
        });
        Self {
            nodes: nodes.collect(),
            workload: Workload::new(seed, CLIENTS, trace.clone()),
            properties: Properties::default(),
            now: Moment::START,
            lasting: Vec::new(),
            next_fault: 0,
            founded: false,
            membership: Membership::new(schedule.replication, schedule.ids()),
            schedule,
            network,
            trace,
            chance,
        }
    }

    /// Lets it run to its end.
    pub(crate) fn run(mut self) -> Result<Summary, Failure> {
        self.start_all().map_err(|cause| self.stuck(cause))?;
        self.found();
        let end = Moment::from_ms(self.schedule.turmoil_ms);
        while self.now < end {
            self.step(BEGINS)?;
        }
        self.heal()?;
        Ok(Summary {
            lasted: self.now,
            tally: self.workload.tally,
            faults: self.next_fault as u64,
            messages: self.network.counts(),
            hash: self.trace.hash(),
        })
    }

    /// All faults end, and then everything must be answered and every replica be the same.
    fn heal(&mut self) -> Result<(), Failure> {
        self.trace.line("everything is mended");
        self.next_fault = self.schedule.faults.len();
        for (due, _) in &mut self.lasting {
            *due = self.now;
        }
        let calm = self.now.plus_ms(CALM_AFTER_MS);
        while self.now < calm {
            self.step(BEGINS)?;
        }
        let answered = self.workload.tally;
        let end = self.now.plus_ms(HEALING_MS);
        while self.now < end {
            self.step(0.0)?;
            if self.workload.is_idle() && self.is_whole() {
                return self.compare(answered);
            }
        }
        let states: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("{}: {:?}", node.id, node.status()))
            .collect();
        Err(self.broken(
            "the cluster heals",
            format!(
                "it did not within {HEALING_MS} ms to {:?}: {}",
                self.membership.decided(),
                states.join("; ")
            ),
        ))
    }

    /// Whether every node runs, who is in the group is who should be, and all members have taken in the same.
    fn is_whole(&self) -> bool {
        let decided = self.membership.decided();
        let settled = self.nodes.iter().all(|node| match node.status() {
            Some(status) => {
                let voters: BTreeSet<NodeId> = status.voters.iter().copied().collect();
                decided.holds(node.id)
                    && voters == decided.voters
                    && !status.joint
                    && status.learners.is_empty()
            }
            None => node.is_up() && !decided.holds(node.id),
        });
        let applied: BTreeSet<Option<u64>> = self
            .members()
            .map(|node| node.status().and_then(|status| status.applied_index))
            .collect();
        settled && self.membership.is_sound() && applied.len() == 1 && !applied.contains(&None)
    }

    /// The nodes that should be in the group.
    fn members(&self) -> impl Iterator<Item = &Node> {
        let decided = self.membership.decided();
        self.nodes.iter().filter(|node| decided.holds(node.id))
    }

    fn compare(&mut self, answered: Tally) -> Result<(), Failure> {
        let states: Vec<(NodeId, u64)> = self
            .members()
            .filter_map(|node| Some((node.id, node.view().map(|view| digest(&view))?)))
            .collect();
        self.trace.line(format_args!("states {states:x?}"));
        if states.iter().any(|(_, state)| *state != states[0].1) {
            return Err(self.broken("replicas are the same", format!("{states:x?}")));
        }
        if answered.appends == 0 || answered.reads == 0 {
            return Err(self.broken("the clients are served", format!("{answered:?}")));
        }
        self.recount().map_err(|cause| self.stuck(cause))?;
        self.check()
    }

    /// Shows the properties what every member has counted.
    fn recount(&self) -> anyhow::Result<()> {
        for node in self.members() {
            let Some(view) = node.view() else { continue };
            self.trace.event(Event::Recounted(Recounted {
                node: node.id,
                consistency: Consistency::Linearizable,
                index: position(&view)?,
                ledger: Ledger::read(&view)?,
                invoked: self.now,
            }));
        }
        Ok(())
    }

    fn step(&mut self, begins: f64) -> Result<(), Failure> {
        self.now = self.now.plus_ms(STEP_MS);
        self.trace.set_now(self.now);
        self.faults().map_err(|cause| self.stuck(cause))?;
        self.network.deliver(self.now);
        if self.now.micros().is_multiple_of(MEMBERSHIP_PERIOD) {
            self.keep_members();
        }
        let first = self.chance.within(0, self.nodes.len() as u64 - 1) as usize;
        let count = self.nodes.len();
        for turn in 0..count {
            let advanced = self.nodes[(first + turn) % count].advance(self.now);
            advanced.map_err(|cause| self.stuck(cause))?;
        }
        let begins = if self.founded { begins } else { 0.0 };
        self.workload.step(self.now, &self.nodes, begins);
        self.check()
    }

    fn check(&mut self) -> Result<(), Failure> {
        let events = self.trace.take_events();
        let observed: Vec<Observed> = self.nodes.iter().filter_map(observe).collect();
        if !self.founded {
            self.founded = events.iter().any(|event| matches!(event, Event::Applied(_)));
        }
        let faulty = observed
            .iter()
            .find_map(|node| Some((node.node, node.status.fault.clone()?)));
        if let Some((node, fault)) = faulty {
            return Err(self.broken("no replica stops", format!("{node}: {fault}")));
        }
        let scene = Scene {
            now: self.now,
            events: &events,
            nodes: &observed,
            skew: self.schedule.skew,
            replication: self.schedule.replication as usize,
        };
        let checked = self.properties.check(&scene);
        checked.map_err(|violation| Failure::Broken {
            at: self.now,
            violation,
        })
    }

    fn broken(&self, property: &'static str, words: String) -> Failure {
        Failure::Broken {
            at: self.now,
            violation: Violation { property, words },
        }
    }

    fn stuck(&self, cause: anyhow::Error) -> Failure {
        Failure::Stuck { at: self.now, cause }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.nodes.clear();
        self.network.forget();
    }
}

fn observe(node: &Node) -> Option<Observed> {
    Some(Observed {
        node: node.id,
        incarnation: node.incarnation(),
        status: node.status()?,
        log: node.log()?,
    })
}

/// A number that two states share only if they are the same.
fn digest(view: &covey_storage::GroupView) -> u64 {
    let Ok(whole) = whole(view) else { return u64::MAX };
    whole.entries().fold(0u64, |sum, (key, record)| {
        let text = Bytes::from(format!("{key:?} {record:?}"));
        sum.rotate_left(7) ^ u64::from(crc32c::crc32c(&text))
    })
}

/// Short timers and small snapshots, so that much happens in a short time.
fn config(schedule: &Schedule) -> HostConfig {
    HostConfig {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_millis(schedule.election_min_ms),
        election_max: Duration::from_millis(schedule.election_max_ms),
        snapshot_every: 40,
        logs_kept: 10,
        purge_batch: 1,
        lag_max: 60,
        snapshot_chunk_bytes: 4_096,
        promote_lag_max: 10,
        append_timeout: Duration::from_millis(700),
        lease_reads: schedule.lease_reads,
        ..HostConfig::default()
    }
}
