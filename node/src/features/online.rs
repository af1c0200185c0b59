//! Online reads: feature vectors for many entities, now or as of event times.

use covey_state::Timestamp;

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::features::consistency::{Freshness, ReadPoints};
use crate::features::group::{self, Bounds, FeatureStatus, Query, Reply};
use crate::features::lookup::{self, Moments, Vectors};
use crate::features::rows::TableRows;
use crate::features::service_plan;

/// Entities of one request.
pub(crate) const READ_ROWS_MAX: usize = 10_000;

/// A read of a feature service.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OnlineRead<'a> {
    /// The service's name.
    pub(crate) service: &'a str,
    /// The join keys of its entities and its request features.
    pub(crate) rows: &'a TableRows,
    /// One event time per row, or one for all, or none for now.
    pub(crate) as_of: Vec<Timestamp>,
    /// How fresh the read must be.
    pub(crate) consistency: Freshness,
}

/// Feature vectors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OnlineRows {
    /// The features in service order.
    pub(crate) features: TableRows,
    /// For each feature one status per row.
    pub(crate) statuses: Vec<Vec<FeatureStatus>>,
    /// What the answer was read from.
    pub(crate) read_point: ReadPoints,
}

/// Reads the vectors: the groups on this node from one snapshot of its store, each other one from a view of its own.
pub(crate) async fn read(
    ctx: &Context,
    caller: &Caller,
    wanted: OnlineRead<'_>,
) -> Result<OnlineRows, Failure> {
    let OnlineRead {
        service,
        rows,
        as_of,
        consistency,
    } = wanted;
    if rows.len() > READ_ROWS_MAX {
        let reason = format!("{} rows in one request, the limit is {READ_ROWS_MAX}", rows.len());
        return Err(Failure::invalid("entities", reason));
    }
    let moments = moments(as_of, rows.len(), ctx.clock.now())?;
    let plan = service_plan::current(ctx, caller, service).await?;
    let mut vectors = Vectors::new(&plan, rows, 0..rows.len())?;
    let reads = lookup::cut(&plan, rows, 0..rows.len(), &moments)?;
    let ask = |reads: lookup::GroupReads| {
        let bounds = Bounds::fresh(consistency.of(reads.group));
        (reads.places, (reads.group, bounds, Query::Vectors(reads.reads)))
    };
    let (places, asked): (Vec<_>, Vec<_>) = reads.into_iter().map(ask).unzip();
    let answers = group::ask_each(ctx, caller, asked).await?;
    let mut read_point = ReadPoints::default();
    for (places, (reply, point)) in places.into_iter().zip(answers) {
        let Reply::Vectors(values) = reply else {
            return Err(Failure::internal(
                "reading features",
                "a group answered another question",
            ));
        };
        vectors.place(places, values);
        read_point.add(&point);
    }
    let features = TableRows::new("features", plan.names.clone(), vectors.columns)?;
    Ok(OnlineRows {
        features,
        statuses: vectors.statuses,
        read_point,
    })
}

fn moments(as_of: Vec<Timestamp>, rows: usize, now: Timestamp) -> Result<Moments, Failure> {
    match as_of.as_slice() {
        [] => Ok(Moments::Now(now)),
        [one] => Ok(Moments::One(*one)),
        each if each.len() == rows => Ok(Moments::Each(as_of)),
        each => {
            let reason = format!(
                "{} times for {rows} rows: give one per row, one for all, or none",
                each.len()
            );
            Err(Failure::invalid("as_of", reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_one_per_row_or_one_for_all_or_none() {
        let at = Timestamp::from_micros;
        assert_eq!(moments(Vec::new(), 3, at(9)).unwrap(), Moments::Now(at(9)));
        assert_eq!(moments(vec![at(1)], 3, at(9)).unwrap(), Moments::One(at(1)));
        assert_eq!(
            moments(vec![at(1), at(2)], 2, at(9)).unwrap(),
            Moments::Each(vec![at(1), at(2)])
        );
        assert!(moments(vec![at(1), at(2)], 3, at(9)).is_err());
    }
}
