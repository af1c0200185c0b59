//! What runs on a node besides its ports: background loops that start again after a panic, and actors that stop with the node.
//!
//! Invariant: when `stop` returns, no loop and no actor of this node runs any more, or its time was up and it was cut off.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::error::Failure;

/// The pause before a loop that panicked starts again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long loops and actors get to stop.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The root of everything that runs in the background. Clones share it.
#[derive(Clone)]
pub struct RootSupervisor {
    root: ActorRef<()>,
    loops: Arc<Mutex<JoinSet<()>>>,
    stopping: CancellationToken,
}

impl RootSupervisor {
    /// A root without children.
    pub async fn start(node: covey_state::NodeId) -> Result<Self, Failure> {
        let (root, _) = Actor::spawn(Some(format!("{node}/root")), Root, ())
            .await
            .map_err(|error| Failure::internal("starting the root supervisor", error))?;
        Ok(Self {
            root,
            loops: Arc::default(),
            stopping: CancellationToken::new(),
        })
    }

    /// Is cancelled when the node stops.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Runs a background loop until the node stops. A loop that panics is started again.
    pub fn run<F, L>(&self, name: &'static str, mut start: F)
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = ()> + Send + 'static,
    {
        let stopping = self.stopping.clone();
        self.loops
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(async move {
                loop {
                    let ended = stopping
                        .run_until_cancelled(AssertUnwindSafe(start()).catch_unwind())
                        .await;
                    match ended {
                        None | Some(Ok(())) => return,
                        Some(Err(_)) => tracing::error!(name, "background loop panicked; it starts again"),
                    }
                    if stopping
                        // sleep: whatever made the loop panic should not fill the log.
                        .run_until_cancelled(tokio::time::sleep(RESTART_PAUSE))
                        .await
                        .is_none()
                    {
                        return;
                    }
                }
            });
    }

    /// Stops the loops, then the actors.
    pub async fn stop(&self) {
        self.stopping.cancel();
        let mut loops = std::mem::take(&mut *self.loops.lock().unwrap_or_else(PoisonError::into_inner));
        if tokio::time::timeout(STOP_LIMIT, async { while loops.join_next().await.is_some() {} })
            .await
            .is_err()
        {
            tracing::warn!("background loops did not stop in time");
        }
        self.root
            .stop_children_and_wait(Some("the node stops".to_owned()), Some(STOP_LIMIT))
            .await;
        self.root.stop(Some("the node stops".to_owned()));
    }
}

/// The root actor, found by its name: keeps running whatever happens to its children, which are the wardens of the subsystems.
struct Root;

impl Actor for Root {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<()>,
        event: SupervisionEvent,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(child, error) => {
                tracing::error!(child = child.get_name(), %error, "actor failed");
            }
            SupervisionEvent::ActorStarted(_)
            | SupervisionEvent::ActorTerminated(..)
            | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}
