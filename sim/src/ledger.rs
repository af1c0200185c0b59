//! What is counted: rows that are pushed and drift counters that are flushed, as they are asked for and as a state has
//! them.
//!
//! A [`Ledger`] comes from a state or from a recount of requests, which adds up one by one and knows of no tiles. Both
//! must be the same. Amounts are whole and small, so that sums of them are exact in whatever order.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Display};
use std::ops::ControlFlow;

use anyhow::Context as _;
use covey_state::catalog::InstalledView;
use covey_state::entity::{EntityKey, KeyPart};
use covey_state::id::ViewId;
use covey_state::invariants::violations;
use covey_state::monitor::WindowCounts;
use covey_state::read::{AsOf, aggregates};
use covey_state::window::{Aggregate, DAY, Function, HOUR, Hop, MINUTE};
use covey_state::{Command, Key, MemoryView, Record, Row, Timestamp, Value, View};

/// The view that rows are pushed to.
pub(crate) const VIEW: ViewId = ViewId::new(1);

/// Its only schema version.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// The keys of its rows.
pub(crate) const KEYS: [&str; 3] = ["ash", "elm", "oak"];

/// The lengths of its windows and of the hops that each is kept in: one of every kind.
pub(crate) const WINDOWS: [(i64, i64); 3] = [(HOUR, 5 * MINUTE), (DAY, HOUR), (20 * DAY, DAY)];

/// Rows are about moments from 0 on and before this.
pub(crate) const EVENTS_END: i64 = 2 * DAY;

/// Moments at which windows are read: after all rows, and in the midst of a hop of each kind.
const MOMENTS: [i64; 3] = [EVENTS_END, DAY + 5 * HOUR + 17 * MINUTE, 11 * HOUR + 3 * MINUTE];

/// What is kept of a window of this length.
pub(crate) fn window_aggregates(window_micros: i64) -> [Aggregate; 2] {
    [Function::Count, Function::Sum].map(|function| Aggregate {
        column: "amount".to_owned(),
        function,
        window_micros,
    })
}

/// A row: no two that are asked for are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// What it is about.
    pub key: String,
    /// Its event time in microseconds.
    pub at: i64,
    /// Its only value.
    pub amount: i64,
}

/// Numbers by what they count: a window and one of its counters. None of them is zero.
pub type Counters = BTreeMap<String, u64>;

/// A delta of drift counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flush {
    /// The node that has counted.
    pub node: u64,
    /// Its life and the number of the flush in it, which count up.
    pub mark: (u64, u64),
    /// What is to be added.
    pub counters: Counters,
}

/// What a request asks to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counts {
    /// Rows of the view.
    Rows(Vec<Fact>),
    /// Drift counters.
    Flush(Flush),
}

impl Counts {
    /// What a command asks to be counted, if it is about that.
    pub(crate) fn of(command: &Command) -> Option<Self> {
        match command {
            Command::PushRows { rows, .. } => {
                let facts = rows.iter().map(|row| match (&row.key[..], &row.values[..]) {
                    ([Value::String(key)], [Value::Int64(amount)]) => Some(Fact {
                        key: key.clone(),
                        at: row.event_time.micros(),
                        amount: *amount,
                    }),
                    _ => None,
                });
                facts.collect::<Option<_>>().map(Self::Rows)
            }
            Command::FlushDrift {
                source,
                sequence,
                windows,
                ..
            } => {
                let mut counters = Counters::new();
                for (version, start, counts) in windows {
                    flatten(&format!("{version}@{}", start.micros()), counts, &mut counters);
                }
                Some(Self::Flush(Flush {
                    node: source.node.get(),
                    mark: (source.incarnation, *sequence),
                    counters,
                }))
            }
            _ => None,
        }
    }
}

/// What has been counted.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// How often each row is in the history.
    pub rows: BTreeMap<Fact, u64>,
    /// What the windows show that show anything.
    pub windows: BTreeMap<String, i64>,
    /// The drift counters.
    pub counters: Counters,
    /// The named predicates that do not hold of the state.
    pub broken: Vec<String>,
}

impl Ledger {
    /// What a state has counted: the history row by row, windows as everybody reads them, drift windows as stored.
    pub(crate) fn read(view: &dyn View) -> anyhow::Result<Self> {
        let whole = whole(view)?;
        let mut ledger = Self {
            broken: violations(&whole).iter().map(ToString::to_string).collect(),
            ..Self::default()
        };
        for (key, record) in whole.entries() {
            match (key, record) {
                (Key::History(entity, VIEW, _), Record::Row(row)) => {
                    *ledger.rows.entry(fact(entity, row)?).or_default() += 1;
                }
                (Key::DriftWindow(_, start, version), Record::DriftWindow(window)) => {
                    let name = format!("{version}@{}", start.micros());
                    flatten(&name, &window.counts, &mut ledger.counters);
                }
                (_, _) => {}
            }
        }
        if let Some(Record::View(installed)) = view.get(&Key::Schema(VIEW, SCHEMA_VERSION))? {
            ledger.read_windows(view, &installed)?;
        }
        Ok(ledger)
    }

    fn read_windows(&mut self, view: &dyn View, installed: &InstalledView) -> anyhow::Result<()> {
        let wanted: Vec<usize> = (0..installed.definition.aggregates.len()).collect();
        for (key, at) in places() {
            let as_of = AsOf {
                at: Timestamp::from_micros(at),
                through: None,
            };
            let values = aggregates(view, installed, &EntityKey::text(key), as_of, &wanted)?;
            for (value, aggregate) in values.iter().zip(&installed.definition.aggregates) {
                #[allow(clippy::cast_possible_truncation, reason = "sums are small and whole")]
                let number = value.as_number().context("counts and sums are numbers")? as i64;
                self.show(key, at, &aggregate.name(), number);
            }
        }
        Ok(())
    }

    /// Counts a row as a request carries it.
    pub(crate) fn add_row(&mut self, fact: &Fact) {
        *self.rows.entry(fact.clone()).or_default() += 1;
    }

    /// Counts a delta of drift counters.
    pub(crate) fn add_counters(&mut self, counters: &Counters) {
        for (name, number) in counters {
            *self.counters.entry(name.clone()).or_default() += number;
        }
    }

    /// Counts for each window the rows that are in it.
    pub(crate) fn count_windows(&mut self) {
        for (key, at) in places() {
            for (length, hop) in WINDOWS {
                let tail = Timestamp::from_micros(at - length).floor_to(hop).micros();
                let inside = self
                    .rows
                    .iter()
                    .filter(|(fact, _)| fact.key == key && fact.at >= tail && fact.at <= at);
                let (mut count, mut sum) = (0, 0);
                for (fact, times) in inside {
                    let times = i64::try_from(*times).unwrap_or(i64::MAX);
                    count += times;
                    sum += times * fact.amount;
                }
                let [counts, sums] = window_aggregates(length).map(|one| one.name());
                self.show(key, at, &counts, count);
                self.show(key, at, &sums, sum);
            }
        }
    }

    fn show(&mut self, key: &str, at: i64, aggregate: &str, number: i64) {
        if number != 0 {
            self.windows
                .insert(format!("{aggregate} of {key} at {at}"), number);
        }
    }

    /// The first difference from what was expected, in words.
    pub(crate) fn difference(&self, expected: &Self) -> Option<String> {
        first("row", &self.rows, &expected.rows)
            .or_else(|| first("drift counter", &self.counters, &expected.counters))
            .or_else(|| first("window", &self.windows, &expected.windows))
            .or_else(|| self.broken.first().cloned())
    }
}

/// A line of a trace has no room for all of it.
impl Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?} {:?} {:?}", self.rows, self.windows, self.counters);
        f.debug_struct("Ledger")
            .field("rows", &self.rows.len())
            .field("counters", &self.counters.len())
            .field("sum", &crc32c::crc32c(text.as_bytes()))
            .field("broken", &self.broken)
            .finish()
    }
}

/// Everything that a group holds.
pub(crate) fn whole(view: &dyn View) -> anyhow::Result<MemoryView> {
    let (nobody, nothing) = (EntityKey(Vec::new()), ViewId::new(0));
    let tables = [
        Key::Clock,
        Key::Latest(nobody.clone(), nothing),
        Key::history_from(nobody.clone(), nothing, Timestamp::MAX),
        Key::Tile(nobody, nothing, Hop::FiveMinutes, Timestamp::MIN),
    ];
    let mut entries = Vec::new();
    for first in &tables {
        view.scan(first, &mut |key, record| {
            entries.push((key, record));
            ControlFlow::Continue(())
        })?;
    }
    Ok(entries.into_iter().collect())
}

/// Whose windows are read, and when.
fn places() -> impl Iterator<Item = (&'static str, i64)> {
    KEYS.into_iter().flat_map(|key| MOMENTS.map(|at| (key, at)))
}

fn fact(entity: &EntityKey, row: &Row) -> anyhow::Result<Fact> {
    match (&entity.0[..], &row.values[..]) {
        ([KeyPart::String(key)], [Value::Int64(amount)]) => Ok(Fact {
            key: key.clone(),
            at: row.event_time.micros(),
            amount: *amount,
        }),
        _ => anyhow::bail!("a row of {entity} that nobody pushes: {row:?}"),
    }
}

fn flatten(window: &str, counts: &WindowCounts, into: &mut Counters) {
    let mut add = |counter: String, number: u64| {
        if number > 0 {
            *into.entry(format!("{window} {counter}")).or_default() += number;
        }
    };
    add("rows".to_owned(), counts.rows);
    for (place, feature) in counts.features.iter().enumerate() {
        for (bin, number) in feature.bins.iter().enumerate() {
            add(format!("feature {place} bin {bin}"), *number);
        }
        for (name, number) in &feature.named {
            add(format!("feature {place} named {name}"), *number);
        }
        add(format!("feature {place} missing"), feature.missing);
        add(format!("feature {place} other"), feature.other);
    }
}

fn first<K: Ord + Debug, V: PartialEq + Copy + Default + Display>(
    what: &str,
    found: &BTreeMap<K, V>,
    expected: &BTreeMap<K, V>,
) -> Option<String> {
    let mut keys = found.keys().chain(expected.keys());
    let key = keys.find(|key| found.get(key) != expected.get(key))?;
    let [found, expected] = [found, expected].map(|numbers| numbers.get(key).copied().unwrap_or_default());
    Some(format!("{what} {key:?} is {found} instead of {expected}"))
}
