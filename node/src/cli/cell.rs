//! Text to typed values: what stands in `--row k=v`, in a CSV file, or in a JSON line.
//!
//! A text that is not of the wanted type stays a text: the node then refuses the row with its reason, and only that row.

use covey_state::{DataType, Timestamp, Value};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value as Json;

use super::output::moment_text;
use super::trouble::Trouble;

/// The value that `text` stands for, by the wanted type or, without one, by its looks.
pub(crate) fn of_text(text: &str, wanted: Option<DataType>) -> Value {
    let kept = || Value::String(text.to_owned());
    if text.is_empty() {
        return Value::Null;
    }
    match wanted {
        Some(DataType::String) => kept(),
        Some(DataType::Bool) => match text {
            "true" | "1" => Value::Bool(true),
            "false" | "0" => Value::Bool(false),
            _ => kept(),
        },
        Some(DataType::Int64) => text
            .parse()
            .map_or_else(|_| whole_text(text).unwrap_or_else(kept), Value::Int64),
        Some(DataType::Float64) => finite_text(text).unwrap_or_else(kept),
        Some(DataType::Timestamp) => parse_moment(text).map_or_else(kept, Value::Timestamp),
        None => by_looks(text),
    }
}

fn by_looks(text: &str) -> Value {
    match text {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(number) = text.parse() {
        return Value::Int64(number);
    }
    finite_text(text).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn finite_text(text: &str) -> Option<Value> {
    text.parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .map(Value::Float64)
}

fn whole_text(text: &str) -> Option<Value> {
    text.parse().ok().and_then(whole)
}

/// The integer that a float is, if it is one and loses nothing.
#[allow(clippy::cast_possible_truncation)]
fn whole(number: f64) -> Option<Value> {
    let exact = number.fract() == 0.0 && number.abs() <= (1_u64 << 53) as f64;
    exact.then_some(Value::Int64(number as i64))
}

/// The value of a JSON scalar, by the wanted type.
pub(crate) fn of_json(json: &Json, wanted: Option<DataType>) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::String(text) => match wanted {
            Some(DataType::Timestamp) => of_text(text, wanted),
            _ => Value::String(text.clone()),
        },
        Json::Number(number) => of_number(number, wanted),
        Json::Array(_) | Json::Object(_) => Value::String(json.to_string()),
    }
}

fn of_number(number: &serde_json::Number, wanted: Option<DataType>) -> Value {
    let value = match (number.as_i64(), number.as_f64()) {
        (Some(whole), _) => Value::Int64(whole),
        (None, Some(float)) => Value::Float64(float),
        (None, None) => Value::String(number.to_string()),
    };
    of_value(value, wanted)
}

/// The value as the wanted type where that loses nothing; else as it is. A number that is not finite becomes null.
pub(crate) fn of_value(value: Value, wanted: Option<DataType>) -> Value {
    match (value, wanted) {
        (Value::Float64(number), _) if !number.is_finite() => Value::Null,
        (Value::Float64(number), Some(DataType::Int64)) => whole(number).unwrap_or(Value::Float64(number)),
        #[allow(clippy::cast_precision_loss)]
        (Value::Int64(number), Some(DataType::Float64)) if number.unsigned_abs() <= 1 << 53 => {
            Value::Float64(number as f64)
        }
        (Value::Int64(number @ (0 | 1)), Some(DataType::Bool)) => Value::Bool(number == 1),
        (Value::String(text), Some(DataType::Timestamp)) => of_text(&text, wanted),
        (value, _) => value,
    }
}

/// The moment that a text means: RFC 3339, or a civil date or date and time, which is then UTC.
pub(crate) fn parse_moment(text: &str) -> Option<Timestamp> {
    let instant = text.parse::<jiff::Timestamp>().ok();
    let civil = || {
        text.parse::<DateTime>()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp())
    };
    instant
        .or_else(civil)
        .map(|at| Timestamp::from_micros(at.as_microsecond()))
}

/// [`parse_moment`] for command-line options.
pub(crate) fn moment_option(text: &str) -> Result<Timestamp, String> {
    parse_moment(text)
        .ok_or_else(|| format!("`{text}` is not a time such as 2013-07-01T12:00:00Z or 2013-07-01"))
}

/// `key=value` pairs of the command line.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

/// `name=number` pairs of the command line.
pub(crate) fn number_pair(text: &str) -> Result<(String, f64), String> {
    let (name, value) = pair(text)?;
    let number: f64 = value
        .parse()
        .map_err(|_| format!("`{value}` of `{name}` is not a number"))?;
    if number.is_finite() {
        Ok((name, number))
    } else {
        Err(format!("`{value}` of `{name}` is not finite"))
    }
}

/// A value for JSON and for tables.
pub(crate) fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Int64(number) => (*number).into(),
        Value::Float64(number) => super::output::number(*number),
        Value::String(text) => Json::String(text.clone()),
        Value::Timestamp(at) => Json::String(moment_text(at.micros())),
    }
}

/// The name and the columns of a table that a node has sent.
pub(crate) fn columns_of(table: covey_proto::v1::Table) -> Result<Vec<(String, Vec<Value>)>, Trouble> {
    let (names, columns) = covey_proto::convert::table::from_wire(table).map_err(|fault| {
        Trouble::refused(
            format!("the node's answer: {fault}"),
            "compare the versions of both sides",
        )
    })?;
    Ok(names.into_iter().zip(columns).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_by_the_wanted_type_and_stay_texts_when_they_are_not_of_it() {
        assert_eq!(
            of_text("12", Some(DataType::String)),
            Value::String("12".to_owned())
        );
        assert_eq!(of_text("12", Some(DataType::Int64)), Value::Int64(12));
        assert_eq!(of_text("12.0", Some(DataType::Int64)), Value::Int64(12));
        assert_eq!(of_text("12", Some(DataType::Float64)), Value::Float64(12.0));
        assert_eq!(
            of_text("NA", Some(DataType::Float64)),
            Value::String("NA".to_owned())
        );
        assert_eq!(of_text("", Some(DataType::Float64)), Value::Null);
    }

    #[test]
    fn without_a_type_looks_decide() {
        assert_eq!(of_text("7", None), Value::Int64(7));
        assert_eq!(of_text("7.5", None), Value::Float64(7.5));
        assert_eq!(of_text("true", None), Value::Bool(true));
        assert_eq!(of_text("inf", None), Value::String("inf".to_owned()));
    }

    #[test]
    fn moments_are_read_with_and_without_a_zone() {
        let noon = Some(Timestamp::from_micros(1_372_680_000_000_000));
        for text in [
            "2013-07-01T12:00:00Z",
            "2013-07-01T08:00:00-04:00",
            "2013-07-01 12:00:00",
        ] {
            assert_eq!(parse_moment(text), noon, "{text}");
        }
        assert!(parse_moment("2013-07-01").is_some());
        assert!(moment_option("noon").unwrap_err().contains("`noon`"));
    }

    #[test]
    fn numbers_that_are_not_finite_become_null() {
        assert_eq!(
            of_value(Value::Float64(f64::NAN), Some(DataType::Float64)),
            Value::Null
        );
        assert_eq!(
            of_value(Value::Float64(3.0), Some(DataType::Int64)),
            Value::Int64(3)
        );
        assert_eq!(
            of_value(Value::Float64(3.5), Some(DataType::Int64)),
            Value::Float64(3.5)
        );
    }
}
