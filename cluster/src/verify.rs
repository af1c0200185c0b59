//! Comparing the replicas of a group: are they the same, and if not, which one differs, and where first?
//!
//! A mark goes through the log. Every replica keeps a view of its state just after the mark, so all views are of the same
//! moment however fast each replica is. Then one replica cuts its keys into ranges and sums them, the others sum the same
//! ranges, page by page and at a bounded rate, and a range whose sums differ is cut again until one key is left.
//!
//! Invariants: only sums travel, never values; what the majority of the compared replicas has counts as right, and where
//! there is no majority nobody is blamed; a replica that cannot be compared is said to be so, never to be equal.

mod locate;
mod page;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use covey_state::{GroupId, NodeId};
use covey_storage::{Position, Split};
use futures::future::join_all;
use tokio::time::Instant;

use crate::error::Error;
use crate::forward::lead;
use crate::host::Inner;
use crate::machine::LogPosition;
use crate::pace::Pace;
use locate::Search;
use page::{Asked, MarkCall, Page, ask};

/// Keys in one range.
const RANGE_KEYS: u64 = 4_096;
/// Bytes in one range, about.
const RANGE_BYTES: u64 = 1 << 20;
/// Ranges in one page; a page is what a replica sums at one time.
const PAGE_RANGES: u64 = 16;

/// How far a comparison is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Keys compared.
    pub keys: u64,
    /// Bytes of these keys and their values.
    pub bytes: u64,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The mark at which the replicas were compared.
    pub position: LogPosition,
    /// What was found of each replica.
    pub replicas: BTreeMap<NodeId, Finding>,
    /// How much was compared.
    pub compared: Progress,
}

/// What was found of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is the same as the majority.
    Equal,
    /// It differs from the majority, first here.
    Different {
        /// The first key that differs, and how.
        place: String,
    },
    /// It differs from others, and none of them has a majority.
    Disputed {
        /// The first key that differs.
        place: String,
    },
    /// Its store is damaged.
    Damaged {
        /// What is damaged.
        place: String,
    },
    /// It could not be compared.
    Missed {
        /// Why.
        reason: String,
    },
}

impl Finding {
    /// What is wrong with the replica, if anything is known to be.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Different { place } | Self::Disputed { place } | Self::Damaged { place } => Some(place),
            Self::Equal | Self::Missed { .. } => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal => f.write_str("equal"),
            Self::Different { place } => write!(f, "different: {place}"),
            Self::Disputed { place } => write!(f, "disputed: {place}"),
            Self::Damaged { place } => write!(f, "damaged: {place}"),
            Self::Missed { reason } => write!(f, "not compared: {reason}"),
        }
    }
}

impl Verification {
    /// Whether every replica was compared and all are the same.
    pub fn is_equal(&self) -> bool {
        self.replicas.values().all(|finding| *finding == Finding::Equal)
    }
}

/// One comparison.
pub(crate) struct Comparison<'a> {
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) group: GroupId,
    pub(crate) deadline: Instant,
    pub(crate) progress: &'a (dyn Fn(Progress) + Send + Sync),
}

impl Comparison<'_> {
    /// See [`crate::Host::verify`].
    pub(crate) async fn run(&self, nodes: &[NodeId]) -> Result<Verification, Error> {
        let call = MarkCall { group: self.group };
        let mark = lead(self.inner, self.group, &call, self.deadline).await?;
        let mut run = Run {
            comparison: self,
            position: mark.position,
            compared: nodes.to_vec(),
            found: BTreeMap::new(),
            done: Progress::default(),
        };
        run.compare_all().await;
        let equal = run.compared.into_iter().map(|node| (node, Finding::Equal));
        Ok(Verification {
            position: run.position,
            replicas: run.found.into_iter().chain(equal).collect(),
            compared: run.done,
        })
    }
}

/// A comparison on its way.
struct Run<'a> {
    comparison: &'a Comparison<'a>,
    position: LogPosition,
    /// Replicas that are the same so far.
    compared: Vec<NodeId>,
    /// What was found of the others.
    found: BTreeMap<NodeId, Finding>,
    done: Progress,
}

impl Run<'_> {
    async fn compare_all(&mut self) {
        let mut pace = Pace::new(self.comparison.inner.config.verify_bytes_per_second);
        let mut from = Position::default();
        while from != Position::end() {
            let Some((pilot, page)) = self.first_page(&from).await else {
                return;
            };
            let ends: Vec<Position> = page.ranges.iter().map(|range| range.end.clone()).collect();
            let Some(end) = ends.last().cloned() else { return };
            let mut pages = self.same_page(pilot, &from, ends).await;
            let bytes = page.ranges.iter().map(|range| range.bytes).sum();
            self.done.keys += page.ranges.iter().map(|range| range.keys).sum::<u64>();
            self.done.bytes += bytes;
            pages.insert(pilot, page);
            self.compare(&from, &pages).await;
            (self.comparison.progress)(self.done);
            from = end;
            pace.spend(bytes).await;
        }
    }

    /// The next page of any replica that can still be compared, cut into ranges.
    async fn first_page(&mut self, from: &Position) -> Option<(NodeId, Page)> {
        let split = Split::Every {
            keys: RANGE_KEYS,
            bytes: RANGE_BYTES,
            ranges: usize::try_from(PAGE_RANGES).unwrap_or(usize::MAX),
        };
        while let Some(pilot) = self.compared.first().copied() {
            match self.ask(pilot, from, &split).await {
                Asked::Summed(page) => return Some((pilot, page)),
                other => self.drop_out(pilot, other.into_finding()),
            }
        }
        None
    }

    /// The same ranges of all others.
    async fn same_page(
        &mut self,
        pilot: NodeId,
        from: &Position,
        ends: Vec<Position>,
    ) -> BTreeMap<NodeId, Page> {
        let count = ends.len();
        let split = Split::At(ends);
        let others = self.compared.iter().copied().filter(|node| *node != pilot);
        let asked = others.map(|node| {
            let asking = self.ask(node, from, &split);
            async move { (node, asking.await) }
        });
        let mut pages = BTreeMap::new();
        for (node, asked) in join_all(asked).await {
            match asked {
                Asked::Summed(page) if page.ranges.len() == count => drop(pages.insert(node, page)),
                Asked::Summed(_) => {
                    let reason = "it has not summed the ranges that it was asked for".to_owned();
                    self.drop_out(node, Finding::Missed { reason });
                }
                other => self.drop_out(node, other.into_finding()),
            }
        }
        pages
    }

    /// Finds out who differs in a page. What a replica differs in first is what is told of it.
    async fn compare(&mut self, from: &Position, pages: &BTreeMap<NodeId, Page>) {
        let dissent = self.dissent(pages, |page| page.applied.clone());
        for (_, wrong) in dissent.pairs() {
            self.blame(&dissent, wrong, "how far the state has come, as it says itself");
        }
        let ranges = pages.values().map(|page| page.ranges.len()).min().unwrap_or(0);
        let mut begin = from.clone();
        for at in 0..ranges {
            let dissent = self.dissent(pages, |page| page.ranges[at].clone());
            let end = pages.values().next().map(|page| page.ranges[at].end.clone());
            let end = end.unwrap_or_else(Position::end);
            for (right, wrong) in dissent.pairs() {
                let search = Search {
                    comparison: self.comparison,
                    position: self.position,
                    right,
                    wrong,
                };
                let place = search.first_difference(&begin, &end).await;
                self.blame(&dissent, wrong, &place);
            }
            begin = end;
        }
    }

    /// Who does not have what most have.
    fn dissent<T: PartialEq>(&self, pages: &BTreeMap<NodeId, Page>, part: impl Fn(&Page) -> T) -> Dissent {
        let mut opinions: Vec<(T, Vec<NodeId>)> = Vec::new();
        for (node, page) in pages.iter().filter(|(node, _)| self.compared.contains(node)) {
            let opinion = part(page);
            match opinions.iter_mut().find(|(other, _)| *other == opinion) {
                Some((_, nodes)) => nodes.push(*node),
                None => opinions.push((opinion, vec![*node])),
            }
        }
        opinions.sort_by_key(|(_, nodes)| std::cmp::Reverse(nodes.len()));
        let mut camps = opinions.into_iter().map(|(_, nodes)| nodes);
        let right = camps.next().unwrap_or_default();
        Dissent {
            is_majority: right.len() * 2 > self.compared.len(),
            right,
            wrong: camps.flatten().collect(),
        }
    }

    /// Takes a replica out of the comparison that differs from most, and where these are no majority, all of them.
    fn blame(&mut self, dissent: &Dissent, wrong: NodeId, place: &str) {
        let place = place.to_owned();
        if dissent.is_majority {
            return self.drop_out(wrong, Finding::Different { place });
        }
        for node in dissent.right.iter().copied().chain([wrong]) {
            let place = place.clone();
            self.drop_out(node, Finding::Disputed { place });
        }
    }

    fn drop_out(&mut self, node: NodeId, finding: Finding) {
        self.compared.retain(|other| *other != node);
        // What was found first stays.
        self.found.entry(node).or_insert(finding);
    }

    async fn ask(&self, node: NodeId, from: &Position, split: &Split) -> Asked {
        ask(self.comparison, self.position, node, from, split).await
    }
}

/// Who agrees on something, and who does not.
struct Dissent {
    /// The largest camp.
    right: Vec<NodeId>,
    /// Whether it is more than half of those who are compared.
    is_majority: bool,
    /// All others.
    wrong: Vec<NodeId>,
}

impl Dissent {
    /// Each of the others beside one of the largest camp.
    fn pairs(&self) -> impl Iterator<Item = (NodeId, NodeId)> + use<> {
        let right = self.right.first().copied();
        self.wrong
            .clone()
            .into_iter()
            .filter_map(move |wrong| Some((right?, wrong)))
    }
}
