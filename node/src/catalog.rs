//! Control's state in memory: a copy of what group 0 has applied on this node, rebuilt after each change.
//!
//! Every node is at least a learner of group 0, so every node has it. It may lag behind the leader; what must be
//! decided exactly is decided by the state machine.

mod copy;
mod feeder;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

pub use copy::CatalogCopy;
pub use feeder::feed;

use crate::error::Failure;

/// The latest copy. Clones share it.
#[derive(Clone)]
pub struct CatalogWatch {
    copies: watch::Receiver<Arc<CatalogCopy>>,
}

impl CatalogWatch {
    /// A watch and the end that feeds it.
    pub fn channel() -> (watch::Sender<Arc<CatalogCopy>>, Self) {
        let (sender, copies) = watch::channel(Arc::default());
        (sender, Self { copies })
    }

    /// The latest copy.
    pub fn current(&self) -> Arc<CatalogCopy> {
        Arc::clone(&self.copies.borrow())
    }

    /// The first copy from now on that satisfies `wanted`.
    pub async fn wait_for(
        &self,
        mut wanted: impl FnMut(&CatalogCopy) -> bool,
        deadline: Instant,
    ) -> Result<Arc<CatalogCopy>, Failure> {
        let mut copies = self.copies.clone();
        let found = timeout_at(deadline, copies.wait_for(|copy| wanted(copy))).await;
        match found {
            Ok(Ok(copy)) => Ok(Arc::clone(&copy)),
            Ok(Err(_)) => Err(Failure::unavailable("the catalog")),
            Err(_) => Err(Failure::DeadlineExceeded {
                what: "waiting for the catalog".to_owned(),
            }),
        }
    }

    /// A receiver that wakes on every new copy.
    pub fn changes(&self) -> watch::Receiver<Arc<CatalogCopy>> {
        self.copies.clone()
    }
}
