//! What became of requests, counted.

use std::collections::BTreeMap;
use std::fmt;

use tokio::time::error::Elapsed;
use tonic::{Code, Response, Status};

use crate::error::chain;

/// How requests ended: how many in each way, and what the first of them was told.
#[derive(Debug, Default)]
pub(super) struct Outcomes(BTreeMap<String, (u32, String)>);

/// The names of the two ends that are as they should be.
const ACKNOWLEDGED: &str = "acknowledged";
const REFUSED_BUSY: &str = "refused as busy";

impl Outcomes {
    /// Counts one more, and says whether it was refused as busy.
    pub(super) fn add<T>(&mut self, answer: Result<Result<Response<T>, Status>, Elapsed>) -> bool {
        let (name, told) = match answer {
            Ok(Ok(_)) => (ACKNOWLEDGED.to_owned(), String::new()),
            Ok(Err(status)) if status.code() == Code::ResourceExhausted => {
                (REFUSED_BUSY.to_owned(), status.message().to_owned())
            }
            Ok(Err(status)) => (format!("{:?}", status.code()), chain(&status)),
            Err(late) => ("no answer in time".to_owned(), late.to_string()),
        };
        let busy = name == REFUSED_BUSY;
        self.0.entry(name).or_insert((0, told)).0 += 1;
        busy
    }

    /// Counts what others have counted.
    pub(super) fn add_all(&mut self, others: Self) {
        for (name, (count, told)) in others.0 {
            self.0.entry(name).or_insert((0, told)).0 += count;
        }
    }

    pub(super) fn acknowledged(&self) -> f64 {
        self.count(ACKNOWLEDGED)
    }

    pub(super) fn refused_busy(&self) -> f64 {
        self.count(REFUSED_BUSY)
    }

    /// Those that were neither.
    pub(super) fn otherwise(&self) -> f64 {
        let all: f64 = self.0.values().map(|(count, _)| f64::from(*count)).sum();
        all - self.acknowledged() - self.refused_busy()
    }

    fn count(&self, name: &str) -> f64 {
        self.0.get(name).map_or(0.0, |(count, _)| f64::from(*count))
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, (count, told)) in &self.0 {
            writeln!(formatter, "{count} {name}, for instance: {told}")?;
        }
        Ok(())
    }
}
