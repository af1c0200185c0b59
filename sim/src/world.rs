//! A world: nodes, network, clients and what goes wrong, moved on step by step until it has healed or a promise is broken.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use covey_cluster::{HostConfig, Peer};
use covey_state::NodeId;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::event::Event;
use crate::moment::Moment;
use crate::network::{Network, Weather};
use crate::node::{GROUP, Node, Surroundings};
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
            .map(|node| format!("{:?}", node.status()))
            .collect();
        Err(self.broken(
            "the cluster heals",
            format!("it did not within {HEALING_MS} ms: {}", states.join("; ")),
        ))
    }

    /// Whether every node runs and has taken in the same.
    fn is_whole(&self) -> bool {
        let applied: BTreeSet<Option<u64>> = self
            .nodes
            .iter()
            .map(|node| node.status().and_then(|status| status.applied_index))
            .collect();
        applied.len() == 1 && !applied.contains(&None)
    }

    fn compare(&mut self, answered: Tally) -> Result<(), Failure> {
        let states: Vec<(NodeId, u64)> = self
            .nodes
            .iter()
            .filter_map(|node| Some((node.id, node.view().map(|view| digest(&view))?)))
            .collect();
        self.trace.line(format_args!("states {states:x?}"));
        if states.iter().any(|(_, state)| *state != states[0].1) {
            return Err(self.broken("replicas are the same", format!("{states:x?}")));
        }
        if answered.appends == 0 || answered.reads == 0 {
            return Err(self.broken("the clients are served", format!("{answered:?}")));
        }
        Ok(())
    }

    fn step(&mut self, begins: f64) -> Result<(), Failure> {
        self.now = self.now.plus_ms(STEP_MS);
        self.trace.set_now(self.now);
        self.faults().map_err(|cause| self.stuck(cause))?;
        self.network.deliver(self.now);
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
        };
        let checked = self.properties.check(&scene);
        checked.map_err(|violation| Failure::Broken {
            at: self.now,
            violation,
        })
    }

    /// Brings about what is due, and ends what is over.
    fn faults(&mut self) -> anyhow::Result<()> {
        let mut over = Vec::new();
        let now = self.now;
        self.lasting.retain(|(due, fault)| {
            let lasts = *due > now;
            if !lasts {
                over.push(fault.clone());
            }
            lasts
        });
        let changed = !over.is_empty();
        for fault in over {
            self.end(&fault)?;
        }
        let mut began = false;
        while let Some((at, fault)) = self.schedule.faults.get(self.next_fault)
            && *at <= now
        {
            let fault = fault.clone();
            self.next_fault += 1;
            self.trace.line(format_args!("fault: {fault}"));
            self.begin(fault)?;
            began = true;
        }
        if changed || began {
            self.network.set_cuts(self.cuts());
        }
        Ok(())
    }

    fn begin(&mut self, fault: Fault) -> anyhow::Result<()> {
        let lasts_ms = match &fault {
            Fault::Crash(node, ms) => {
                self.node(*node).crash()?;
                *ms
            }
            Fault::Blackout(ms) => {
                for node in &mut self.nodes {
                    node.crash()?;
                }
                *ms
            }
            Fault::Orphan(node, ms) => {
                let others = self.nodes.iter_mut().filter(|other| other.id != *node);
                for other in others {
                    other.crash()?;
                }
                self.start_all()?;
                *ms
            }
            Fault::Split(_, ms) | Fault::OneWay(_, _, ms) => *ms,
            Fault::Storm(weather, ms) => {
                self.network.set_weather(*weather);
                *ms
            }
            Fault::Reset => {
                self.network.reset();
                return Ok(());
            }
            Fault::SlowDisk(node, sync_ms, ms) => {
                self.node(*node).sync_ms = (sync_ms / 2, *sync_ms);
                *ms
            }
            Fault::Snapshot(node) => {
                if let Some((host, runtime)) = self.node(*node).host() {
                    let host = host.clone();
                    runtime.spawn(async move { drop(host.snapshot(GROUP).await) });
                }
                return Ok(());
            }
            Fault::Transfer(node) => {
                self.transfer(*node);
                return Ok(());
            }
            Fault::Leave(node, ms) => {
                self.leave(*node);
                *ms
            }
        };
        self.lasting.push((self.now.plus_ms(lasts_ms), fault));
        Ok(())
    }

    fn end(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Crash(..) | Fault::Blackout(_) => self.start_all()?,
            Fault::Storm(..) => self.network.set_weather(Weather::FAIR),
            Fault::SlowDisk(node, ..) => self.node(*node).sync_ms = (1, 3),
            Fault::Leave(node, _) => self.come_back(*node),
            Fault::Split(..)
            | Fault::Orphan(..)
            | Fault::OneWay(..)
            | Fault::Reset
            | Fault::Snapshot(_)
            | Fault::Transfer(_) => {}
        }
        Ok(())
    }

    /// Starts every node that has no reason to be off.
    fn start_all(&mut self) -> anyhow::Result<()> {
        let peers: Vec<Peer> = self.nodes.iter().map(Node::peer).collect();
        let lasting = &self.lasting;
        let is_off = |id: NodeId| {
            lasting.iter().any(|(_, fault)| match fault {
                Fault::Crash(node, _) => *node == id,
                Fault::Blackout(_) => true,
                _ => false,
            })
        };
        for node in &mut self.nodes {
            if !node.is_up() && !is_off(node.id) {
                node.start(self.now, &peers)?;
            }
        }
        Ok(())
    }

    /// Makes the group and the models.
    fn found(&mut self) {
        let peers: Vec<Peer> = self.nodes.iter().map(Node::peer).collect();
        for (place, node) in self.nodes.iter().enumerate() {
            let Some((host, runtime)) = node.host() else {
                continue;
            };
            let (host, peers) = (host.clone(), peers.clone());
            runtime.spawn(async move {
                if place > 0 {
                    return drop(host.open_group(GROUP).await);
                }
                if host.bootstrap_group(GROUP, peers).await.is_err() {
                    return;
                }
                for request in Workload::founding() {
                    let deadline = Instant::now() + Duration::from_secs(60);
                    drop(host.propose(GROUP, request, deadline).await);
                }
            });
        }
    }

    fn transfer(&self, to: NodeId) {
        let first_up = self.nodes.iter().find_map(Node::host);
        let Some((host, runtime)) = first_up else { return };
        let host = host.clone();
        runtime.spawn(async move {
            let deadline = Instant::now() + Duration::from_secs(2);
            drop(host.transfer_leader(GROUP, to, deadline).await);
        });
    }

    /// Takes the vote from a node.
    fn leave(&self, node: NodeId) {
        let voters: BTreeSet<NodeId> = self.schedule.ids().filter(|id| *id != node).collect();
        self.change_voters(voters);
    }

    /// Gives every node its vote back.
    fn come_back(&self, _: NodeId) {
        self.change_voters(self.schedule.ids().collect());
    }

    fn change_voters(&self, voters: BTreeSet<NodeId>) {
        let first_up = self.nodes.iter().find_map(Node::host);
        let Some((host, runtime)) = first_up else { return };
        let host = host.clone();
        runtime.spawn(async move {
            let deadline = Instant::now() + Duration::from_secs(5);
            drop(host.change_voters(GROUP, voters, true, deadline).await);
        });
    }

    fn cuts(&self) -> BTreeSet<(NodeId, NodeId)> {
        let mut cuts = BTreeSet::new();
        for (_, fault) in &self.lasting {
            match fault {
                Fault::Split(side, _) => {
                    for one in self.schedule.ids().filter(|id| side.contains(id)) {
                        for other in self.schedule.ids().filter(|id| !side.contains(id)) {
                            cuts.insert((one, other));
                            cuts.insert((other, one));
                        }
                    }
                }
                Fault::Orphan(node, _) => {
                    let others = self.schedule.ids().filter(|other| other != node);
                    cuts.extend(others.flat_map(|other| [(*node, other), (other, *node)]));
                }
                Fault::OneWay(from, to, _) => drop(cuts.insert((*from, *to))),
                _ => {}
            }
        }
        cuts
    }

    fn node(&mut self, id: NodeId) -> &mut Node {
        let place = self.nodes.iter().position(|node| node.id == id);
        &mut self.nodes[place.expect("a schedule names only nodes that it has")]
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
    use covey_state::View as _;
    let mut sum = 0u64;
    let scanned = view.scan(&covey_state::Key::Clock, &mut |key, record| {
        let text = Bytes::from(format!("{key:?} {record:?}"));
        sum = sum.rotate_left(7) ^ u64::from(crc32c::crc32c(&text));
        std::ops::ControlFlow::Continue(())
    });
    if scanned.is_ok() { sum } else { u64::MAX }
}

/// Short timers and small snapshots, so that much happens in a short time.
fn config(schedule: &Schedule) -> HostConfig {
    HostConfig {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_millis(schedule.election_min_ms),
        election_max: Duration::from_millis(600),
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
