//! Tables: rows of named columns.

use covey_state::Value;

use super::InvalidField;
use crate::v1;

/// The names and the values of a table's columns. Lengths and names are not compared with each other here.
pub fn from_wire(table: v1::Table) -> Result<(Vec<String>, Vec<Vec<Value>>), InvalidField> {
    let mut names = Vec::with_capacity(table.columns.len());
    let mut columns = Vec::with_capacity(table.columns.len());
    for column in table.columns {
        columns.push(values(column.values, &column.name)?);
        names.push(column.name);
    }
    Ok((names, columns))
}

/// The table of these columns, one name for each.
pub fn to_wire(names: Vec<String>, columns: Vec<Vec<Value>>) -> v1::Table {
    let column = |(name, values): (String, Vec<Value>)| {
        let values = values.into_iter().map(v1::Value::from).collect();
        v1::TableColumn { name, values }
    };
    v1::Table {
        columns: names.into_iter().zip(columns).map(column).collect(),
    }
}

fn values(values: Vec<v1::Value>, name: &str) -> Result<Vec<Value>, InvalidField> {
    let value = |(row, value)| {
        Value::try_from(value).map_err(|fault: InvalidField| fault.within(&format!("{name}[{row}]")))
    };
    values.into_iter().enumerate().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_survive_the_way_to_the_wire_and_back() {
        let names = vec!["origin".to_owned(), "wind".to_owned()];
        let columns = vec![
            vec![Value::String("JFK".to_owned()), Value::Null],
            vec![Value::Float64(0.5), Value::Int64(2)],
        ];
        assert_eq!(
            from_wire(to_wire(names.clone(), columns.clone())),
            Ok((names, columns))
        );
    }

    #[test]
    fn a_value_that_is_none_is_named_by_its_column_and_row() {
        let not_finite = v1::Value {
            kind: Some(v1::value::Kind::Float64Value(f64::NAN)),
        };
        let column = v1::TableColumn {
            name: "wind".to_owned(),
            values: vec![v1::Value::default(), not_finite],
        };
        assert_eq!(
            from_wire(v1::Table {
                columns: vec![column]
            })
            .unwrap_err()
            .field,
            "wind[1]"
        );
    }
}
