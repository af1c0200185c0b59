//! What the properties are told: things that happened to nodes and to clients.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use covey_cluster::Consistency;
use covey_state::NodeId;

use crate::ledger::{Counts, Ledger};
use crate::moment::Moment;

/// Something that happened in a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A node has started with what its disk held.
    Started {
        /// Which.
        node: NodeId,
        /// Counts its starts.
        incarnation: u64,
        /// What the disk held.
        durable: Durable,
    },
    /// A node is gone.
    Stopped {
        /// Which.
        node: NodeId,
    },
    /// A node has forgotten the group, which it is no member of any more.
    Forgot {
        /// Which.
        node: NodeId,
    },
    /// A node was asked to make these the voters of the group.
    VotersAsked {
        /// Who are to vote.
        voters: BTreeSet<NodeId>,
    },
    /// The planner has decided who is to vote.
    Placed {
        /// Who.
        voters: BTreeSet<NodeId>,
    },
    /// A leader is asked to let a damaged replica go.
    LetGo {
        /// Whose.
        node: NodeId,
    },
    /// A node has told a candidate that it votes for it.
    Granted {
        /// Who votes.
        node: NodeId,
        /// In which term.
        term: u64,
        /// For whom.
        candidate: NodeId,
    },
    /// The state machine of a node was given an entry.
    Applied(Applied),
    /// A client's append was acknowledged.
    Appended(Appended),
    /// A client asks for something to be counted.
    Asked {
        /// The request.
        request: String,
        /// What.
        counts: Counts,
    },
    /// A client's push or flush was acknowledged.
    Counted(Counted),
    /// A client has read.
    Read(Read),
    /// Somebody has read what a node has counted.
    Recounted(Recounted),
}

/// What the disk of a node held when it started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Durable {
    /// The term of the vote, 0 if there was none.
    pub term: u64,
    /// Whom the vote is for.
    pub candidate: Option<NodeId>,
    /// The last entry that the state has taken in.
    pub applied: u64,
    /// The versions of each model in the state.
    pub counts: BTreeMap<String, u64>,
    /// What the state has counted.
    pub ledger: Ledger,
}

/// An entry that a state machine was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// On which node.
    pub node: NodeId,
    /// Where the entry stands.
    pub index: u64,
    /// The term it was proposed in.
    pub term: u64,
    /// The checksum of the entry.
    pub entry: u32,
    /// The checksum of the answer.
    pub answer: u32,
    /// The request that it carries.
    pub request: String,
    /// The model and the number of the version that it made.
    pub made: Option<(String, u64)>,
    /// What was answered to be counted.
    pub counts: Option<Counts>,
}

/// An append that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The request.
    pub request: String,
    /// To which model.
    pub model: String,
    /// The version's number.
    pub number: u64,
    /// When the client asked for the first time.
    pub invoked: Moment,
    /// When it heard.
    pub answered: Moment,
}

/// A push or a flush that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The request.
    pub request: String,
    /// The rows that are said to be in; of a flush nothing is said.
    pub accepted: Option<u64>,
    /// When the client heard.
    pub answered: Moment,
}

/// What a node had counted when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recounted {
    /// Which.
    pub node: NodeId,
    /// What was promised.
    pub consistency: Consistency,
    /// The last entry that the state had taken in.
    pub index: u64,
    /// What was read.
    pub ledger: Ledger,
    /// When it was asked for.
    pub invoked: Moment,
}

/// A read that was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// Who reads.
    pub client: usize,
    /// On which node.
    pub node: NodeId,
    /// What was promised.
    pub consistency: Consistency,
    /// Which model.
    pub model: String,
    /// How many versions it had.
    pub count: u64,
    /// The entry that the state surely includes.
    pub index: u64,
    /// How old the state may be.
    pub staleness: Duration,
    /// When the client asked.
    pub invoked: Moment,
    /// When it heard.
    pub answered: Moment,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
