//! From features to design rows, sparse: a dense slice of standardised numbers and the few 0/1 columns that
//! are set.
//!
//! Sums over rows then cost the square of the columns that are set, not of the columns there are.
//!
//! Invariants: the set columns of a row ascend and lie after the numeric ones; encoding a row does not depend
//! on the rows around it.

use crate::error::Result;
use crate::frame::Frame;

use super::{FittedFeature, Preprocessor};

/// One row of a design matrix, without the intercept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DesignRow<'a> {
    /// The standardised numbers: columns 0, 1, 2, ….
    pub numeric: &'a [f64],
    /// The 0/1 columns that are 1, ascending, counted from the first column of the design.
    pub set: &'a [u32],
}

impl DesignRow<'_> {
    /// The inner product with one weight per column.
    pub fn dot(&self, weights: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (value, weight) in self.numeric.iter().zip(weights) {
            sum += value * weight;
        }
        for column in self.set {
            sum += weights[*column as usize];
        }
        sum
    }

    /// Writes the row into a dense slice that holds one value per column.
    pub fn write_dense(&self, dense: &mut [f64]) {
        dense.fill(0.0);
        dense[..self.numeric.len()].copy_from_slice(self.numeric);
        for column in self.set {
            dense[*column as usize] = 1.0;
        }
    }
}

/// An encoded batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    columns: usize,
    numeric_columns: usize,
    numeric: Vec<f64>,
    starts: Vec<usize>,
    set: Vec<u32>,
}

impl Design {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of columns, without the intercept.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The row at a position below `rows()`.
    pub fn row(&self, position: usize) -> DesignRow<'_> {
        let start = position * self.numeric_columns;
        DesignRow {
            numeric: &self.numeric[start..start + self.numeric_columns],
            set: &self.set[self.starts[position]..self.starts[position + 1]],
        }
    }
}

/// Where a numeric feature goes.
#[derive(Debug, Clone)]
struct NumericSlot {
    mean: f64,
    scale: f64,
    missing: Option<u32>,
}

/// Where a categorical feature goes.
#[derive(Debug, Clone)]
struct CategoricalSlot {
    categories: Vec<String>,
    first: u32,
    other: Option<u32>,
    missing: Option<u32>,
}

#[derive(Debug, Clone)]
enum Slot {
    Numeric(NumericSlot),
    Categorical(CategoricalSlot),
}

/// A preprocessor made ready to encode: every feature knows its columns.
#[derive(Debug, Clone)]
pub struct Encoder {
    names: Vec<String>,
    slots: Vec<Slot>,
    columns: usize,
    numeric_columns: usize,
}

/// The column a feature is read from, resolved once per frame.
enum Source<'a> {
    Numeric(&'a NumericSlot, &'a [f64]),
    Categorical(&'a CategoricalSlot, &'a [Option<String>]),
}

impl Encoder {
    /// Lays out the columns of a preprocessor.
    pub fn new(preprocessor: &Preprocessor) -> Encoder {
        let numeric_columns = preprocessor.numeric_columns();
        let mut next =
            u32::try_from(numeric_columns).expect("a design has at most DESIGN_COLUMNS_MAX columns");
        let mut take = |wanted: bool| {
            wanted.then(|| {
                next += 1;
                next - 1
            })
        };
        let mut slots = Vec::with_capacity(preprocessor.features.len());
        for feature in &preprocessor.features {
            slots.push(match feature {
                FittedFeature::Numeric {
                    mean, scale, missing, ..
                } => Slot::Numeric(NumericSlot {
                    mean: *mean,
                    scale: *scale,
                    missing: take(*missing),
                }),
                FittedFeature::Categorical {
                    categories,
                    other,
                    missing,
                    ..
                } => {
                    let columns: Vec<u32> = categories.iter().filter_map(|_| take(true)).collect();
                    Slot::Categorical(CategoricalSlot {
                        categories: categories.clone(),
                        first: columns.first().copied().unwrap_or(0),
                        other: take(*other),
                        missing: take(*missing),
                    })
                }
            });
        }
        Encoder {
            names: preprocessor
                .features
                .iter()
                .map(|feature| feature.name().to_owned())
                .collect(),
            slots,
            columns: preprocessor.columns(),
            numeric_columns,
        }
    }

    /// Number of columns of the designs it makes, without the intercept.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Encodes every row of a frame; columns are found by name and checked for their kind.
    pub fn encode(&self, frame: &Frame) -> Result<Design> {
        let sources = self.sources(frame)?;
        let rows = frame.rows();
        let mut design = Design {
            columns: self.columns,
            numeric_columns: self.numeric_columns,
            numeric: Vec::with_capacity(rows * self.numeric_columns),
            starts: Vec::with_capacity(rows + 1),
            set: Vec::with_capacity(rows * (sources.len() - self.numeric_columns)),
        };
        design.starts.push(0);
        for row in 0..rows {
            for source in &sources {
                match source {
                    Source::Numeric(slot, values) => {
                        let value = values[row];
                        let missing = !value.is_finite();
                        design.numeric.push(if missing {
                            0.0
                        } else {
                            (value - slot.mean) / slot.scale
                        });
                        design.set.extend(slot.missing.filter(|_| missing));
                    }
                    Source::Categorical(slot, values) => {
                        design.set.extend(slot.column(values[row].as_deref()))
                    }
                }
            }
            design.starts.push(design.set.len());
        }
        Ok(design)
    }

    fn sources<'a>(&'a self, frame: &'a Frame) -> Result<Vec<Source<'a>>> {
        let resolve = |(position, (name, slot)): (usize, (&String, &'a Slot))| {
            let column = frame.column_near(name, position)?;
            Ok(match slot {
                Slot::Numeric(slot) => Source::Numeric(slot, column.floats()?),
                Slot::Categorical(slot) => Source::Categorical(slot, column.texts()?),
            })
        };
        self.names
            .iter()
            .zip(&self.slots)
            .enumerate()
            .map(resolve)
            .collect()
    }
}

impl CategoricalSlot {
    fn column(&self, value: Option<&str>) -> Option<u32> {
        let Some(value) = value else {
            return self.missing;
        };
        match self
            .categories
            .binary_search_by(|category| category.as_str().cmp(value))
        {
            Ok(position) => Some(self.first + position as u32),
            Err(_) => self.other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::FeatureSpec;
    use crate::frame::Column;
    use crate::preprocess::sums::PreprocessSums;

    fn frame(numbers: Vec<f64>, texts: Vec<Option<&str>>) -> Frame {
        let texts = texts.into_iter().map(|text| text.map(str::to_owned)).collect();
        Frame::new(vec![Column::float("x", numbers), Column::text("c", texts)]).unwrap()
    }

    fn fitted(training: &Frame) -> Preprocessor {
        let features = [FeatureSpec::categorical("c"), FeatureSpec::numeric("x")];
        Preprocessor::fit(&features, &PreprocessSums::of(&features, training).unwrap()).unwrap()
    }

    #[test]
    fn rows_become_standardised_numbers_and_set_columns() {
        let training = frame(vec![1.0, 3.0, f64::NAN], vec![Some("b"), Some("a"), None]);
        let preprocessor = fitted(&training);
        assert_eq!(
            preprocessor.column_names(),
            ["x", "c = a", "c = b", "c is missing", "x is missing"],
        );
        let design = Encoder::new(&preprocessor).encode(&training).unwrap();
        assert_eq!(
            design.row(0),
            DesignRow {
                numeric: &[-1.0],
                set: &[2]
            }
        );
        assert_eq!(
            design.row(1),
            DesignRow {
                numeric: &[1.0],
                set: &[1]
            }
        );
        assert_eq!(
            design.row(2),
            DesignRow {
                numeric: &[0.0],
                set: &[3, 4]
            }
        );
    }

    #[test]
    fn a_category_never_seen_sets_no_column_and_a_constant_stays_at_zero() {
        let preprocessor = fitted(&frame(vec![0.1; 3], vec![Some("a"); 3]));
        let design = Encoder::new(&preprocessor)
            .encode(&frame(vec![0.1], vec![Some("z")]))
            .unwrap();
        assert!(design.row(0).numeric[0].abs() < 1e-15);
        assert!(design.row(0).set.is_empty());
        assert_eq!(design.row(0).dot(&[2.0, 5.0]), design.row(0).numeric[0] * 2.0);
    }
}
