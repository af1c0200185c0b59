//! Checks of one feature view: that it makes sense by itself, and that it may follow the version before it.

use std::collections::BTreeSet;

use crate::catalog::{Column, FeatureView, JoinKey, Rule};
use crate::plan::catalog::{AGGREGATES_MAX, COLUMNS_MAX, ONE_OF_MAX};
use crate::plan::field::{check_column_name, check_finite, check_text, ensure, invalid, quoted, within};
use crate::rejection::Rejection;
use crate::value::{DataType, Value};
use crate::window::{Aggregate, DAY, WINDOW_MICROS_MAX, WINDOW_MICROS_MIN, window_text};

/// The longest time to live and the largest future tolerance: a hundred years.
const LIFETIME_MICROS_MAX: i64 = 36_500 * DAY;

/// Whether the view makes sense by itself.
pub(super) fn check(view: &FeatureView, join_keys: &[JoinKey]) -> Result<(), Rejection> {
    check_text("description", &view.description)?;
    ensure(!view.columns.is_empty(), "columns", || {
        "a feature view needs at least one column".to_owned()
    })?;
    within(view.columns.len(), COLUMNS_MAX, "columns of a feature view")?;
    within(
        view.aggregates.len(),
        AGGREGATES_MAX,
        "aggregates of a feature view",
    )?;
    let mut names: BTreeSet<String> = join_keys.iter().map(|key| key.name.clone()).collect();
    for (position, column) in view.columns.iter().enumerate() {
        let field = format!("columns[{position}]");
        check_column_name(&format!("{field}.name"), &column.name)?;
        check_is_new(&mut names, &format!("{field}.name"), column.name.clone())?;
        for (rule_position, rule) in column.rules.iter().enumerate() {
            check_rule(&format!("{field}.rules[{rule_position}]"), column, rule)?;
        }
        check_bounds(&format!("{field}.rules"), column)?;
    }
    for (position, aggregate) in view.aggregates.iter().enumerate() {
        let field = format!("aggregates[{position}]");
        check_aggregate(&field, view, aggregate)?;
        check_is_new(&mut names, &field, aggregate.name())?;
    }
    if let Some(ttl) = view.ttl_micros {
        ensure((1..=LIFETIME_MICROS_MAX).contains(&ttl), "ttl_micros", || {
            format!("{ttl} is not a positive length of time of at most a hundred years")
        })?;
    }
    let tolerance = view.future_tolerance_micros;
    ensure(
        (0..=LIFETIME_MICROS_MAX).contains(&tolerance),
        "future_tolerance_micros",
        || format!("{tolerance} is not a length of time of at most a hundred years"),
    )
}

/// Whether `next` may follow `known`: rows and tiles that exist must keep their meaning.
pub(super) fn check_succession(known: &FeatureView, next: &FeatureView) -> Result<(), Rejection> {
    ensure(known.entity == next.entity, "entity", || {
        format!(
            "the view is about `{}`, which cannot change to `{}`",
            known.entity, next.entity
        )
    })?;
    for (position, column) in known.columns.iter().enumerate() {
        let kept = next.columns.get(position);
        let same = kept.is_some_and(|kept| kept.name == column.name && kept.data_type == column.data_type);
        ensure(same, &format!("columns[{position}]"), || {
            format!(
                "`{}` ({}) must stay where it is: columns can only be appended; declare a new view for another shape",
                column.name, column.data_type
            )
        })?;
    }
    ensure(
        next.aggregated_columns().starts_with(&known.aggregated_columns()),
        "aggregates",
        || {
            format!(
                "the aggregated columns were {} in this order; others can only follow them",
                known.aggregated_columns().join(", ")
            )
        },
    )?;
    let hops = known.hops();
    for (position, aggregate) in next.aggregates.iter().enumerate() {
        // Rows that are in already are in no tile of a new width, so the window would miss them.
        ensure(
            hops.contains(&aggregate.hop()),
            &format!("aggregates[{position}].window_micros"),
            || {
                format!(
                    "{} needs tiles of {}, which this view does not keep; declare a new view for it",
                    aggregate.name(),
                    window_text(aggregate.hop().micros())
                )
            },
        )?;
    }
    Ok(())
}

fn check_is_new(names: &mut BTreeSet<String>, field: &str, name: String) -> Result<(), Rejection> {
    if names.contains(&name) {
        return Err(invalid(
            field,
            format!("`{name}` names another column, aggregate or join key too"),
        ));
    }
    names.insert(name);
    Ok(())
}

/// Whether any number is within the bounds.
fn check_bounds(field: &str, column: &Column) -> Result<(), Rejection> {
    let (mut least, mut largest) = (f64::NEG_INFINITY, f64::INFINITY);
    for rule in &column.rules {
        match rule {
            Rule::Min(bound) => least = least.max(*bound),
            Rule::Max(bound) => largest = largest.min(*bound),
            Rule::OneOf(_) => {}
        }
    }
    ensure(least <= largest, field, || {
        format!(
            "`{}` could hold no value: it is to be at least {least} and at most {largest}",
            column.name
        )
    })
}

fn check_rule(field: &str, column: &Column, rule: &Rule) -> Result<(), Rejection> {
    match rule {
        Rule::Min(bound) | Rule::Max(bound) => {
            check_finite(field, *bound)?;
            ensure(
                matches!(column.data_type, DataType::Int64 | DataType::Float64),
                field,
                || {
                    format!(
                        "`{}` is {}, only int64 and float64 have bounds",
                        column.name, column.data_type
                    )
                },
            )
        }
        Rule::OneOf(values) => {
            ensure(!values.is_empty(), field, || {
                "no value would be allowed".to_owned()
            })?;
            within(values.len(), ONE_OF_MAX, "values of a one-of rule")?;
            let stranger = values
                .iter()
                .find(|value| value.data_type() != Some(column.data_type));
            if let Some(value) = stranger {
                let value = quoted(&value.to_string());
                return Err(invalid(
                    field,
                    format!("{value} is not {}, as `{}` is", column.data_type, column.name),
                ));
            }
            values
                .iter()
                .filter_map(Value::as_number)
                .try_for_each(|number| check_finite(field, number))
        }
    }
}

fn check_aggregate(field: &str, view: &FeatureView, aggregate: &Aggregate) -> Result<(), Rejection> {
    let column = view.columns.iter().find(|column| column.name == aggregate.column);
    let Some(column) = column else {
        return Err(invalid(
            format!("{field}.column"),
            format!("there is no column `{}`", aggregate.column),
        ));
    };
    ensure(column.data_type.is_numeric(), &format!("{field}.column"), || {
        format!(
            "`{}` is {}, aggregates need a number or a truth value",
            column.name, column.data_type
        )
    })?;
    let window = aggregate.window_micros;
    let field = format!("{field}.window_micros");
    ensure(
        (WINDOW_MICROS_MIN..=WINDOW_MICROS_MAX).contains(&window),
        &field,
        || {
            let (shortest, longest) = (window_text(WINDOW_MICROS_MIN), window_text(WINDOW_MICROS_MAX));
            format!(
                "{} is not a window from {shortest} to {longest}",
                window_text(window)
            )
        },
    )?;
    let hop = aggregate.hop().micros();
    ensure(window % hop == 0, &field, || {
        format!(
            "{} is not a multiple of {}, the width of its tiles",
            window_text(window),
            window_text(hop)
        )
    })
}
