//! Items with one writer each, whose values only grow.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use covey_proto::v1;

use super::catalog::CELLS;
use crate::client::{Client, Numbered, rows};
use crate::history::{Answer, Call, Outcome};
use crate::waiting::pause;

/// How often something is tried when the cluster is whole again.
pub(super) const TRIES_MAX: usize = 60;
/// How long it is waited between two tries.
pub(super) const TRY_EVERY: Duration = Duration::from_millis(500);

/// What the writer of an item knows.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    value: u64,
    /// When the write of `value` began, as long as its writer does not know that it is in.
    ///
    /// Until then it writes nothing else: a late write of an old value would be a legal step back.
    open: Option<u64>,
    /// Where its last acknowledged write is in the log.
    pub(super) positions: Vec<v1::LogPosition>,
}

/// The items of a workload, one for each client.
pub(super) struct Growing {
    workload: &'static str,
    items: Vec<Mutex<Written>>,
}

impl Growing {
    /// Items for so many clients.
    pub(super) fn new(workload: &'static str, clients: usize) -> Self {
        let items = (0..clients).map(|_| Mutex::default()).collect();
        Self { workload, items }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The name of a client's item.
    pub(super) fn item(&self, number: usize) -> String {
        format!("{}-{number}", self.workload)
    }

    /// What the writer of an item knows.
    pub(super) fn written(&self, number: usize) -> MutexGuard<'_, Written> {
        self.items[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the next value, or the same as before if nobody knows whether it is in; true if it is.
    pub(super) async fn write(&self, client: &mut Client) -> bool {
        let number = client.number();
        let now = client.now_us();
        let (value, called) = {
            let mut written = self.written(number);
            if written.open.is_none() {
                written.value += 1;
            }
            (written.value, *written.open.get_or_insert(now))
        };
        let item = self.item(number);
        let push = Numbered {
            view: CELLS,
            rows: rows(
                std::slice::from_ref(&item),
                &[("value", vec![value.cast_signed()])],
            ),
            producer: item.clone(),
            sequence: value,
        };
        let Ok(positions) = client.push_until_known(&push).await else {
            return false;
        };
        {
            let mut written = self.written(number);
            written.positions = positions;
            written.open = None;
        }
        let outcome = Outcome::Ok { answer: Answer::Done };
        client.record((self.workload, &item), Call::Write { value }, called, outcome);
        true
    }

    /// Settles the write of a client that is open, when the cluster is whole again.
    pub(super) async fn settle(&self, client: &mut Client) {
        for _ in 0..TRIES_MAX {
            client.turn();
            if self.written(client.number()).open.is_none() || self.write(client).await {
                return;
            }
            pause(TRY_EVERY).await;
        }
    }
}
