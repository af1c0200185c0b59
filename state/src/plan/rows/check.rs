//! Checks of one row against its view's schema. A refusal names the column and the value.

use crate::catalog::{Column, FeatureView, InstalledView, JoinKey, Rule};
use crate::command::IncomingRow;
use crate::entity::{EntityKey, KeyPart};
use crate::id::Timestamp;
use crate::plan::field::quoted;
use crate::value::{DataType, Value};

/// The longest text of a join key, in bytes.
pub const KEY_BYTES_MAX: usize = 1_024;
/// The longest text of a value, in bytes.
pub const VALUE_BYTES_MAX: usize = 65_536;
/// The largest number in an aggregated column: any count of them that fits a log adds up without overflow.
pub const AGGREGATED_MAGNITUDE_MAX: f64 = 1e290;

/// Checks rows of one command.
pub(super) struct Checker<'a> {
    schema: &'a InstalledView,
    /// The latest event time that is accepted.
    latest: Timestamp,
    now: Timestamp,
    /// For each column, whether it is aggregated.
    aggregated: Vec<bool>,
}

impl<'a> Checker<'a> {
    /// Checks against `schema`, with the aggregates of `head`, when the group's clock says `now`.
    pub(super) fn new(schema: &'a InstalledView, head: &FeatureView, now: Timestamp) -> Self {
        let columns = &schema.definition.columns;
        let sums = head.aggregated_columns();
        let aggregated = columns
            .iter()
            .map(|column| sums.contains(&column.name.as_str()))
            .collect();
        Self {
            schema,
            latest: now.plus_micros(schema.definition.future_tolerance_micros),
            now,
            aggregated,
        }
    }

    /// The row's entity and values as they are stored, or why the row is refused.
    pub(super) fn check(&self, row: &IncomingRow) -> Result<(EntityKey, Vec<Value>), String> {
        let key = self.key(row)?;
        if row.event_time > self.latest {
            return Err(format!(
                "event time {}us is after the group's clock {}us by more than the tolerance of {}us",
                row.event_time.micros(),
                self.now.micros(),
                self.schema.definition.future_tolerance_micros
            ));
        }
        let columns = &self.schema.definition.columns;
        if row.values.len() != columns.len() {
            return Err(format!(
                "{} values for the {} columns of schema version {}",
                row.values.len(),
                columns.len(),
                self.schema.schema_version
            ));
        }
        let mut values = Vec::with_capacity(columns.len());
        for ((column, value), aggregated) in columns.iter().zip(&row.values).zip(&self.aggregated) {
            values.push(stored(column, value, *aggregated)?);
        }
        Ok((key, values))
    }

    fn key(&self, row: &IncomingRow) -> Result<EntityKey, String> {
        let join_keys = &self.schema.join_keys;
        if row.key.len() != join_keys.len() {
            return Err(format!(
                "{} key values for {} join keys",
                row.key.len(),
                join_keys.len()
            ));
        }
        join_keys
            .iter()
            .zip(&row.key)
            .map(|(key, value)| key_part(key, value))
            .collect::<Result<_, _>>()
            .map(EntityKey)
    }
}

fn key_part(key: &JoinKey, value: &Value) -> Result<KeyPart, String> {
    match (key.data_type, value) {
        (_, Value::Null) => Err(format!("join key `{}` is null", key.name)),
        (DataType::Int64, Value::Int64(number)) => Ok(KeyPart::Int64(*number)),
        (DataType::String, Value::String(text)) if text.len() <= KEY_BYTES_MAX => {
            Ok(KeyPart::String(text.clone()))
        }
        (DataType::String, Value::String(text)) => Err(format!(
            "join key `{}` has {} bytes, at most {KEY_BYTES_MAX} are taken",
            key.name,
            text.len()
        )),
        (expected, found) => Err(format!(
            "join key `{}` must be {expected}, found {}",
            key.name,
            shown(found)
        )),
    }
}

/// The value as it is stored in `column`.
fn stored(column: &Column, value: &Value, aggregated: bool) -> Result<Value, String> {
    let name = &column.name;
    let stored = match (column.data_type, value) {
        (_, Value::Null) if column.nullable => return Ok(Value::Null),
        (_, Value::Null) => return Err(format!("column `{name}` must not be null")),
        // Integers beyond 2^53 round to the nearest float, as everywhere in this field.
        #[allow(clippy::cast_precision_loss)]
        (DataType::Float64, Value::Int64(number)) => Value::Float64(*number as f64),
        (DataType::Float64, Value::Float64(number)) if !number.is_finite() => {
            return Err(format!("column `{name}` must be a finite number, found {number}"));
        }
        // Minus zero becomes zero, so that equal numbers have equal bits.
        (DataType::Float64, Value::Float64(number)) => {
            Value::Float64(if *number == 0.0 { 0.0 } else { *number })
        }
        (DataType::String, Value::String(text)) if text.len() > VALUE_BYTES_MAX => {
            return Err(format!(
                "column `{name}` has {} bytes, at most {VALUE_BYTES_MAX} are taken",
                text.len()
            ));
        }
        (expected, found) if found.data_type() == Some(expected) => found.clone(),
        (expected, found) => {
            return Err(format!(
                "column `{name}` must be {expected}, found {}",
                shown(found)
            ));
        }
    };
    if aggregated
        && stored
            .as_number()
            .is_some_and(|number| number.abs() > AGGREGATED_MAGNITUDE_MAX)
    {
        return Err(format!(
            "column `{name}` is aggregated, {stored} is beyond ±{AGGREGATED_MAGNITUDE_MAX:e}"
        ));
    }
    for rule in &column.rules {
        obey(rule, name, &stored)?;
    }
    Ok(stored)
}

fn obey(rule: &Rule, name: &str, value: &Value) -> Result<(), String> {
    match rule {
        Rule::Min(bound) if value.as_number().is_some_and(|number| number < *bound) => {
            Err(format!("column `{name}` must be at least {bound}, found {value}"))
        }
        Rule::Max(bound) if value.as_number().is_some_and(|number| number > *bound) => {
            Err(format!("column `{name}` must be at most {bound}, found {value}"))
        }
        Rule::OneOf(allowed) if !allowed.contains(value) => {
            let found = quoted(&value.to_string());
            Err(format!(
                "column `{name}` must be one of {} declared values, found {found}",
                allowed.len()
            ))
        }
        Rule::Min(_) | Rule::Max(_) | Rule::OneOf(_) => Ok(()),
    }
}

/// A value with its type, shortened.
fn shown(value: &Value) -> String {
    match value.data_type() {
        Some(data_type) => format!("{data_type} {}", quoted(&value.to_string())),
        None => "null".to_owned(),
    }
}
