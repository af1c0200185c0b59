//! The calls that workloads make, in short.

use std::time::Duration;

use covey_proto::v1;
use covey_proto::v1::features_client::FeaturesClient;
use covey_proto::v1::registry_client::RegistryClient;
use covey_proto::v1::value::Kind;
use rand::Rng;

use super::{Client, Trouble};
use crate::waiting::pause;

/// A row's event time in all workloads: 2026-01-01T00:00:00Z. Rows of one entity at the same time follow the log.
pub(crate) const EVENT_TIME: i64 = 1_767_225_600_000_000;
/// How often a write whose outcome is unknown is repeated before the client goes on with something else.
const REPEATS_MAX: usize = 4;

/// A push that can be repeated, because its producer numbers it.
#[derive(Debug, Clone)]
pub(crate) struct Numbered {
    pub(crate) view: &'static str,
    pub(crate) rows: v1::Table,
    pub(crate) producer: String,
    pub(crate) sequence: u64,
}

impl Client {
    /// Writes rows once.
    pub(crate) async fn push(&mut self, push: &Numbered) -> Result<Vec<v1::LogPosition>, Trouble> {
        let request = v1::PushRequest {
            view: push.view.to_owned(),
            rows: Some(push.rows.clone()),
            producer: push.producer.clone(),
            sequence: push.sequence,
            ..v1::PushRequest::default()
        };
        let reply = self
            .ask(async |channel| FeaturesClient::new(channel).push(Self::request(request)).await)
            .await?;
        match reply.refused.first() {
            Some(refused) => Err(Trouble::NotDone(format!("row refused: {}", refused.reason))),
            None => Ok(reply.positions),
        }
    }

    /// Writes rows; as long as nobody knows whether they are in, writes them again under the same number, at any node.
    ///
    /// Once an attempt's outcome was unknown, a later refusal or a failure to send says nothing about that attempt.
    pub(crate) async fn push_until_known(
        &mut self,
        push: &Numbered,
    ) -> Result<Vec<v1::LogPosition>, Trouble> {
        let mut unknown = None;
        for attempt in 0..=REPEATS_MAX {
            match (self.push(push).await, &unknown) {
                (Ok(positions), _) => return Ok(positions),
                (Err(trouble), None) if !trouble.is_unknown() => return Err(trouble),
                (Err(trouble), _) if trouble.is_unknown() => unknown = Some(trouble),
                (Err(_), _) => {}
            }
            if attempt < REPEATS_MAX {
                self.back_off().await;
                self.turn();
            }
        }
        Err(unknown.expect("only an unknown outcome is tried again"))
    }

    /// Reads a service's features of items; a row of values for each item, and what it was read from.
    pub(crate) async fn read(
        &mut self,
        service: &str,
        items: &[String],
        kind: v1::consistency::Kind,
    ) -> Result<Features, Trouble> {
        let entities = v1::Table {
            columns: vec![column("item", items.iter().map(|item| text(item)).collect())],
        };
        let request = v1::GetOnlineFeaturesRequest {
            service: service.to_owned(),
            entities: Some(entities),
            as_of_micros: vec![EVENT_TIME],
            consistency: Some(super::consistency(kind)),
        };
        let reply = self
            .ask(async |channel| {
                FeaturesClient::new(channel)
                    .get_online_features(Self::request(request))
                    .await
            })
            .await?;
        Ok(Features {
            table: reply.features.unwrap_or_default(),
            staleness_us: reply.read_point.map_or(0, |point| point.staleness_micros),
        })
    }

    /// Moves an alias.
    pub(crate) async fn set_alias(
        &mut self,
        (model, alias): (&str, &str),
        version: u64,
        expected: Option<u64>,
    ) -> Result<(), Trouble> {
        let request = v1::SetAliasRequest {
            model: model.to_owned(),
            alias: alias.to_owned(),
            version,
            expected,
            reason: self.name().to_owned(),
        };
        self.ask(async |channel| {
            RegistryClient::new(channel)
                .set_alias(Self::request(request))
                .await
        })
        .await
        .map(|_| ())
    }

    /// The version that an alias points to; 0 for none.
    pub(crate) async fn get_alias(&mut self, (model, alias): (&str, &str)) -> Result<u64, Trouble> {
        let request = v1::GetVersionRequest {
            model: model.to_owned(),
            which: Some(v1::get_version_request::Which::Alias(alias.to_owned())),
        };
        let answer = self
            .ask(async |channel| {
                RegistryClient::new(channel)
                    .get_version(Self::request(request))
                    .await
            })
            .await;
        match answer {
            Ok(version) => Ok(version.number),
            Err(Trouble::Missing) => Ok(0),
            Err(trouble) => Err(trouble),
        }
    }

    /// Every move of an alias, oldest first.
    pub(crate) async fn alias_history(
        &mut self,
        (model, alias): (&str, &str),
    ) -> Result<Vec<v1::AliasMove>, Trouble> {
        let request = v1::AliasHistoryRequest {
            model: model.to_owned(),
            alias: alias.to_owned(),
            at_micros: None,
        };
        let reply = self
            .ask(async |channel| {
                RegistryClient::new(channel)
                    .alias_history(Self::request(request))
                    .await
            })
            .await?;
        Ok(reply.moves)
    }

    /// Waits a little after something went wrong, so that a node that is gone is not asked all the time.
    pub(crate) async fn back_off(&mut self) {
        let millis = self.random.gen_range(50..200);
        pause(Duration::from_millis(millis)).await;
    }
}

/// What an online read gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Features {
    table: v1::Table,
    /// How old it may be, as it says itself.
    pub(crate) staleness_us: u64,
}

impl Features {
    /// The values of a feature, one for each item.
    pub(crate) fn column(&self, name: &str) -> Result<&[v1::Value], Trouble> {
        let found = self.table.columns.iter().find(|column| column.name == name);
        found
            .map(|column| column.values.as_slice())
            .ok_or_else(|| Trouble::NotDone(format!("the answer has no column `{name}`")))
    }

    /// The values of a feature as whole numbers; `absent` where there is none.
    pub(crate) fn integers(&self, name: &str, absent: i64) -> Result<Vec<i64>, Trouble> {
        let values = self.column(name)?.iter();
        Ok(values.map(|value| integer_of(value).unwrap_or(absent)).collect())
    }

    /// The same where none is negative, for numbers of things.
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<u64>, Trouble> {
        let numbers = self.integers(name, 0)?.into_iter();
        Ok(numbers
            .map(|number| u64::try_from(number).unwrap_or(u64::MAX))
            .collect())
    }
}

/// Rows of a view, one for each item, with whole numbers in its columns.
pub(crate) fn rows(items: &[String], columns: &[(&str, Vec<i64>)]) -> v1::Table {
    let keys = column("item", items.iter().map(|item| text(item)).collect());
    let times = column("event_time", items.iter().map(|_| moment(EVENT_TIME)).collect());
    let values = columns
        .iter()
        .map(|(name, numbers)| column(name, numbers.iter().map(|number| integer(*number)).collect()));
    v1::Table {
        columns: [keys, times].into_iter().chain(values).collect(),
    }
}

/// A column of a table.
pub(crate) fn column(name: &str, values: Vec<v1::Value>) -> v1::TableColumn {
    v1::TableColumn {
        name: name.to_owned(),
        values,
    }
}

pub(crate) fn text(text: &str) -> v1::Value {
    v1::Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    }
}

pub(crate) fn integer(number: i64) -> v1::Value {
    v1::Value {
        kind: Some(Kind::Int64Value(number)),
    }
}

pub(crate) fn moment(micros: i64) -> v1::Value {
    v1::Value {
        kind: Some(Kind::TimestampMicros(micros)),
    }
}

/// A value as a whole number, if it is one; sums may come as floats.
#[allow(clippy::cast_possible_truncation, reason = "sums here are far below 2^53")]
pub(crate) fn integer_of(value: &v1::Value) -> Option<i64> {
    match value.kind {
        Some(Kind::Int64Value(number)) => Some(number),
        Some(Kind::Float64Value(number)) => Some(number as i64),
        _ => None,
    }
}
