//! Rows of features as registers: all rows of an item have the same event time, so the log decides which one is current.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use covey_proto::v1::consistency::{Kind, Linearizable};
use rand::Rng;

use super::catalog::{CELL_VALUE, CELLS};
use super::{Workload, WorkloadKind};
use crate::client::{Client, Numbered, rows};
use crate::history::{Answer, Call, Fresh, Outcome};

/// Items that are written at the same time.
const ITEMS: u64 = 4;
/// Values that an item gets before the next one takes its place.
const VALUES_PER_ITEM: u64 = 60;

/// The items in use.
#[derive(Default)]
pub(super) struct Cells {
    given: AtomicU64,
}

#[tonic::async_trait]
impl Workload for Cells {
    async fn step(&self, client: &mut Client) -> bool {
        client.turn();
        if client.random.gen_bool(0.5) {
            let given = self.given.fetch_add(1, Ordering::Relaxed);
            write(client, given).await
        } else {
            let given = self.given.load(Ordering::Relaxed);
            let lane = client.random.gen_range(0..ITEMS);
            read(client, &item(lane, given)).await
        }
    }

    async fn finish(&self, client: &mut Client) -> Result<()> {
        let given = self.given.load(Ordering::Relaxed);
        for lane in 0..ITEMS {
            for before in (0..=given).step_by(usize::try_from(ITEMS * VALUES_PER_ITEM)?) {
                read(client, &item(lane, before)).await;
            }
        }
        Ok(())
    }
}

/// The item of a lane when so many values have been given out.
fn item(lane: u64, given: u64) -> String {
    format!("row-{lane}-{}", given / (ITEMS * VALUES_PER_ITEM))
}

async fn write(client: &mut Client, given: u64) -> bool {
    let item = item(given % ITEMS, given);
    let value = given + 1;
    let push = Numbered {
        view: CELLS,
        rows: rows(
            std::slice::from_ref(&item),
            &[("value", vec![value.cast_signed()])],
        ),
        producer: "rows".to_owned(),
        sequence: value,
    };
    let called = client.now_us();
    let outcome = match client.push(&push).await {
        Ok(_) => Outcome::Ok { answer: Answer::Done },
        Err(trouble) => trouble.of_write(),
    };
    let good = matches!(outcome, Outcome::Ok { .. });
    client.record(
        (WorkloadKind::Rows.name(), &item),
        Call::Write { value },
        called,
        outcome,
    );
    good
}

async fn read(client: &mut Client, item: &str) -> bool {
    let called = client.now_us();
    let asked = client
        .read(CELLS, &[item.to_owned()], Kind::Linearizable(Linearizable {}))
        .await;
    let outcome = match asked.and_then(|features| features.numbers(CELL_VALUE)) {
        Ok(values) => Outcome::Ok {
            answer: Answer::Value {
                value: values.first().copied().unwrap_or(0),
                staleness_us: 0,
            },
        },
        Err(trouble) => trouble.of_read(),
    };
    let good = matches!(outcome, Outcome::Ok { .. });
    let call = Call::Read {
        fresh: Fresh::Linearizable,
    };
    client.record((WorkloadKind::Rows.name(), item), call, called, outcome);
    good
}
