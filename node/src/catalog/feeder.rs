//! Keeps the copy up to date: reads group 0's replica again whenever it has applied something.

use std::sync::Arc;

use covey_state::GroupId;
use covey_storage::StateDb;
use tokio::sync::watch;

use super::CatalogCopy;
use crate::error::Failure;

/// Feeds `copies` until the replica or every reader is gone.
pub async fn feed(
    statedb: StateDb,
    mut applied: watch::Receiver<u64>,
    copies: watch::Sender<Arc<CatalogCopy>>,
) {
    loop {
        let index = *applied.borrow_and_update();
        let statedb = statedb.clone();
        let read = tokio::task::spawn_blocking(move || read(&statedb, index)).await;
        match read {
            Ok(Ok(copy)) => drop(copies.send_replace(Arc::new(copy))),
            Ok(Err(failure)) => {
                tracing::error!(%failure, "the catalog could not be read; the last copy stays")
            }
            Err(error) => tracing::error!(%error, "the catalog could not be read; the last copy stays"),
        }
        if applied.changed().await.is_err() {
            return;
        }
    }
}

/// Reads what is there now; `index` was applied before, so the copy is at least that new.
fn read(statedb: &StateDb, index: u64) -> Result<CatalogCopy, Failure> {
    let view = statedb.group(GroupId::CONTROL).read();
    Ok(CatalogCopy::read(&view, index)?)
}
