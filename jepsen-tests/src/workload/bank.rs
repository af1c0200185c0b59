//! Banks: each client moves money between the accounts of a bank of its own, two rows of one group in one push, and
//! everybody looks at all accounts of any bank at once. However old a look is, no money is lost in it, and it is the state
//! after one of the transfers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use covey_proto::v1::consistency::{Kind, Linearizable, Local};
use rand::Rng;
use rand::seq::SliceRandom;

use super::catalog::{ACCOUNT_BALANCE, ACCOUNT_STEP, ACCOUNTS};
use super::{Workload, WorkloadKind};
use crate::client::{Client, Numbered, rows};
use crate::history::{Answer, Call, Fresh, Outcome};
use crate::waiting::pause;

/// Accounts of a bank.
pub(crate) const ACCOUNTS_PER_BANK: usize = 5;
/// What each holds at first.
pub(crate) const OPENING: i64 = 100;
/// Names that are tried to find accounts of one group.
const NAMES_MAX: usize = 200;
/// How often something is tried while the cluster is whole.
const TRIES_MAX: usize = 60;
/// How long it is waited between two tries.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// One bank as its client knows it.
#[derive(Debug, Clone, Default)]
struct Bank {
    /// All in one group.
    accounts: Vec<String>,
    balances: Vec<i64>,
    /// Transfers so far.
    step: u64,
    /// A transfer of which its client does not know whether it is in: what it was, and when it was first pushed.
    open: Option<(Transfer, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Transfer {
    from: usize,
    to: usize,
    amount: i64,
}

/// The banks, one for each client.
pub(super) struct Banks(Vec<Mutex<Bank>>);

impl Banks {
    /// Banks for so many clients.
    pub(super) fn new(clients: usize) -> Self {
        Self((0..clients).map(|_| Mutex::default()).collect())
    }

    fn bank(&self, number: usize) -> Bank {
        self.0[number]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, number: usize, bank: Bank) {
        *self.0[number].lock().unwrap_or_else(PoisonError::into_inner) = bank;
    }

    /// Makes the next transfer, or goes on with the one that is open; true if it is in.
    async fn transfer(&self, client: &mut Client) -> bool {
        let number = client.number();
        let mut bank = self.bank(number);
        let (transfer, called) = bank
            .open
            .unwrap_or_else(|| (choose(client, &bank), client.now_us()));
        bank.open = Some((transfer, called));
        let push = bank.push(number, transfer);
        let done = match client.push_until_known(&push).await {
            Ok(_) => {
                bank.carry_out(transfer);
                let outcome = Outcome::Ok { answer: Answer::Done };
                record_transfer(client, (number, bank.step, transfer), (called, outcome));
                true
            }
            // Refused or unknown: the same one is tried again, so that each state follows from the one before.
            Err(_) => false,
        };
        self.keep(number, bank);
        done
    }
}

impl Bank {
    fn push(&self, number: usize, transfer: Transfer) -> Numbered {
        let accounts = [transfer.from, transfer.to].map(|place| self.accounts[place].clone());
        let balances = vec![
            self.balances[transfer.from] - transfer.amount,
            self.balances[transfer.to] + transfer.amount,
        ];
        let step = self.step + 1;
        Numbered {
            view: ACCOUNTS,
            rows: rows(
                &accounts,
                &[("balance", balances), ("step", vec![step.cast_signed(); 2])],
            ),
            producer: format!("bank-{number}"),
            sequence: step,
        }
    }

    fn carry_out(&mut self, transfer: Transfer) {
        self.balances[transfer.from] -= transfer.amount;
        self.balances[transfer.to] += transfer.amount;
        self.step += 1;
        self.open = None;
    }
}

#[tonic::async_trait]
impl Workload for Banks {
    async fn prepare(&self, client: &mut Client) -> Result<()> {
        let accounts = neighbours(client).await?;
        let opening = vec![OPENING; ACCOUNTS_PER_BANK];
        let push = Numbered {
            view: ACCOUNTS,
            rows: rows(
                &accounts,
                &[("balance", opening.clone()), ("step", vec![0; ACCOUNTS_PER_BANK])],
            ),
            producer: format!("bank-{}-opening", client.number()),
            sequence: 1,
        };
        settled(client, &push).await?;
        let bank = Bank {
            accounts,
            balances: opening,
            ..Bank::default()
        };
        self.keep(client.number(), bank);
        Ok(())
    }

    async fn step(&self, client: &mut Client) -> bool {
        client.turn();
        if client.random.gen_bool(0.5) {
            return self.transfer(client).await;
        }
        let number = client.random.gen_range(0..self.0.len());
        let fresh = match client.random.gen_range(0..3) {
            0 => Fresh::Linearizable,
            1 => Fresh::Bounded(1_000),
            _ => Fresh::Local,
        };
        look(client, (number, &self.bank(number).accounts), fresh).await
    }

    async fn finish(&self, client: &mut Client) -> Result<()> {
        for _ in 0..TRIES_MAX {
            client.turn();
            if self.bank(client.number()).open.is_none() || self.transfer(client).await {
                break;
            }
            pause(TRY_EVERY).await;
        }
        let number = client.number();
        if let Some((transfer, called)) = self.bank(number).open {
            let why = "it could not be repeated when the cluster was whole again".to_owned();
            let step = self.bank(number).step + 1;
            record_transfer(
                client,
                (number, step, transfer),
                (called, Outcome::Unknown { why }),
            );
        }
        for _ in 0..TRIES_MAX {
            client.turn();
            if look(client, (number, &self.bank(number).accounts), Fresh::Linearizable).await {
                return Ok(());
            }
            pause(TRY_EVERY).await;
        }
        bail!("bank {number} could not be read when the cluster was whole again")
    }
}

fn choose(client: &mut Client, bank: &Bank) -> Transfer {
    let mut places: Vec<usize> = (0..ACCOUNTS_PER_BANK).collect();
    places.shuffle(&mut client.random);
    Transfer {
        from: places[0],
        to: places[1],
        // Bounded, so that what an account lacks grows by little each time, however long the run.
        amount: client
            .random
            .gen_range(1..=20 + bank.balances[places[0]].clamp(0, 2 * OPENING) / 2),
    }
}

/// Names of accounts that are all in one group: where a row went is in the answer to its push.
async fn neighbours(client: &mut Client) -> Result<Vec<String>> {
    let mut group = None;
    let mut found = Vec::new();
    for name in 0..NAMES_MAX {
        let account = format!("account-{}-{name}", client.number());
        let push = Numbered {
            view: ACCOUNTS,
            rows: rows(
                std::slice::from_ref(&account),
                &[("balance", vec![0]), ("step", vec![0])],
            ),
            producer: format!("bank-{}-names", client.number()),
            sequence: name as u64 + 1,
        };
        let positions = settled(client, &push).await?;
        let here = positions.first().context("a push has a position")?.group;
        if *group.get_or_insert(here) == here {
            found.push(account);
        }
        if found.len() == ACCOUNTS_PER_BANK {
            return Ok(found);
        }
    }
    bail!("no {ACCOUNTS_PER_BANK} accounts of one group among {NAMES_MAX}")
}

/// Writes rows while the cluster is whole.
async fn settled(client: &mut Client, push: &Numbered) -> Result<Vec<covey_proto::v1::LogPosition>> {
    let mut last = None;
    for _ in 0..TRIES_MAX {
        match client.push_until_known(push).await {
            Ok(positions) => return Ok(positions),
            Err(trouble) => last = Some(trouble),
        }
        pause(TRY_EVERY).await;
    }
    bail!("a bank could not be opened: {last:?}")
}

fn record_transfer(
    client: &Client,
    (number, step, transfer): (usize, u64, Transfer),
    (called, outcome): (u64, Outcome),
) {
    let Transfer { from, to, amount } = transfer;
    let call = Call::Transfer {
        step,
        from,
        to,
        amount,
    };
    client.record((WorkloadKind::Bank.name(), &key(number)), call, called, outcome);
}

fn key(number: usize) -> String {
    format!("bank-{number}")
}

async fn look(client: &mut Client, (number, accounts): (usize, &[String]), fresh: Fresh) -> bool {
    let kind = match fresh {
        Fresh::Bounded(millis) => Kind::BoundedMs(millis),
        Fresh::Local | Fresh::OwnWrites => Kind::Local(Local {}),
        Fresh::Linearizable => Kind::Linearizable(Linearizable {}),
    };
    let called = client.now_us();
    let asked = client.read(ACCOUNTS, accounts, kind).await;
    let seen = asked.and_then(|features| {
        Ok(Answer::Accounts {
            balances: features.integers(ACCOUNT_BALANCE, 0)?,
            steps: features.numbers(ACCOUNT_STEP)?,
        })
    });
    let outcome = match seen {
        Ok(answer) => Outcome::Ok { answer },
        Err(trouble) => trouble.of_read(),
    };
    let good = matches!(outcome, Outcome::Ok { .. });
    client.record(
        (WorkloadKind::Bank.name(), &key(number)),
        Call::Read { fresh },
        called,
        outcome,
    );
    good
}
