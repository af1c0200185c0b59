//! Rows that were refused, with the reason and the names of their columns.

use covey_cluster::Consistency;
use covey_state::catalog::InstalledView;
use covey_state::{Timestamp, Value};
use futures::future::try_join_all;

use crate::api::Caller;
use crate::context::Context;
use crate::error::Failure;
use crate::features::group::{self, Bounds, FoundLetter, Query, Reply};

/// Letters in one answer, unless asked for fewer.
pub(crate) const LETTERS_DEFAULT: usize = 100;
/// Letters in one answer at the most.
pub(crate) const LETTERS_MAX: usize = 10_000;

/// A refused row, readable.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Letter {
    /// Why it was refused.
    pub(crate) reason: String,
    /// When it was refused.
    pub(crate) at: Timestamp,
    /// The row's event time.
    pub(crate) event_time: Timestamp,
    /// The names of the join keys and columns that the row has values for.
    pub(crate) names: Vec<String>,
    /// The values, as they came.
    pub(crate) values: Vec<Value>,
}

/// The newest `limit` refused rows of a view over all groups, newest last.
pub(crate) async fn list(
    ctx: &Context,
    caller: &Caller,
    view: &str,
    limit: usize,
) -> Result<Vec<Letter>, Failure> {
    let catalog = ctx.catalog.current();
    let view = catalog
        .views
        .get(view)
        .ok_or_else(|| Failure::not_found("view", view))?;
    let limit = if limit == 0 {
        LETTERS_DEFAULT
    } else {
        limit.min(LETTERS_MAX)
    };
    let found = try_join_all(view.span.iter().map(async |group| {
        let query = Query::Letters { view: view.id, limit };
        let (reply, _) = group::ask(
            ctx,
            caller,
            group,
            Bounds::fresh(Consistency::Linearizable),
            query,
        )
        .await?;
        match reply {
            Reply::Letters(letters) => Ok(letters
                .into_iter()
                .map(|found| (group, found))
                .collect::<Vec<_>>()),
            _ => Err(Failure::internal(
                "listing dead letters",
                "a group answered another question",
            )),
        }
    }))
    .await?;
    let mut letters: Vec<_> = found.into_iter().flatten().collect();
    letters.sort_by_key(|(group, found)| (found.letter.at, *group, found.place));
    let surplus = letters.len().saturating_sub(limit);
    Ok(letters
        .into_iter()
        .skip(surplus)
        .map(|(_, found)| readable(view, found))
        .collect())
}

fn readable(view: &InstalledView, found: FoundLetter) -> Letter {
    let row = found.letter.row;
    let keys = view.join_keys.iter().map(|key| &key.name).zip(row.key);
    // A row that came under an older schema version has values for the first columns only.
    let columns = view
        .definition
        .columns
        .iter()
        .map(|column| &column.name)
        .zip(row.values);
    let (names, values) = keys
        .chain(columns)
        .map(|(name, value)| (name.clone(), value))
        .unzip();
    Letter {
        reason: found.letter.reason,
        at: found.letter.at,
        event_time: row.event_time,
        names,
        values,
    }
}
