//! Keeps the long-lived actors of a subsystem running: one that fails is started again after a pause.
//!
//! Invariant: what an actor must not forget is handed to it at every start, so a restart loses nothing but time.

use std::collections::BTreeMap;
use std::time::Duration;

use covey_state::NodeId;
use futures::future::BoxFuture;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};

use crate::error::Failure;

/// The pause before an actor that failed is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Starts an actor under a supervisor, as often as it is needed.
pub(crate) type Start = Box<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorId, SpawnErr>> + Send + Sync>;

/// A way to start `actor` under its name with the same arguments each time.
pub(crate) fn start<A, C>(name: String, make: fn() -> A, arguments: C) -> Start
where
    A: Actor<Arguments = C>,
    C: Clone + Send + Sync + 'static,
{
    Box::new(move |supervisor| {
        let (name, actor, arguments) = (name.clone(), make(), arguments.clone());
        Box::pin(async move {
            let (actor, _) = Actor::spawn_linked(Some(name), actor, arguments, supervisor).await?;
            Ok(actor.get_id())
        })
    })
}

/// Starts the actors and keeps them running until the node stops.
pub(crate) async fn keep(node: NodeId, part: &str, starts: Vec<Start>) -> Result<(), Failure> {
    let name = Some(format!("{node}-{part}-warden"));
    // The root of all that runs on a node is known by its name; it stops what is linked to it.
    let started = match ractor::registry::where_is(format!("{node}/root")) {
        Some(root) => Actor::spawn_linked(name, Warden, starts, root).await,
        None => Actor::spawn(name, Warden, starts).await,
    };
    started
        .map(drop)
        .map_err(|error| Failure::internal(format!("starting {part}"), error.to_string()))
}

/// The actor.
struct Warden;

/// Start the actor at this position again.
struct Again(usize);

/// What it keeps running.
struct Kept {
    starts: Vec<Start>,
    running: BTreeMap<ActorId, usize>,
}

impl Actor for Warden {
    type Msg = Again;
    type State = Kept;
    type Arguments = Vec<Start>;

    async fn pre_start(
        &self,
        myself: ActorRef<Again>,
        starts: Vec<Start>,
    ) -> Result<Kept, ActorProcessingErr> {
        let mut running = BTreeMap::new();
        for (position, start) in starts.iter().enumerate() {
            running.insert(start(myself.get_cell()).await?, position);
        }
        Ok(Kept { starts, running })
    }

    async fn handle(
        &self,
        myself: ActorRef<Again>,
        Again(position): Again,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        match (kept.starts[position])(myself.get_cell()).await {
            Ok(actor) => drop(kept.running.insert(actor, position)),
            Err(error) => {
                tracing::error!(%error, "actor not started again");
                myself.send_after(RESTART_PAUSE, move || Again(position));
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Again>,
        event: SupervisionEvent,
        kept: &mut Kept,
    ) -> Result<(), ActorProcessingErr> {
        let ended = match event {
            SupervisionEvent::ActorFailed(actor, error) => {
                tracing::error!(actor = actor.get_name(), %error, "actor failed; it is started again");
                actor.get_id()
            }
            SupervisionEvent::ActorTerminated(actor, ..) => actor.get_id(),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        if let Some(position) = kept.running.remove(&ended) {
            myself.send_after(RESTART_PAUSE, move || Again(position));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use ractor::cast;
    use tokio::sync::Notify;

    use super::*;

    struct Fragile;

    impl Actor for Fragile {
        type Msg = ();
        type State = ();
        type Arguments = (Arc<AtomicU32>, Arc<Notify>);

        async fn pre_start(
            &self,
            _: ActorRef<()>,
            (starts, started): Self::Arguments,
        ) -> Result<(), ActorProcessingErr> {
            starts.fetch_add(1, Ordering::Relaxed);
            started.notify_one();
            Ok(())
        }

        async fn handle(&self, _: ActorRef<()>, (): (), (): &mut ()) -> Result<(), ActorProcessingErr> {
            panic!("as the test wants");
        }
    }

    #[tokio::test]
    async fn an_actor_that_panics_comes_back_under_its_name() {
        let (starts, started) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let name = "warden-test-fragile".to_owned();
        let start = start(
            name.clone(),
            || Fragile,
            (Arc::clone(&starts), Arc::clone(&started)),
        );
        keep(NodeId::new(77), "test", vec![start]).await.unwrap();
        started.notified().await;
        let first: ActorRef<()> = ActorRef::where_is(name.clone()).expect("it runs");
        cast!(first, ()).unwrap();
        started.notified().await;
        assert_eq!(starts.load(Ordering::Relaxed), 2);
    }
}
