//! What must hold after every step, one property per page.

mod applied_once;
mod bounded_reads;
mod committed_stays;
mod election_safety;
mod leader_completeness;
mod linearizable_reads;
mod log_matching;
mod monotonic_reads;
mod replication_kept;
mod state_machine_safety;
mod state_with_position;
mod voters_as_asked;
mod votes_are_kept;
mod windows_recounted;

use std::collections::{BTreeMap, BTreeSet};

use covey_cluster::GroupStatus;
use covey_proto::peer::v1 as wire;
use covey_state::NodeId;
use covey_storage::GroupLog;

use crate::event::{Appended, Event, Read};
use crate::moment::Moment;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{property}: {words}")]
pub struct Violation {
    /// Which promise.
    pub property: &'static str,
    /// What was seen.
    pub words: String,
}

/// A node as the properties see it.
pub struct Observed {
    /// Which.
    pub node: NodeId,
    /// Counts its starts.
    pub incarnation: u64,
    /// What it says of itself.
    pub status: GroupStatus,
    /// Its log.
    pub log: GroupLog,
}

/// What is there after a step.
pub struct Scene<'a> {
    /// When.
    pub now: Moment,
    /// What happened in the step, in order.
    pub events: &'a [Event],
    /// The nodes that run.
    pub nodes: &'a [Observed],
    /// How much faster or slower than the world's a clock may run, as a part of it.
    pub skew: f64,
    /// How many replicas vote when nothing is amiss.
    pub replication: usize,
}

/// Something that must hold after every step.
pub trait Property {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Looks at a step; the words of an error say what was seen.
    fn check(&mut self, scene: &Scene<'_>) -> Result<(), String>;
}

/// All of them.
pub struct Properties(Vec<Box<dyn Property>>);

impl Default for Properties {
    fn default() -> Self {
        Self(vec![
            Box::new(election_safety::ElectionSafety::default()),
            Box::new(votes_are_kept::VotesAreKept::default()),
            Box::new(committed_stays::CommittedStays::default()),
            Box::new(voters_as_asked::VotersAsAsked::default()),
            Box::new(replication_kept::ReplicationKept::default()),
            Box::new(log_matching::LogMatching::default()),
            Box::new(leader_completeness::LeaderCompleteness::default()),
            Box::new(state_machine_safety::StateMachineSafety::default()),
            Box::new(state_with_position::StateWithPosition::default()),
            Box::new(applied_once::AppliedOnce::default()),
            Box::new(linearizable_reads::LinearizableReads::default()),
            Box::new(monotonic_reads::MonotonicReads::default()),
            Box::new(bounded_reads::BoundedReads::default()),
            Box::new(windows_recounted::WindowsRecounted::default()),
        ])
    }
}

impl Properties {
    /// Checks all of them.
    pub fn check(&mut self, scene: &Scene<'_>) -> Result<(), Violation> {
        for property in &mut self.0 {
            let name = property.name();
            property.check(scene).map_err(|words| Violation {
                property: name,
                words,
            })?;
        }
        Ok(())
    }
}

/// What was known to be there at which moment, per model: the largest number that was acknowledged or read.
#[derive(Debug, Default)]
struct Floors(BTreeMap<String, BTreeMap<Moment, u64>>);

impl Floors {
    /// At this moment somebody knew of this many versions.
    fn note(&mut self, model: &str, at: Moment, number: u64) {
        let floors = self.0.entry(model.to_owned()).or_default();
        if floors.last_key_value().is_none_or(|(_, floor)| *floor < number) {
            floors.insert(at, number);
        }
    }

    /// What was known before a moment.
    fn before(&self, model: &str, at: Moment) -> u64 {
        let floors = self.0.get(model);
        let floor = floors.and_then(|floors| floors.range(..at).next_back());
        floor.map_or(0, |(_, floor)| *floor)
    }
}

/// A term and who won in it.
type Election = (u64, NodeId);

/// Entries of a log are compared by the election they come from, which is a term and a leader, and by what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Print {
    election: Election,
    sum: u32,
}

/// The entries of a node's log between two indexes, both included, as far as they are there.
fn prints(node: &Observed, from: u64, to: u64) -> Result<Vec<(u64, Print)>, String> {
    let prints = entries(node, from, to)?.into_iter().map(|(index, sum, entry)| {
        let id = entry.log_id.unwrap_or_default();
        let election = (id.term, NodeId::new(id.leader));
        (index, Print { election, sum })
    });
    Ok(prints.collect())
}

/// The same entries themselves, each with its index and the sum of its bytes.
fn entries(node: &Observed, from: u64, to: u64) -> Result<Vec<(u64, u32, wire::Entry)>, String> {
    let mut found = Vec::new();
    let mut next = from;
    while next <= to {
        let read = node.log.read(next..to + 1, usize::MAX);
        let entries = read.map_err(|error| format!("{} cannot read entry {next}: {error}", node.node))?;
        let Some(last) = entries.last() else { break };
        next = last.index + 1;
        for entry in &entries {
            let decoded = crate::node::unseal(&entry.bytes).map_err(|error| error.to_string())?;
            found.push((entry.index, crc32c::crc32c(&entry.bytes), decoded));
        }
    }
    Ok(found)
}

/// A set of voters.
type Side = BTreeSet<NodeId>;

/// The sides with these voters.
#[cfg(test)]
fn sides<const N: usize>(sides: [&[u64]; N]) -> BTreeSet<Side> {
    let side = |voters: &[u64]| voters.iter().copied().map(NodeId::new).collect();
    sides.into_iter().map(side).collect()
}

/// Memberships by the entries that they are in; two sides each, while a change is half done.
type Memberships = Vec<(u64, BTreeSet<Side>)>;

/// The memberships in a node's log between two indexes, both included, and whether all of those entries are there.
fn memberships(node: &Observed, from: u64, to: u64) -> Result<(bool, Memberships), String> {
    let side = |voters: &wire::VoterSet| voters.nodes.iter().copied().map(NodeId::new).collect();
    let found = entries(node, from, to)?;
    let whole = found.first().is_some_and(|(index, ..)| *index == from);
    let memberships = found
        .into_iter()
        .filter_map(|(index, _, entry)| match entry.payload {
            Some(wire::entry::Payload::Membership(membership)) => {
                Some((index, membership.configs.iter().map(side).collect()))
            }
            _ => None,
        });
    Ok((whole, memberships.collect()))
}

/// The appends and reads among the events.
fn appends<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = &'a Appended> {
    scene.events.iter().filter_map(|event| match event {
        Event::Appended(appended) => Some(appended),
        _ => None,
    })
}

fn reads<'a>(scene: &'a Scene<'_>) -> impl Iterator<Item = &'a Read> {
    scene.events.iter().filter_map(|event| match event {
        Event::Read(read) => Some(read),
        _ => None,
    })
}
