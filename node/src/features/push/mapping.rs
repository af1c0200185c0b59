//! From named columns to the rows of a view's schema. Pure.
//!
//! Values are not judged here: the group that holds the entity does that row by row, so that a bad row becomes a dead
//! letter and the good ones go in. Only what cannot be a row of the view at all is refused here, before anything moves.

use covey_state::catalog::InstalledView;
use covey_state::command::IncomingRow;
use covey_state::{Timestamp, Value};

use crate::error::Failure;
use crate::features::rows::{TableRows, moments, quoted};

/// The column that says when a row's fact was true.
pub(crate) const EVENT_TIME: &str = "event_time";
/// The column that says when the producer made a row.
pub(crate) const CREATED_TIME: &str = "created_time";

/// The rows of `table`, with values at the positions of the view's schema.
pub(crate) fn incoming_rows(view: &InstalledView, table: &TableRows) -> Result<Vec<IncomingRow>, Failure> {
    refuse_unknown(view, table)?;
    let mut keys = Vec::with_capacity(view.join_keys.len());
    for join_key in &view.join_keys {
        keys.push(required(view, table, &join_key.name)?);
    }
    let event_times = moments("rows", EVENT_TIME, required(view, table, EVENT_TIME)?)?;
    let created_times = match table.column(CREATED_TIME) {
        Some(column) => moments("rows", CREATED_TIME, column)?,
        None => event_times.clone(),
    };
    let columns = schema_columns(view, table)?;
    let row = |number: usize, event_time: Timestamp| IncomingRow {
        key: keys.iter().map(|column| column[number].clone()).collect(),
        event_time,
        created_time: created_times[number],
        values: columns
            .iter()
            .map(|column| column.map_or(Value::Null, |column| column[number].clone()))
            .collect(),
    };
    Ok(event_times
        .iter()
        .enumerate()
        .map(|(number, at)| row(number, *at))
        .collect())
}

fn refuse_unknown(view: &InstalledView, table: &TableRows) -> Result<(), Failure> {
    let known = known_columns(view);
    match table.names().iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let view = &view.definition.name;
            let reason = format!(
                "column `{name}` is not known to view `{view}`; known: {}",
                quoted(&known)
            );
            Err(Failure::invalid("rows", reason))
        }
    }
}

fn known_columns(view: &InstalledView) -> Vec<&str> {
    let mut known: Vec<&str> = view.join_keys.iter().map(|key| key.name.as_str()).collect();
    known.extend([EVENT_TIME, CREATED_TIME]);
    known.extend(view.definition.columns.iter().map(|column| column.name.as_str()));
    known
}

fn required<'a>(view: &InstalledView, table: &'a TableRows, name: &str) -> Result<&'a [Value], Failure> {
    table.column(name).ok_or_else(|| {
        let (view, given) = (&view.definition.name, table.names_text());
        Failure::invalid(
            "rows",
            format!("column `{name}` of view `{view}` is missing; given: {given}"),
        )
    })
}

/// For each column of the schema its values, or `None` where the request leaves a nullable column out.
type SchemaColumns<'a> = Vec<Option<&'a [Value]>>;

fn schema_columns<'a>(view: &InstalledView, table: &'a TableRows) -> Result<SchemaColumns<'a>, Failure> {
    let mut columns = Vec::with_capacity(view.definition.columns.len());
    for column in &view.definition.columns {
        columns.push(match column.nullable {
            true => table.column(&column.name),
            false => Some(required(view, table, &column.name)?),
        });
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::push::sample;

    fn table(columns: &[(&str, Value)]) -> TableRows {
        let names = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        TableRows::new(
            "rows",
            names,
            columns.iter().map(|(_, value)| vec![value.clone()]).collect(),
        )
        .unwrap()
    }

    fn at(micros: i64) -> Value {
        Value::Timestamp(Timestamp::from_micros(micros))
    }

    #[test]
    fn named_columns_take_the_positions_of_the_schema() {
        let rows = table(&[
            ("gust", Value::Float64(2.5)),
            ("event_time", at(7)),
            ("origin", Value::String("JFK".into())),
            ("wind", Value::Int64(3)),
        ]);
        let expected = IncomingRow {
            key: vec![Value::String("JFK".into())],
            event_time: Timestamp::from_micros(7),
            created_time: Timestamp::from_micros(7),
            values: vec![Value::Int64(3), Value::Float64(2.5)],
        };
        assert_eq!(incoming_rows(&sample::weather(), &rows).unwrap(), [expected]);
    }

    #[test]
    fn a_nullable_column_may_be_left_out_and_no_other() {
        let view = sample::weather();
        let without_gust = table(&[
            ("event_time", at(7)),
            ("origin", Value::Null),
            ("wind", Value::Float64(1.0)),
        ]);
        assert_eq!(
            incoming_rows(&view, &without_gust).unwrap()[0].values[1],
            Value::Null
        );
        let without_wind = table(&[("event_time", at(7)), ("origin", Value::Null)]);
        assert_eq!(
            incoming_rows(&view, &without_wind).unwrap_err().to_string(),
            "rows is invalid: column `wind` of view `weather` is missing; given: `event_time`, `origin`"
        );
    }

    #[test]
    fn an_unknown_column_is_named_with_the_known_ones() {
        let rows = table(&[
            ("event_time", at(7)),
            ("origin", Value::Null),
            ("windy", Value::Float64(1.0)),
        ]);
        assert_eq!(
            incoming_rows(&sample::weather(), &rows).unwrap_err().to_string(),
            "rows is invalid: column `windy` is not known to view `weather`; \
             known: `origin`, `event_time`, `created_time`, `wind`, `gust`"
        );
    }

    #[test]
    fn a_row_needs_its_join_key_and_its_time() {
        let view = sample::weather();
        let no_key = table(&[("event_time", at(7)), ("wind", Value::Float64(1.0))]);
        assert!(
            incoming_rows(&view, &no_key)
                .unwrap_err()
                .to_string()
                .contains("column `origin`")
        );
        let no_time = table(&[("origin", Value::Null), ("wind", Value::Float64(1.0))]);
        assert!(
            incoming_rows(&view, &no_time)
                .unwrap_err()
                .to_string()
                .contains("column `event_time`")
        );
    }
}
