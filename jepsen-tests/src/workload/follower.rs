//! Reads of any replica: each client writes ever larger numbers to an item of its own; everybody reads the items of all,
//! as old as they allow, and the writer its own with the position of its last write.

use anyhow::{Result, bail};
use covey_proto::v1::consistency::{AtLeast, Kind, Linearizable, Local};
use rand::Rng;
use rand::seq::SliceRandom;

use super::catalog::{CELL_VALUE, CELLS};
use super::growing::{Growing, TRIES_MAX, TRY_EVERY};
use super::{Workload, WorkloadKind};
use crate::client::Client;
use crate::history::{Answer, Call, Fresh, Outcome};
use crate::waiting::pause;

/// The bounds that are asked for, in milliseconds.
const BOUNDS: [u64; 3] = [200, 1_000, 3_000];

/// The items.
pub(super) struct Followers(Growing);

impl Followers {
    /// Items for so many clients.
    pub(super) fn new(clients: usize) -> Self {
        Self(Growing::new(WorkloadKind::Follower.name(), clients))
    }
}

#[tonic::async_trait]
impl Workload for Followers {
    async fn step(&self, client: &mut Client) -> bool {
        client.turn();
        let own = client.number();
        match client.random.gen_range(0..10) {
            0..3 => self.0.write(client).await,
            3..5 => {
                let positions = self.0.written(own).positions.clone();
                if positions.is_empty() {
                    return self.0.write(client).await;
                }
                let kind = Kind::AtLeast(AtLeast { positions });
                read(client, &self.0.item(own), (Fresh::OwnWrites, kind)).await
            }
            5..9 => {
                let bound = *BOUNDS.choose(&mut client.random).expect("there are bounds");
                let number = client.random.gen_range(0..self.0.len());
                let fresh = (Fresh::Bounded(bound), Kind::BoundedMs(bound));
                read(client, &self.0.item(number), fresh).await
            }
            _ => {
                let number = client.random.gen_range(0..self.0.len());
                read(
                    client,
                    &self.0.item(number),
                    (Fresh::Local, Kind::Local(Local {})),
                )
                .await
            }
        }
    }

    async fn finish(&self, client: &mut Client) -> Result<()> {
        self.0.settle(client).await;
        let item = self.0.item(client.number());
        for _ in 0..TRIES_MAX {
            client.turn();
            let fresh = (Fresh::Linearizable, Kind::Linearizable(Linearizable {}));
            if read(client, &item, fresh).await {
                return Ok(());
            }
            pause(TRY_EVERY).await;
        }
        bail!("{item} could not be read when the cluster was whole again")
    }
}

async fn read(client: &mut Client, item: &str, (fresh, kind): (Fresh, Kind)) -> bool {
    let called = client.now_us();
    let asked = client.read(CELLS, &[item.to_owned()], kind).await;
    let seen = asked.and_then(|features| {
        Ok(Answer::Value {
            value: features.numbers(CELL_VALUE)?.first().copied().unwrap_or(0),
            staleness_us: features.staleness_us,
        })
    });
    let outcome = match seen {
        Ok(answer) => Outcome::Ok { answer },
        Err(trouble) => trouble.of_read(),
    };
    let good = matches!(outcome, Outcome::Ok { .. });
    client.record(
        (WorkloadKind::Follower.name(), item),
        Call::Read { fresh },
        called,
        outcome,
    );
    good
}
