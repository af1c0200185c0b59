//! A set: each element is an item with one row; at the end every acknowledged row is there, and none is there twice.
//!
//! Whether a row is there twice is seen in the count of its item's window.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use covey_proto::v1::consistency::{Kind, Linearizable};

use super::catalog::{COUNTED, COUNTED_COUNT};
use super::{Workload, WorkloadKind};
use crate::client::{Client, Numbered, rows};
use crate::history::{Answer, Call, Fresh, Outcome};
use crate::waiting::pause;

/// Elements that are looked for in one read.
const READ_AT_ONCE: usize = 500;
/// How often the final read of some elements is tried.
const TRIES_MAX: usize = 60;
/// How long it is waited between two tries.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// The elements.
#[derive(Default)]
pub(super) struct Elements {
    added: AtomicU64,
    /// Up to where they have been read, at the end.
    read: Mutex<usize>,
}

#[tonic::async_trait]
impl Workload for Elements {
    async fn step(&self, client: &mut Client) -> bool {
        client.turn();
        let number = self.added.fetch_add(1, Ordering::Relaxed) + 1;
        let element = element(number);
        let push = Numbered {
            view: COUNTED,
            rows: rows(std::slice::from_ref(&element), &[("size", vec![1])]),
            producer: "set".to_owned(),
            sequence: number,
        };
        let called = client.now_us();
        let outcome = match client.push_until_known(&push).await {
            Ok(_) => Outcome::Ok { answer: Answer::Done },
            Err(trouble) => trouble.of_write(),
        };
        let good = matches!(outcome, Outcome::Ok { .. });
        client.record(
            (WorkloadKind::Set.name(), &element),
            Call::Add { size: 1 },
            called,
            outcome,
        );
        good
    }

    async fn finish(&self, client: &mut Client) -> Result<()> {
        let added = usize::try_from(self.added.load(Ordering::Relaxed))?;
        loop {
            let from = {
                let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
                let from = *read;
                *read += READ_AT_ONCE;
                from
            };
            if from >= added {
                return Ok(());
            }
            let until = (from + READ_AT_ONCE).min(added);
            let elements: Vec<String> = (from + 1..=until).map(|number| element(number as u64)).collect();
            read(client, elements).await?;
        }
    }
}

fn element(number: u64) -> String {
    format!("element-{number}")
}

async fn read(client: &mut Client, elements: Vec<String>) -> Result<()> {
    let key = format!("{} to {}", elements[0], elements[elements.len() - 1]);
    for _ in 0..TRIES_MAX {
        client.turn();
        let called = client.now_us();
        let asked = client
            .read(COUNTED, &elements, Kind::Linearizable(Linearizable {}))
            .await;
        let outcome = match asked.and_then(|features| features.numbers(COUNTED_COUNT)) {
            Ok(counts) => Outcome::Ok {
                answer: Answer::Elements {
                    counts: elements.iter().cloned().zip(counts).collect(),
                },
            },
            Err(trouble) => trouble.of_read(),
        };
        let good = matches!(outcome, Outcome::Ok { .. });
        let call = Call::Read {
            fresh: Fresh::Linearizable,
        };
        client.record((WorkloadKind::Set.name(), &key), call, called, outcome);
        if good {
            return Ok(());
        }
        pause(TRY_EVERY).await;
    }
    bail!("{key} could not be read when the cluster was whole again")
}
