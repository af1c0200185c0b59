//! The history of an alias as a list: each move appends, and names the move before it.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use rand::Rng;

use super::versions::{MODELS, VERSIONS};
use super::{Workload, WorkloadKind};
use crate::client::Client;
use crate::history::{Answer, Call, Fresh, Outcome};

/// The lists in use.
#[derive(Default)]
pub(super) struct Lists {
    /// By model, how many items have been given out, over all keys.
    given: [AtomicU64; MODELS.len()],
}

#[tonic::async_trait]
impl Workload for Lists {
    async fn step(&self, client: &mut Client) -> bool {
        client.turn();
        let model = client.random.gen_range(0..MODELS.len());
        if client.random.gen_bool(0.5) {
            let key = self.given[model].load(Ordering::Relaxed) / VERSIONS;
            read(client, model, key).await
        } else {
            let given = self.given[model].fetch_add(1, Ordering::Relaxed);
            append(client, (model, given / VERSIONS), given % VERSIONS + 1).await
        }
    }

    async fn finish(&self, client: &mut Client) -> Result<()> {
        for (model, given) in self.given.iter().enumerate() {
            for key in 0..=given.load(Ordering::Relaxed) / VERSIONS {
                read(client, model, key).await;
            }
        }
        Ok(())
    }
}

fn alias(key: u64) -> String {
    format!("list-{key}")
}

async fn read(client: &mut Client, model: usize, key: u64) -> bool {
    let alias = alias(key);
    let called = client.now_us();
    let outcome = match client.alias_history((MODELS[model], &alias)).await {
        Ok(moves) => Outcome::Ok {
            answer: Answer::Items {
                items: moves.iter().map(|moved| moved.version).collect(),
                previous: moves.iter().map(|moved| moved.previous).collect(),
            },
        },
        Err(trouble) => trouble.of_read(),
    };
    let call = Call::Read {
        fresh: Fresh::Linearizable,
    };
    record(client, (model, &alias), call, (called, outcome))
}

async fn append(client: &mut Client, (model, key): (usize, u64), item: u64) -> bool {
    let alias = alias(key);
    let called = client.now_us();
    let outcome = match client.set_alias((MODELS[model], &alias), item, None).await {
        Ok(()) => Outcome::Ok { answer: Answer::Done },
        Err(trouble) => trouble.of_write(),
    };
    record(client, (model, &alias), Call::Append { item }, (called, outcome))
}

fn record(
    client: &mut Client,
    (model, alias): (usize, &str),
    call: Call,
    (called, outcome): (u64, Outcome),
) -> bool {
    let good = matches!(outcome, Outcome::Ok { .. });
    let key = format!("{}@{alias}", MODELS[model]);
    client.record((WorkloadKind::Append.name(), &key), call, called, outcome);
    good
}
