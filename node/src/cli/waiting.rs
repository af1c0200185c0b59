//! Waiting for the cluster to come to a state, with something moving on the screen meanwhile.

use std::time::Duration;

use tokio::time::{Instant, interval};

use super::progress;
use super::trouble::Trouble;

/// How often the cluster is asked.
const POLL: Duration = Duration::from_millis(300);

/// What one look at the cluster found.
pub(crate) enum Look<T> {
    /// It is there.
    Reached(T),
    /// Not yet; in words, how far it is.
    NotYet(String),
    /// Not yet, but so much of it.
    Part {
        /// What is there.
        done: u64,
        /// What is to be there.
        total: u64,
        /// What is counted.
        text: String,
    },
}

/// Looks until the state is reached or the time is over. What is not available for a moment is looked at again.
pub(crate) async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Look<T>, Trouble>,
) -> Result<T, Trouble> {
    let spinner = progress::spinner(what);
    let until = Instant::now() + limit;
    let mut ticks = interval(POLL);
    loop {
        ticks.tick().await;
        let far = match look().await {
            Ok(Look::Reached(found)) => {
                spinner.finish_and_clear();
                return Ok(found);
            }
            Ok(Look::NotYet(far)) => far,
            Ok(Look::Part { done, total, text }) => {
                progress::show_part(&spinner, done, total);
                format!("{done} of {total} {text}")
            }
            Err(trouble) if trouble.is_unavailable() => "not available for the moment".to_owned(),
            Err(trouble) => return Err(trouble),
        };
        spinner.set_message(format!("{what}: {far}"));
        if Instant::now() >= until {
            let text = format!("{what}: not done after {} s: {far}", limit.as_secs());
            return Err(Trouble::unavailable(
                text,
                "it goes on by itself; look again, or wait longer with --wait",
            ));
        }
    }
}
