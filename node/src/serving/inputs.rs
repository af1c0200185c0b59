//! From rows of values to the frame that a model reads, checked against the model's signature column by column.

use covey_ml::frame::{Column, Frame};
use covey_state::Value;
use covey_state::registry::{FeatureKind, SignatureField};

use crate::error::Failure;
use crate::features::rows::TableRows;

/// The inputs of a model in signature order; a column that is missing or of the wrong type is named with what is expected.
pub(super) fn frame(signature: &[SignatureField], rows: &TableRows) -> Result<Frame, Failure> {
    let mut columns = Vec::with_capacity(signature.len());
    for SignatureField { name, kind } in signature {
        let values = rows.column(name).ok_or_else(|| {
            let reason = format!(
                "column `{name}` ({}) is missing; given: {}",
                expected(*kind),
                rows.names_text()
            );
            Failure::invalid("rows", reason)
        })?;
        columns.push(match kind {
            FeatureKind::Numeric => Column::float(name, each(values, |row, value| number(name, row, value))?),
            FeatureKind::Categorical => {
                Column::text(name, each(values, |row, value| text(name, row, value))?)
            }
        });
    }
    Frame::new(columns).map_err(|error| Failure::invalid("rows", error.to_string()))
}

fn each<T>(values: &[Value], read: impl Fn(usize, &Value) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    values
        .iter()
        .enumerate()
        .map(|(row, value)| read(row, value))
        .collect()
}

/// A number as the model sees it: NaN where there is none, as in training.
fn number(name: &str, row: usize, value: &Value) -> Result<f64, Failure> {
    match value {
        Value::Null => Ok(f64::NAN),
        Value::Bool(flag) => Ok(f64::from(u8::from(*flag))),
        #[allow(
            clippy::cast_precision_loss,
            reason = "models compute with floats, in training too"
        )]
        Value::Int64(number) => Ok(*number as f64),
        Value::Float64(number) => Ok(*number),
        #[allow(
            clippy::cast_precision_loss,
            reason = "models compute with floats, in training too"
        )]
        Value::Timestamp(at) => Ok(at.micros() as f64),
        Value::String(_) => Err(wrong(name, row, FeatureKind::Numeric, value)),
    }
}

fn text(name: &str, row: usize, value: &Value) -> Result<Option<String>, Failure> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Bool(_) | Value::Int64(_) | Value::Float64(_) | Value::Timestamp(_) => {
            Err(wrong(name, row, FeatureKind::Categorical, value))
        }
    }
}

fn wrong(name: &str, row: usize, kind: FeatureKind, value: &Value) -> Failure {
    let found = value
        .data_type()
        .map_or_else(|| "null".to_owned(), |found| found.to_string());
    Failure::invalid(
        "rows",
        format!(
            "column `{name}` of row {row} must be {} and is {found}",
            expected(kind)
        ),
    )
}

fn expected(kind: FeatureKind) -> &'static str {
    match kind {
        FeatureKind::Numeric => "a number",
        FeatureKind::Categorical => "a string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Vec<SignatureField> {
        let field = |name: &str, kind| SignatureField {
            name: name.to_owned(),
            kind,
        };
        vec![
            field("wind", FeatureKind::Numeric),
            field("origin", FeatureKind::Categorical),
        ]
    }

    fn rows(names: &[&str], columns: Vec<Vec<Value>>) -> TableRows {
        TableRows::new(
            "rows",
            names.iter().map(|name| (*name).to_owned()).collect(),
            columns,
        )
        .unwrap()
    }

    #[test]
    fn columns_are_found_by_name_and_put_in_signature_order() {
        let origin = vec![Value::String("JFK".to_owned()), Value::Null];
        let given = rows(
            &["origin", "extra", "wind"],
            vec![origin, vec![Value::Null; 2], vec![Value::Int64(3), Value::Null]],
        );
        let frame = frame(&signature(), &given).unwrap();
        assert_eq!(frame.floats("wind").unwrap()[0], 3.0);
        assert!(frame.floats("wind").unwrap()[1].is_nan());
        assert_eq!(frame.texts("origin").unwrap(), [Some("JFK".to_owned()), None]);
        assert_eq!(frame.columns().len(), 2);
    }

    #[test]
    fn a_missing_column_is_named_with_its_type() {
        let error = frame(&signature(), &rows(&["origin"], vec![vec![Value::Null]])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "rows is invalid: column `wind` (a number) is missing; given: `origin`"
        );
    }

    #[test]
    fn a_column_of_the_wrong_type_is_named_with_both_types() {
        let given = rows(
            &["wind", "origin"],
            vec![vec![Value::Float64(1.0)], vec![Value::Float64(2.0)]],
        );
        let error = frame(&signature(), &given).unwrap_err().to_string();
        assert!(
            error.contains("column `origin` of row 0 must be a string and is"),
            "{error}"
        );
    }
}
