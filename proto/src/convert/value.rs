//! Values, their types, digests and log positions.

use covey_state::value::{DataType, Value};
use covey_state::{Digest, GroupId, Position, Timestamp};

use super::InvalidField;
use crate::v1;
use crate::v1::value::Kind;

impl TryFrom<v1::Value> for Value {
    type Error = InvalidField;

    fn try_from(value: v1::Value) -> Result<Self, InvalidField> {
        Ok(match value.kind {
            None => Self::Null,
            Some(Kind::BoolValue(flag)) => Self::Bool(flag),
            Some(Kind::Int64Value(number)) => Self::Int64(number),
            Some(Kind::Float64Value(number)) if !number.is_finite() => {
                return Err(InvalidField::new(
                    "",
                    format!("`{number}` is not a finite number; leave it out for null"),
                ));
            }
            Some(Kind::Float64Value(number)) => Self::Float64(number),
            Some(Kind::StringValue(text)) => Self::String(text),
            Some(Kind::TimestampMicros(micros)) => Self::Timestamp(Timestamp::from_micros(micros)),
        })
    }
}

impl From<Value> for v1::Value {
    fn from(value: Value) -> Self {
        let kind = match value {
            Value::Null => None,
            Value::Bool(flag) => Some(Kind::BoolValue(flag)),
            Value::Int64(number) => Some(Kind::Int64Value(number)),
            Value::Float64(number) => Some(Kind::Float64Value(number)),
            Value::String(text) => Some(Kind::StringValue(text)),
            Value::Timestamp(at) => Some(Kind::TimestampMicros(at.micros())),
        };
        Self { kind }
    }
}

/// The type behind an enum number in `field`.
pub fn data_type(number: i32, field: &str) -> Result<DataType, InvalidField> {
    match v1::DataType::try_from(number) {
        Ok(v1::DataType::Bool) => Ok(DataType::Bool),
        Ok(v1::DataType::Int64) => Ok(DataType::Int64),
        Ok(v1::DataType::Float64) => Ok(DataType::Float64),
        Ok(v1::DataType::String) => Ok(DataType::String),
        Ok(v1::DataType::Timestamp) => Ok(DataType::Timestamp),
        Ok(v1::DataType::Unspecified) => Err(InvalidField::new(field, "no type is given")),
        Err(_) => Err(InvalidField::new(
            field,
            format!("`{number}` is not a known type"),
        )),
    }
}

impl From<DataType> for v1::DataType {
    fn from(data_type: DataType) -> Self {
        match data_type {
            DataType::Bool => Self::Bool,
            DataType::Int64 => Self::Int64,
            DataType::Float64 => Self::Float64,
            DataType::String => Self::String,
            DataType::Timestamp => Self::Timestamp,
        }
    }
}

/// The digest that is written in hexadecimal in `field`.
pub fn digest(text: &str, field: &str) -> Result<Digest, InvalidField> {
    text.parse()
        .map_err(|error: covey_state::id::ParseIdError| InvalidField::new(field, error.to_string()))
}

impl From<Position> for v1::LogPosition {
    fn from(position: Position) -> Self {
        Self {
            group: position.group.get(),
            index: position.index,
        }
    }
}

impl From<v1::LogPosition> for Position {
    fn from(position: v1::LogPosition) -> Self {
        Self {
            group: GroupId::new(position.group),
            index: position.index,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_survives_the_way_to_the_wire_and_back() {
        let values = [
            Value::Null,
            Value::Bool(true),
            Value::Int64(i64::MIN),
            Value::Float64(-0.0),
            Value::String("JFK".to_owned()),
            Value::Timestamp(Timestamp::from_micros(-1)),
        ];
        for value in values {
            let back = Value::try_from(v1::Value::from(value.clone())).unwrap();
            assert!(back.same_bits(&value), "{value} came back as {back}");
        }
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        for number in [f64::NAN, f64::INFINITY] {
            assert!(
                Value::try_from(v1::Value {
                    kind: Some(Kind::Float64Value(number))
                })
                .is_err()
            );
        }
    }

    #[test]
    fn every_type_survives_the_way_to_the_wire_and_back() {
        for each in [
            DataType::Bool,
            DataType::Int64,
            DataType::Float64,
            DataType::String,
            DataType::Timestamp,
        ] {
            assert_eq!(data_type(v1::DataType::from(each).into(), "data_type"), Ok(each));
        }
        assert_eq!(
            data_type(99, "columns[1].data_type").unwrap_err().field,
            "columns[1].data_type"
        );
    }
}
