//! Looking again and again until something is so.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use tokio::time::Instant;
use tonic::Response;

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until `look` sees something; an error names `what` was waited for.
pub(crate) async fn until<T, F, L>(what: &str, limit: Duration, mut look: F) -> Result<T>
where
    F: FnMut() -> L,
    L: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(seen) = look().await {
            return Ok(seen);
        }
        if Instant::now() >= deadline {
            bail!("still waiting after {limit:?} until {what}");
        }
        pause(LOOK_EVERY).await;
    }
}

/// Asks again and again until there is an answer; an error names `what` was asked for and the last refusal.
pub(crate) async fn answered<T, F, L>(what: &str, limit: Duration, mut ask: F) -> Result<T>
where
    F: FnMut() -> L,
    L: Future<Output = Result<Response<T>>>,
{
    let mut refusal = None;
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        match ask().await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(error) => refusal = Some(error),
        }
        pause(LOOK_EVERY).await;
    }
    let refusal = refusal.unwrap_or_else(|| anyhow!("nobody was asked"));
    Err(refusal).with_context(|| format!("still waiting after {limit:?} until {what}"))
}

/// Lets time pass: that of a fault's length, or between two tries.
pub(crate) async fn pause(length: Duration) {
    // sleep: how long a fault lasts and how fast clients ask is what a run is made of.
    tokio::time::sleep(length).await;
}
