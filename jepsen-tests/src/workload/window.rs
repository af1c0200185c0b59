//! Windows that count and add up: every row counts exactly once, however often its push was repeated.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use covey_proto::v1::consistency::{Kind, Linearizable};
use rand::Rng;

use super::catalog::{COUNTED, COUNTED_COUNT, COUNTED_SUM};
use super::{Workload, WorkloadKind};
use crate::client::{Client, Numbered, rows};
use crate::history::{Answer, Call, Fresh, Outcome};
use crate::waiting::pause;

/// Windows that are counted in at the same time.
const WINDOWS: u64 = 3;
/// Rows of a window before the next one takes its place.
const ROWS_PER_WINDOW: u64 = 80;
/// How often something is tried when the cluster is whole again.
const TRIES_MAX: usize = 60;
/// How long it is waited between two tries.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// The windows in use.
#[derive(Default)]
pub(super) struct Windows {
    added: AtomicU64,
    /// Rows of which nobody knows whether they are in, with the moment when they were first pushed.
    open: Mutex<Vec<(u64, u64)>>,
}

impl Windows {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<(u64, u64)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl Workload for Windows {
    async fn step(&self, client: &mut Client) -> bool {
        client.turn();
        if client.random.gen_bool(0.4) {
            let added = self.added.load(Ordering::Relaxed);
            let lane = client.random.gen_range(0..WINDOWS);
            return read(client, &window(lane, added)).await;
        }
        let number = self.added.fetch_add(1, Ordering::Relaxed);
        let called = client.now_us();
        let Some(outcome) = add(client, number).await else {
            // It stays open, in the history too, until it is settled at the end.
            self.open().push((number, called));
            return false;
        };
        let good = matches!(outcome, Outcome::Ok { .. });
        record_add(client, number, (called, outcome));
        good
    }

    async fn finish(&self, client: &mut Client) -> Result<()> {
        loop {
            let taken = self.open().pop();
            let Some((number, called)) = taken else { break };
            let outcome = settle(client, number).await;
            record_add(client, number, (called, outcome));
        }
        if client.number() > 0 {
            return Ok(());
        }
        let added = self.added.load(Ordering::Relaxed);
        for lane in 0..WINDOWS {
            for before in (0..=added).step_by(usize::try_from(WINDOWS * ROWS_PER_WINDOW)?) {
                read_at_last(client, &window(lane, before)).await?;
            }
        }
        Ok(())
    }
}

/// The window of a lane when so many rows have been added.
fn window(lane: u64, added: u64) -> String {
    format!("window-{lane}-{}", added / (WINDOWS * ROWS_PER_WINDOW))
}

/// What a row adds: numbers whose sums tell which rows are in them, within a window.
fn size(number: u64) -> i64 {
    1_000 + (number * number % 997).cast_signed()
}

/// Pushes a row; `None` if nobody knows whether it is in.
async fn add(client: &mut Client, number: u64) -> Option<Outcome> {
    let item = window(number % WINDOWS, number);
    let push = Numbered {
        view: COUNTED,
        rows: rows(&[item], &[("size", vec![size(number)])]),
        producer: "window".to_owned(),
        sequence: number + 1,
    };
    match client.push_until_known(&push).await {
        Ok(_) => Some(Outcome::Ok { answer: Answer::Done }),
        Err(trouble) if trouble.is_unknown() => None,
        Err(trouble) => Some(trouble.of_write()),
    }
}

/// Pushes a row that may be in already until it certainly is.
async fn settle(client: &mut Client, number: u64) -> Outcome {
    for _ in 0..TRIES_MAX {
        client.turn();
        // That a repeat was not sent says nothing about the first push.
        if let Some(done @ Outcome::Ok { .. }) = add(client, number).await {
            return done;
        }
        pause(TRY_EVERY).await;
    }
    Outcome::Unknown {
        why: "it could not be repeated when the cluster was whole again".to_owned(),
    }
}

fn record_add(client: &Client, number: u64, (called, outcome): (u64, Outcome)) {
    let call = Call::Add { size: size(number) };
    let key = window(number % WINDOWS, number);
    client.record((WorkloadKind::Window.name(), &key), call, called, outcome);
}

async fn read(client: &mut Client, window: &str) -> bool {
    let called = client.now_us();
    let asked = client
        .read(COUNTED, &[window.to_owned()], Kind::Linearizable(Linearizable {}))
        .await;
    let total = asked.and_then(|features| {
        Ok(Answer::Total {
            count: features.numbers(COUNTED_COUNT)?.first().copied().unwrap_or(0),
            sum: features.integers(COUNTED_SUM, 0)?.first().copied().unwrap_or(0),
        })
    });
    let outcome = match total {
        Ok(answer) => Outcome::Ok { answer },
        Err(trouble) => trouble.of_read(),
    };
    let good = matches!(outcome, Outcome::Ok { .. });
    let call = Call::Read {
        fresh: Fresh::Linearizable,
    };
    client.record((WorkloadKind::Window.name(), window), call, called, outcome);
    good
}

async fn read_at_last(client: &mut Client, window: &str) -> Result<()> {
    for _ in 0..TRIES_MAX {
        client.turn();
        if read(client, window).await {
            return Ok(());
        }
        pause(TRY_EVERY).await;
    }
    bail!("{window} could not be read when the cluster was whole again")
}
