//! Flushes of the state of a node: groups that ask together share one, because it covers all of them.

use std::io;
use std::sync::Arc;

use covey_storage::StateDb;

use crate::blocking::blocking;
use crate::error::chain;
use crate::round::{NoAnswer, Rounds};

/// The way to a flush. Clones share it.
#[derive(Clone)]
pub(crate) struct StateFlush {
    state: StateDb,
    /// A failure is a text, because everybody in a round gets the same one.
    rounds: Arc<Rounds<Result<(), String>>>,
}

impl StateFlush {
    pub(crate) fn new(state: StateDb) -> Self {
        Self {
            state,
            // A group asks for one at a time, so the groups are the limit.
            rounds: Rounds::new(usize::MAX),
        }
    }

    /// Waits until everything that was applied in any group before this call is durable.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        let state = self.state.clone();
        let flush = move || {
            let state = state.clone();
            async move {
                let flushed = blocking(move || state.flush()).await;
                flushed
                    .map_err(|panic| panic.to_string())
                    .and_then(|flushed| flushed.map_err(|error| chain(&error)))
            }
        };
        match self.rounds.join(flush).await {
            Ok(flushed) => flushed.map_err(io::Error::other),
            Err(NoAnswer::Full | NoAnswer::Lost) => Err(io::Error::other("the flush of the state broke off")),
        }
    }
}
