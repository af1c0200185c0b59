//! Keeps the copy up to date: reads group 0's replica again whenever it has applied something.

use std::sync::Arc;
use std::time::Duration;

use covey_cluster::Host;
use covey_state::GroupId;
use covey_storage::StateDb;
use tokio::sync::watch;
use tokio::time::sleep;

use super::CatalogCopy;
use crate::error::Failure;

/// How often it is looked whether group 0 has a replica here, while it has none.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Feeds `copies` for as long as somebody reads them. While the replica is rebuilt, the last copy stays.
pub async fn feed(host: Host, statedb: StateDb, copies: watch::Sender<Arc<CatalogCopy>>) {
    let mut newest = 0;
    while !copies.is_closed() {
        let Some(mut applied) = host.applied(GroupId::CONTROL) else {
            // sleep: a replica that comes tells nobody here.
            sleep(LOOK_EVERY).await;
            continue;
        };
        loop {
            let index = *applied.borrow_and_update();
            // A replica that begins anew passes through what was long ago.
            if index >= newest {
                feed_once(&statedb, index, &copies).await;
                newest = index;
            }
            if applied.changed().await.is_err() {
                break;
            }
        }
    }
}

async fn feed_once(statedb: &StateDb, index: u64, copies: &watch::Sender<Arc<CatalogCopy>>) {
    let statedb = statedb.clone();
    let read = tokio::task::spawn_blocking(move || read(&statedb, index)).await;
    match read {
        Ok(Ok(copy)) => drop(copies.send_replace(Arc::new(copy))),
        Ok(Err(failure)) => {
            tracing::error!(%failure, "the catalog could not be read; the last copy stays")
        }
        Err(error) => tracing::error!(%error, "the catalog could not be read; the last copy stays"),
    }
}

/// Reads what is there now; `index` was applied before, so the copy is at least that new.
fn read(statedb: &StateDb, index: u64) -> Result<CatalogCopy, Failure> {
    let view = statedb.group(GroupId::CONTROL).read();
    Ok(CatalogCopy::read(&view, index)?)
}
