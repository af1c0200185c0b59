//! `covey feature push`: a file's rows into a view, batch by batch, each carried out exactly once.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use covey_proto::convert::data_type;
use covey_proto::v1;
use covey_state::{DataType, Timestamp, Value};
use futures::stream::{FuturesUnordered, StreamExt};
use indicatif::ProgressBar;
use sha2::{Digest as _, Sha256};
use tokio::time::{Duration, Instant, sleep};

use crate::cli::cell;
use crate::cli::client::Client;
use crate::cli::consistency::places;
use crate::cli::output::{Card, Listing, Output, remark, say};
use crate::cli::progress;
use crate::cli::sheet::{Sheet, Types};
use crate::cli::trouble::Trouble;

/// Batches that may be on their way at once.
const IN_FLIGHT_MAX: usize = 4;
/// How long to wait before a batch that was not taken is sent again.
const PAUSE: Duration = Duration::from_millis(200);
/// Reasons that are listed; further ones are only counted.
const REASONS_LISTED: usize = 20;
/// Digits of a file's hash that tell it from others of its producer.
const DIGITS: usize = 16;
/// The column that says when a row was true.
const EVENT_TIME: &str = "event_time";
/// The column that says when a row was made.
const CREATED_TIME: &str = "created_time";

/// Options of `covey feature push`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Push {
    /// The view
    view: String,
    /// The rows: .parquet, .csv or .jsonl
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Columns of the file that are named otherwise in the view
    #[arg(long, value_name = "FROM=TO", value_parser = cell::pair)]
    rename: Vec<(String, String)>,
    /// When all rows were true, for a file without `event_time`
    #[arg(long, value_name = "TIME", value_parser = cell::moment_option)]
    event_time: Option<Timestamp>,
    /// A name under which a file counts once, however often it is pushed; another file is another one
    #[arg(long, value_name = "NAME")]
    producer: Option<String>,
    /// The number of the first batch, for a producer that numbers its batches itself over all its files; a number that was used
    /// changes nothing, whatever rows it comes with
    #[arg(long, requires = "producer", value_name = "NUMBER")]
    first_sequence: Option<u64>,
    /// Rows per batch
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "ROWS")]
    batch_size: u32,
}

/// What has become of the rows so far.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    /// Per reason: how many rows, and the first of them.
    reasons: BTreeMap<String, (u64, u64)>,
    /// Per group the last place in its log that a row has.
    positions: BTreeMap<u64, u64>,
}

impl Push {
    pub(super) async fn run(self, client: &Client, output: Output) -> Result<(), Trouble> {
        let catalog = super::catalog(client).await?;
        let wanted = self.wanted_types(&catalog)?;
        let mut sheet = Sheet::open(&self.file, self.types_in_file(&wanted), self.batch_size as usize)?;
        let bar = sheet
            .rows
            .map_or_else(|| progress::counter("rows"), |rows| progress::bar(rows, "rows"));
        let mut tally = Tally::default();
        let mut on_their_way = FuturesUnordered::new();
        let producer = self.numbering()?;
        let (mut first_row, mut sequence, mut told) = (0_u64, self.first_sequence.unwrap_or(1), false);
        while let Some(mut batch) = sheet.next_batch()? {
            batch.rename(&self.rename);
            let others = batch.keep(|name| wanted.contains_key(name));
            if !others.is_empty() && !told {
                told = true;
                remark(&format!(
                    "columns that view `{}` does not have are left out: {}",
                    self.view,
                    others.join(", ")
                ));
            }
            let rows = batch.rows();
            if !batch.names.iter().any(|name| name == EVENT_TIME) {
                let at = self.event_time.ok_or_else(|| no_event_time(&others))?;
                batch.names.push(EVENT_TIME.to_owned());
                batch.columns.push(vec![Value::Timestamp(at); rows]);
            }
            let rows = rows as u64;
            on_their_way.push(send(
                client,
                self.request(batch.into_wire(), producer.clone(), sequence),
                first_row,
                rows,
            ));
            (first_row, sequence) = (first_row + rows, sequence + 1);
            if on_their_way.len() >= IN_FLIGHT_MAX
                && let Some(sent) = on_their_way.next().await
            {
                tally.add(sent?, &bar);
            }
        }
        while let Some(sent) = on_their_way.next().await {
            tally.add(sent?, &bar);
        }
        bar.finish_and_clear();
        tally.print(&self.view, output)
    }

    /// The types of the view's columns, its entity's join keys and the two times, by name.
    fn wanted_types(&self, catalog: &v1::Catalog) -> Result<Types, Trouble> {
        let (_, view) = super::find_view(catalog, &self.view)?;
        let entity = catalog.entities.iter().find(|entity| entity.name == view.entity);
        let keys = entity
            .map(|entity| entity.join_keys.as_slice())
            .unwrap_or_default();
        let keys = keys.iter().map(|key| (&key.name, key.data_type));
        let columns = view.columns.iter().map(|column| (&column.name, column.data_type));
        let known =
            |(name, number): (&String, i32)| Some((name.clone(), data_type(number, "data_type").ok()?));
        let mut types: Types = keys.chain(columns).filter_map(known).collect();
        types.insert(EVENT_TIME.to_owned(), DataType::Timestamp);
        types.insert(CREATED_TIME.to_owned(), DataType::Timestamp);
        Ok(types)
    }

    /// The same types by the names that the columns have in the file.
    fn types_in_file(&self, wanted: &Types) -> Types {
        let mut types = wanted.clone();
        for (from, to) in &self.rename {
            if let Some(known) = wanted.get(to) {
                types.insert(from.clone(), *known);
            }
        }
        types
    }

    /// The producer whose numbers the batches have. Unless it numbers them itself, each file cut in this way is numbered anew.
    fn numbering(&self) -> Result<Option<String>, Trouble> {
        let (Some(producer), None) = (&self.producer, self.first_sequence) else {
            return Ok(self.producer.clone());
        };
        let unreadable = |error: std::io::Error| Trouble::file(&self.file, &error);
        let mut hash = Sha256::new();
        let cut = (&self.view, self.batch_size, &self.rename, self.event_time);
        hash.update(format!("{cut:?}"));
        let mut file = File::open(&self.file).map_err(unreadable)?;
        std::io::copy(&mut file, &mut hash).map_err(unreadable)?;
        let digest = hex::encode(hash.finalize());
        Ok(Some(format!("{producer}/{}", &digest[..DIGITS])))
    }

    fn request(&self, rows: v1::Table, producer: Option<String>, sequence: u64) -> v1::PushRequest {
        let sequence = if producer.is_some() { sequence } else { 0 };
        v1::PushRequest {
            view: self.view.clone(),
            rows: Some(rows),
            producer: producer.unwrap_or_default(),
            sequence,
            request_id: uuid::Uuid::new_v4().as_bytes().to_vec().into(),
        }
    }
}

fn no_event_time(others: &[String]) -> Trouble {
    let next = match others
        .iter()
        .find(|name| name.contains("time") || name.contains("date"))
    {
        Some(name) => format!("if `{name}` is it, add --rename {name}=event_time"),
        None => "name the column with --rename COLUMN=event_time, or give one moment for all rows with --event-time".to_owned(),
    };
    Trouble::refused("the file has no column `event_time`", next)
}

/// Sends a batch until it is answered or the time is over. Its id makes sending it twice harmless.
async fn send(
    client: &Client,
    push: v1::PushRequest,
    first_row: u64,
    rows: u64,
) -> Result<(v1::PushReply, u64, u64), Trouble> {
    let until = Instant::now() + client.timeout();
    loop {
        let trouble = match client.features().push(client.request(push.clone())).await {
            Ok(reply) => return Ok((reply.into_inner(), first_row, rows)),
            Err(status) => Trouble::from(status),
        };
        if !trouble.is_unavailable() || Instant::now() >= until {
            return Err(trouble.during(&format!("rows from {first_row} on")));
        }
        // sleep: the cluster may be electing a leader; asking at once again would only add load.
        sleep(PAUSE).await;
    }
}

impl Tally {
    fn add(&mut self, (reply, first_row, rows): (v1::PushReply, u64, u64), bar: &ProgressBar) {
        self.accepted += reply.accepted;
        for v1::LogPosition { group, index } in reply.positions {
            let last = self.positions.entry(group).or_insert(index);
            *last = index.max(*last);
        }
        for refused in reply.refused {
            self.refused += 1;
            let row = first_row + refused.row;
            let (count, first) = self.reasons.entry(refused.reason).or_insert((0, row));
            *count += 1;
            *first = row.min(*first);
        }
        bar.inc(rows);
    }

    fn print(&self, view: &str, output: Output) -> Result<(), Trouble> {
        let mut reasons = Listing::new(&["rows", "first row", "reason"]);
        for (reason, (count, first)) in self.reasons.iter().take(REASONS_LISTED) {
            reasons.row([(*count).into(), (*first).into(), reason.clone().into()]);
        }
        let card = Card::default()
            .with("accepted", self.accepted)
            .with("refused", self.refused)
            .with("positions", places(&self.positions));
        match output {
            Output::Json => card.with("reasons", reasons.json()).print(output),
            Output::Table => {
                card.print(output);
                if reasons.len() > 0 {
                    say("");
                    reasons.print(output);
                    remark(&format!(
                        "next: see the refused rows with `covey feature dead-letters {view}`"
                    ));
                }
            }
        }
        if self.accepted == 0 && self.refused > 0 {
            return Err(Trouble::refused(
                "no row was accepted",
                "correct the file by the reasons above",
            ));
        }
        Ok(())
    }
}
