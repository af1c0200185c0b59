//! The columns and the logical partitions of a training set.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use covey_state::{DataType, Value};

use super::encode;
use super::examples::Examples;
use crate::error::Failure;
use crate::features::lookup::{Moments, Vectors};
use crate::features::rows::TableRows;
use crate::features::service_plan::ServicePlan;

/// Rows per logical partition, as long as there are not too many partitions.
const PARTITION_ROWS: u64 = 8_192;
/// Logical partitions of one training set.
const PARTITIONS_MAX: u64 = 64;

/// The rows of each logical partition: a function of the number of rows alone, so that every later job on any number
/// of nodes adds up the same partial sums.
pub(crate) fn partition_sizes(rows: u64) -> Vec<u64> {
    let partitions = (rows / PARTITION_ROWS).clamp(1, PARTITIONS_MAX);
    (0..partitions)
        .map(|number| rows * (number + 1) / partitions - rows * number / partitions)
        .collect()
}

/// Where a column of the file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A column of the examples.
    Example(String),
    /// The time of the example.
    Moment,
    /// The feature at this position of the vector.
    Feature(usize),
}

/// The columns of the file: keys, time, features in service order, label. Each name once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    columns: Vec<(String, DataType, Source)>,
    schema: SchemaRef,
}

impl Layout {
    /// The columns for a service joined to these examples.
    pub(super) fn new(plan: &ServicePlan, examples: &Examples) -> Result<Self, Failure> {
        let mut columns: Vec<(String, DataType, Source)> = Vec::new();
        for key in &examples.keys {
            columns.push((key.name.clone(), key.data_type, Source::Example(key.name.clone())));
        }
        let features = plan.names.iter().zip(&plan.data_types).enumerate();
        let features = features
            .map(|(position, (name, data_type))| (name.clone(), *data_type, Source::Feature(position)));
        let time = (examples.timestamp.clone(), DataType::Timestamp, Source::Moment);
        for column in std::iter::once(time).chain(features) {
            // A join key that is also a request feature is the same column.
            if !columns.iter().any(|(name, _, _)| *name == column.0) {
                columns.push(column);
            }
        }
        if let Some(label) = &examples.label {
            if columns.iter().any(|(name, _, _)| *name == label.name) {
                let reason = format!(
                    "`{}` is an input too: a model would be told the answer",
                    label.name
                );
                return Err(Failure::invalid("label", reason));
            }
            columns.push((
                label.name.clone(),
                label.data_type,
                Source::Example(label.name.clone()),
            ));
        }
        let field = |(name, data_type, _): &(String, DataType, Source)| {
            Field::new(name, encode::arrow_type(*data_type), true)
        };
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        Ok(Self { columns, schema })
    }

    /// The names in file order.
    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|(name, _, _)| name.clone()).collect()
    }

    /// The rows of one partition.
    pub(super) fn batch(
        &self,
        examples: &TableRows,
        moments: &Moments,
        range: Range<usize>,
        vectors: Vectors,
    ) -> Result<RecordBatch, Failure> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (name, data_type, source) in &self.columns {
            arrays.push(match source {
                Source::Example(column) => {
                    let values = examples.column(column).unwrap_or_default();
                    encode::array(name, *data_type, &values[range.clone()])?
                }
                Source::Moment => {
                    let at = range
                        .clone()
                        .map(|row| Value::Timestamp(moments.at(row)))
                        .collect::<Vec<_>>();
                    encode::array(name, *data_type, &at)?
                }
                Source::Feature(position) => encode::array(name, *data_type, &vectors.columns[*position])?,
            });
        }
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|error| Failure::internal("laying out a dataset", error))
    }
}

#[cfg(test)]
mod tests {
    use covey_state::Timestamp;
    use covey_state::catalog::RequestFeature;

    use super::*;
    use crate::features::dataset::examples::ExampleColumn;
    use crate::features::frames;

    fn plan() -> ServicePlan {
        ServicePlan {
            names: vec!["weather__wind".to_owned(), "origin".to_owned()],
            data_types: vec![DataType::Float64, DataType::String],
            views: Vec::new(),
            request: vec![RequestFeature {
                name: "origin".to_owned(),
                data_type: DataType::String,
            }],
        }
    }

    fn examples(label: &str) -> Examples {
        let column = |name: &str, data_type| ExampleColumn {
            name: name.to_owned(),
            data_type,
        };
        let names = vec!["origin".to_owned(), "late".to_owned()];
        let columns = vec![
            vec![Value::String("JFK".to_owned()), Value::Null],
            vec![Value::Bool(true); 2],
        ];
        Examples {
            table: TableRows::new("spine", names, columns).unwrap(),
            at: vec![Timestamp::from_micros(1), Timestamp::from_micros(2)],
            keys: vec![column("origin", DataType::String)],
            timestamp: "departure".to_owned(),
            label: Some(column(label, DataType::Bool)),
        }
    }

    #[test]
    fn a_file_holds_keys_time_features_and_label_and_its_bytes_are_the_same_again() {
        let examples = examples("late");
        let layout = Layout::new(&plan(), &examples).unwrap();
        assert_eq!(layout.names(), ["origin", "departure", "weather__wind", "late"]);
        let moments = Moments::Each(examples.at.clone());
        let origins = vec![Value::String("JFK".to_owned()), Value::Null];
        let vectors = Vectors {
            columns: vec![vec![Value::Null, Value::Float64(0.5)], origins],
            statuses: Vec::new(),
        };
        let build = || {
            let batch = layout
                .batch(&examples.table, &moments, 0..2, vectors.clone())
                .unwrap();
            encode::parquet(&[batch]).unwrap()
        };
        assert_eq!(build(), build());
        let frames = frames::partitions(build(), &[1, 1]).unwrap();
        assert_eq!(frames[0].floats("departure").unwrap(), [1.0]);
        assert_eq!(frames[0].texts("origin").unwrap(), [Some("JFK".to_owned())]);
        assert!(frames[0].floats("weather__wind").unwrap()[0].is_nan());
        assert_eq!(frames[1].floats("weather__wind").unwrap(), [0.5]);
        assert_eq!(frames[1].floats("late").unwrap(), [1.0]);
    }

    #[test]
    fn a_label_that_the_model_would_be_given_is_refused() {
        let error = Layout::new(&plan(), &examples("origin")).unwrap_err();
        let expected = "label is invalid: `origin` is an input too: a model would be told the answer";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn partitions_are_even_contiguous_and_depend_on_the_rows_alone() {
        assert_eq!(partition_sizes(1), [1]);
        assert_eq!(partition_sizes(8_191), [8_191]);
        assert_eq!(partition_sizes(16_385), [8_192, 8_193]);
        let many = partition_sizes(10_000_001);
        assert_eq!(many.len(), 64);
        assert_eq!(many.iter().sum::<u64>(), 10_000_001);
        assert!(many.iter().max().unwrap() - many.iter().min().unwrap() <= 1);
    }
}
