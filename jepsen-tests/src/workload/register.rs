//! Aliases as registers: read, write and compare-and-set, linearizable.
//!
//! Every value is written at most once to a key, so that an old value cannot be taken for a new one; when the values are
//! used up, the clients go on with the next key.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use rand::Rng;

use super::versions::{MODELS, VERSIONS};
use super::{Workload, WorkloadKind};
use crate::client::Client;
use crate::history::{Answer, Call, Fresh, Outcome};

/// The registers in use.
#[derive(Default)]
pub(super) struct Registers {
    /// By model, how many values have been given out, over all keys.
    given: [AtomicU64; MODELS.len()],
}

impl Registers {
    /// The key whose values are given out now.
    fn key(&self, model: usize) -> u64 {
        self.given[model].load(Ordering::Relaxed) / VERSIONS
    }

    /// A key and a value that was never written to it.
    fn fresh(&self, model: usize) -> (u64, u64) {
        let given = self.given[model].fetch_add(1, Ordering::Relaxed);
        (given / VERSIONS, given % VERSIONS + 1)
    }
}

#[tonic::async_trait]
impl Workload for Registers {
    async fn step(&self, client: &mut Client) -> bool {
        client.turn();
        let model = client.random.gen_range(0..MODELS.len());
        match client.random.gen_range(0..10) {
            0..5 => read(client, model, self.key(model)).await.is_some(),
            5..7 => {
                let (key, value) = self.fresh(model);
                set(client, (model, key), Call::Write { value }).await
            }
            _ => {
                // What it is compared with was read just before, so most of them could succeed.
                let Some(expected) = read(client, model, self.key(model)).await else {
                    return false;
                };
                let (key, new) = self.fresh(model);
                set(client, (model, key), Call::CompareAndSet { expected, new }).await
            }
        }
    }

    async fn finish(&self, client: &mut Client) -> Result<()> {
        for model in 0..MODELS.len() {
            for key in 0..=self.key(model) {
                read(client, model, key).await;
            }
        }
        Ok(())
    }
}

fn alias(key: u64) -> String {
    format!("register-{key}")
}

fn named(model: usize, alias: &str) -> String {
    format!("{}@{alias}", MODELS[model])
}

async fn read(client: &mut Client, model: usize, key: u64) -> Option<u64> {
    let alias = alias(key);
    let called = client.now_us();
    let answer = client.get_alias((MODELS[model], &alias)).await;
    let value = answer.as_ref().ok().copied();
    let outcome = match answer {
        Ok(value) => Outcome::Ok {
            answer: Answer::Value {
                value,
                staleness_us: 0,
            },
        },
        Err(trouble) => trouble.of_read(),
    };
    let call = Call::Read {
        fresh: Fresh::Linearizable,
    };
    let place = (WorkloadKind::Register.name(), named(model, &alias));
    client.record((place.0, &place.1), call, called, outcome);
    value
}

async fn set(client: &mut Client, (model, key): (usize, u64), call: Call) -> bool {
    let alias = alias(key);
    let (value, expected) = match call {
        Call::CompareAndSet { expected, new } => (new, Some(expected)),
        Call::Write { value } => (value, None),
        _ => return false,
    };
    let called = client.now_us();
    let answer = client.set_alias((MODELS[model], &alias), value, expected).await;
    let outcome = match answer {
        Ok(()) => Outcome::Ok { answer: Answer::Done },
        Err(trouble) => trouble.of_write(),
    };
    let good = matches!(outcome, Outcome::Ok { .. });
    client.record(
        (WorkloadKind::Register.name(), &named(model, &alias)),
        call,
        called,
        outcome,
    );
    good
}
