//! What goes wrong in a world, and when: decided before it begins, so that a failing schedule can be made smaller.

use std::collections::BTreeSet;
use std::fmt;

use covey_state::NodeId;

use crate::chance::Chance;
use crate::moment::Moment;
use crate::network::Weather;

/// Something that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A node loses its power for so many milliseconds.
    Crash(NodeId, u64),
    /// All nodes do, at once.
    Blackout(u64),
    /// The nodes and all others cannot reach each other.
    Split(BTreeSet<NodeId>, u64),
    /// A node is cut off for so many milliseconds while all others restart: nobody but it remembers who leads.
    Orphan(NodeId, u64),
    /// What the first sends does not reach the second.
    OneWay(NodeId, NodeId, u64),
    /// The network treats messages badly.
    Storm(Weather, u64),
    /// Every connection breaks.
    Reset,
    /// Syncs of a node take so many milliseconds.
    SlowDisk(NodeId, u64, u64),
    /// A node takes a snapshot.
    Snapshot(NodeId),
    /// Leadership is handed to a node.
    Transfer(NodeId),
    /// A node is to give up its replica for so many milliseconds; where there is a spare node, that takes it.
    Leave(NodeId, u64),
    /// The replica of a node is damaged: its group lets it go, it erases what it has and is admitted anew.
    Rebuild(NodeId),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(node, ms) => write!(f, "{node} has no power for {ms} ms"),
            Self::Blackout(ms) => write!(f, "no node has power for {ms} ms"),
            Self::Split(side, ms) => write!(f, "{side:?} are cut off for {ms} ms"),
            Self::Orphan(node, ms) => write!(f, "{node} is cut off for {ms} ms and all others restart"),
            Self::OneWay(from, to, ms) => write!(f, "nothing gets from {from} to {to} for {ms} ms"),
            Self::Storm(weather, ms) => write!(f, "{weather:?} for {ms} ms"),
            Self::Reset => write!(f, "every connection breaks"),
            Self::SlowDisk(node, sync_ms, ms) => write!(f, "syncs of {node} take {sync_ms} ms for {ms} ms"),
            Self::Snapshot(node) => write!(f, "{node} takes a snapshot"),
            Self::Transfer(node) => write!(f, "{node} is asked to lead"),
            Self::Leave(node, ms) => write!(f, "{node} leaves the group for {ms} ms"),
            Self::Rebuild(node) => write!(f, "the replica of {node} is rebuilt"),
        }
    }
}

/// The settings of a world and what goes wrong in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The seed that the rest of the world follows from.
    pub seed: u64,
    /// The nodes, numbered from 1; the first are members of the group at the beginning.
    pub nodes: u64,
    /// How many of them are to vote.
    pub replication: u32,
    /// How much faster or slower than the world's a clock may run, as a part of it.
    pub skew: f64,
    /// How long, at least, a follower waits for others before it asks for votes, in milliseconds.
    pub election_min_ms: u64,
    /// How long it waits at most, which is a leader's lease.
    pub election_max_ms: u64,
    /// Whether leaders answer reads by their lease.
    pub lease_reads: bool,
    /// How long things go wrong.
    pub turmoil_ms: u64,
    /// What goes wrong.
    pub faults: Vec<(Moment, Fault)>,
}

/// Before this nothing goes wrong: the group has to be there first.
const CALM_MS: u64 = 3_000;

/// How long a cluster that has lost its leader needs to have one again.
const ORPHANED_MS: u64 = 4_000;

impl Schedule {
    /// The schedule of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut chance = Chance::new(seed, "schedule");
        let (nodes, replication) = match chance.within(0, 9) {
            0..5 => (3, 3),
            5..7 => (4, 3),
            7 => (5, 3),
            _ => (5, 5),
        };
        // Some worlds only ask what a leader's lease is worth once everybody else has forgotten it.
        let only_leases = chance.happens(0.12);
        let lease_reads = only_leases || chance.happens(0.4);
        let turmoil_ms = chance.within(15_000, 40_000);
        // A world has a character: some are calm, in some everything breaks.
        let pause_ms = chance.within(150, 2_500);
        let mut faults = Vec::new();
        let mut at = CALM_MS;
        while at < turmoil_ms {
            let drawn = if only_leases {
                Fault::Orphan(any(&mut chance, nodes), chance.within(400, 1_500))
            } else {
                fault(&mut chance, nodes)
            };
            faults.push((Moment::from_ms(at), drawn));
            at += chance.within(1, 2 * pause_ms) + if only_leases { ORPHANED_MS } else { 0 };
        }
        Self {
            seed,
            nodes,
            replication,
            skew: chance.fraction(0.0, if lease_reads { 0.02 } else { 0.2 }),
            election_min_ms: if only_leases || chance.happens(0.5) {
                120
            } else {
                300
            },
            // Where only leases matter they are long: who forgets one has time to do harm.
            election_max_ms: if only_leases { 1_500 } else { 600 },
            lease_reads,
            turmoil_ms,
            faults,
        }
    }

    /// Leaves out all faults but those at these places.
    pub fn keep(&mut self, places: &[usize]) {
        let mut place = 0;
        self.faults.retain(|_| {
            place += 1;
            places.contains(&(place - 1))
        });
    }

    /// The ids of the nodes.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (1..=self.nodes).map(NodeId::new)
    }
}

fn any(chance: &mut Chance, nodes: u64) -> NodeId {
    NodeId::new(chance.within(1, nodes))
}

fn fault(chance: &mut Chance, nodes: u64) -> Fault {
    let one = |chance: &mut Chance| any(chance, nodes);
    match chance.within(0, 99) {
        0..28 => Fault::Crash(one(chance), chance.within(5, 3_000)),
        28..31 => Fault::Blackout(chance.within(5, 2_000)),
        31..38 => Fault::Orphan(one(chance), chance.within(200, 2_000)),
        38..48 => Fault::Split(side(chance, nodes), chance.within(100, 5_000)),
        48..58 => Fault::OneWay(one(chance), one(chance), chance.within(100, 4_000)),
        58..72 => Fault::Storm(storm(chance), chance.within(200, 5_000)),
        72..76 => Fault::Reset,
        76..84 => Fault::SlowDisk(one(chance), chance.within(5, 400), chance.within(100, 4_000)),
        84..92 => Fault::Snapshot(one(chance)),
        92..95 => Fault::Transfer(one(chance)),
        95..98 => Fault::Leave(one(chance), chance.within(100, 4_000)),
        _ => Fault::Rebuild(one(chance)),
    }
}

fn side(chance: &mut Chance, nodes: u64) -> BTreeSet<NodeId> {
    let size = chance.within(1, nodes / 2);
    let mut side = BTreeSet::new();
    while (side.len() as u64) < size {
        side.insert(NodeId::new(chance.within(1, nodes)));
    }
    side
}

fn storm(chance: &mut Chance) -> Weather {
    let min = chance.within(1, 20);
    Weather {
        delay_ms: (min, min + chance.within(1, 200)),
        loss: if chance.happens(0.6) {
            chance.fraction(0.0, 0.3)
        } else {
            0.0
        },
        repetition: if chance.happens(0.5) {
            chance.fraction(0.0, 0.3)
        } else {
            0.0
        },
        disorder: if chance.happens(0.5) {
            chance.fraction(0.0, 0.5)
        } else {
            0.0
        },
    }
}
