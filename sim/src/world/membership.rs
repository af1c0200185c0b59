//! Who is in the group. Where its replicas belong is decided here by the planner, as by the leader of the control group.
//! What brings that about are the steps of [`next_steps`], taken by every node that believes it leads, by its own copy of
//! the decision, which may be old.

mod office;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use covey_cluster::{GroupStatus, Members, Peer, Probation, Role, Step, next_steps};
use covey_state::placement::{Demand, Problem, place};
use covey_state::topology::{self, NodeState, Placement};
use covey_state::{GroupId, NodeId, Timestamp};

use self::office::{Change, Office, locked, rebuild, release, take};
use super::World;
use crate::event::Event;
use crate::moment::Moment;
use crate::node::{GROUP, Node};

/// A node that has been off for so many milliseconds should not lead, and its replicas are rebuilt elsewhere.
const SILENT_AFTER_MS: u64 = 400;
const DEAD_AFTER_MS: u64 = 1_500;
/// The probability that a node hears of a new decision between two looks.
const HEARS: f64 = 0.5;

/// What was decided about members, and what nodes know of it.
pub(super) struct Membership {
    replication: u32,
    decided: BTreeMap<GroupId, Placement>,
    /// Nodes that are to give up their replicas.
    pub(super) leaving: BTreeSet<NodeId>,
    /// Nodes whose replica is to be rebuilt.
    damaged: Arc<Mutex<BTreeSet<NodeId>>>,
    offices: BTreeMap<NodeId, Office>,
    /// When each node was last seen running.
    heard: BTreeMap<NodeId, Moment>,
}

impl Membership {
    /// The first nodes vote, as many as are asked for.
    pub(super) fn new(replication: u32, nodes: impl Iterator<Item = NodeId>) -> Self {
        let voters: BTreeSet<NodeId> = nodes.take(replication as usize).collect();
        let placement = Placement {
            maker: voters.first().copied(),
            voters,
            ..Placement::default()
        };
        Self {
            replication,
            decided: BTreeMap::from([(GROUP, placement)]),
            leaving: BTreeSet::new(),
            damaged: Arc::default(),
            offices: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    /// Who should be in the group.
    pub(super) fn decided(&self) -> &Placement {
        &self.decided[&GROUP]
    }

    /// Whether no replica waits to be rebuilt.
    pub(super) fn is_sound(&self) -> bool {
        locked(&self.damaged).is_empty()
    }

    /// Has a node's replica rebuilt; one at a time, for the others have to be a majority.
    pub(super) fn damage(&self, node: NodeId) {
        let mut damaged = locked(&self.damaged);
        if damaged.is_empty() {
            damaged.insert(node);
        }
    }

    /// Plans anew. True if that changes anything.
    fn decide(&mut self, now: Moment, nodes: &[Node]) -> bool {
        for node in nodes {
            let heard = self.heard.entry(node.id).or_insert(now);
            if node.is_up() {
                *heard = now;
            }
        }
        let unheard = |limit: u64| -> BTreeSet<NodeId> {
            let longer = |(_, heard): &(&NodeId, &Moment)| now.ms_since(**heard) >= limit;
            self.heard.iter().filter(longer).map(|(node, _)| *node).collect()
        };
        let problem = Problem {
            nodes: nodes.iter().map(|node| self.describe(node)).collect(),
            silent: unheard(SILENT_AFTER_MS),
            dead: unheard(DEAD_AFTER_MS),
            groups: BTreeMap::from([(GROUP, Demand::default())]),
            replication_factor: self.replication,
        };
        let placed = place(&problem, &self.decided);
        let changed = placed != self.decided;
        self.decided = placed;
        changed
    }

    fn describe(&self, node: &Node) -> topology::Node {
        let Peer {
            node,
            peer_addr,
            api_addr,
        } = node.peer();
        topology::Node {
            id: node,
            peer_addr,
            api_addr,
            region: String::new(),
            zone: node.to_string(),
            binary: String::new(),
            state: if self.leaving.contains(&node) {
                NodeState::Decommissioning
            } else {
                NodeState::Active
            },
            joined_at: Timestamp::from_micros(0),
        }
    }

    /// Has the offices be those of the nodes that run. What a node has heard outlives it.
    fn staff(&mut self, nodes: &[Node]) {
        for node in nodes {
            let Some((host, runtime)) = node.host() else {
                continue;
            };
            let known = self.offices.get(&node.id);
            if known.is_some_and(|office| office.incarnation == node.incarnation()) {
                continue;
            }
            let copy = known.map(|office| Arc::clone(&office.copy));
            let office = Office {
                host: host.clone(),
                tasks: runtime.handle().clone(),
                peer: node.peer(),
                incarnation: node.incarnation(),
                copy: copy.unwrap_or_else(|| Arc::new(Mutex::new(self.decided().clone()))),
                changing: Arc::default(),
                replica: Arc::default(),
            };
            self.offices.insert(node.id, office);
        }
    }

    /// The offices of other nodes that run and believe that they lead.
    fn leaders(&self, nodes: &[Node], except: NodeId) -> Vec<Office> {
        let leads = |node: &&Node| {
            node.id != except && node.status().is_some_and(|status| status.role == Role::Leader)
        };
        let leaders = nodes.iter().filter(leads);
        leaders
            .filter_map(|node| self.offices.get(&node.id).cloned())
            .collect()
    }

    /// Nodes that run and whose replica is intact.
    fn intact(&self, nodes: &[Node]) -> BTreeSet<NodeId> {
        let damaged = locked(&self.damaged);
        let intact = |node: &&Node| node.status().is_some() && !damaged.contains(&node.id);
        nodes.iter().filter(intact).map(|node| node.id).collect()
    }
}

impl World {
    /// Looks at who is in the group, and at who should be.
    pub(super) fn keep_members(&mut self) {
        if !self.founded {
            return;
        }
        if self.membership.decide(self.now, &self.nodes) {
            let voters = self.membership.decided().voters.clone();
            self.trace.event(Event::Placed { voters });
        }
        self.membership.staff(&self.nodes);
        for office in self.membership.offices.values() {
            if self.chance.happens(HEARS) {
                *locked(&office.copy) = self.membership.decided().clone();
            }
        }
        for node in &self.nodes {
            self.tend(node);
        }
    }

    /// Has a node do what it would do about its replica.
    fn tend(&self, node: &Node) {
        let Some(office) = self.membership.offices.get(&node.id).filter(|_| node.is_up()) else {
            return;
        };
        let damaged = locked(&self.membership.damaged).contains(&node.id);
        let Some(status) = node.status() else {
            locked(&self.membership.damaged).remove(&node.id);
            return;
        };
        let copy = locked(&office.copy).clone();
        let leaders = || self.membership.leaders(&self.nodes, node.id);
        if damaged && office.replica.try_lock().is_ok() {
            let intact = self.membership.intact(&self.nodes);
            let damaged = Arc::clone(&self.membership.damaged);
            let rebuilt = rebuild(office.clone(), leaders(), intact, damaged, self.trace.clone());
            office.tasks.spawn(rebuilt);
        } else if !copy.holds(node.id) && office.replica.try_lock().is_ok() {
            let released = release(office.clone(), leaders(), self.trace.clone());
            office.tasks.spawn(released);
        }
        if status.role == Role::Leader {
            self.lead(office, &status, &copy);
        }
    }

    /// Has a node that leads take the next steps.
    fn lead(&self, office: &Office, status: &GroupStatus, copy: &Placement) {
        let steps = next_steps(&Members::of(office.peer.node, status), copy);
        let intact = self.membership.intact(&self.nodes);
        let possible = |step: &Step| match step {
            Step::Admit(node) => self.nodes.iter().any(|other| other.id == *node && other.is_up()),
            // Who is damaged hands it back at once, for ever.
            Step::HandOver(node) => intact.contains(node),
            Step::Vote(_) | Step::Dismiss(_) => true,
        };
        let steps: Vec<Step> = steps.into_iter().filter(possible).collect();
        if steps.is_empty() {
            return;
        }
        let Some(change) = Change::begin(office) else {
            return;
        };
        for step in &steps {
            self.trace.line(format_args!("{}: {step:?}", office.peer.node));
            if let Step::Vote(voters) = step {
                let voters = voters.clone();
                self.trace.event(Event::VotersAsked { voters });
            }
        }
        let newcomers = self.membership.offices.clone();
        let (leader, term, last) = (office.host.clone(), status.term, status.last_log_index);
        let probation = Probation {
            term,
            index: last.unwrap_or(0),
        };
        office.tasks.spawn(async move {
            for step in steps {
                take(&leader, step, probation, &newcomers).await;
            }
            drop(change);
        });
    }
}
