//! Predictions that one version of one model has made, by the exact bits of the feature vector.
//!
//! Two generations: a vector that is asked for again moves to the young one; when that is full, the old one is dropped.
//!
//! Invariants: never more than `ENTRIES_MAX` entries; a hit is what the model answered for the very same bits.

use std::collections::HashMap;

use covey_ml::frame::{ColumnValues, Frame};

/// Predictions that one replica remembers at the most.
const ENTRIES_MAX: usize = 65_536;

/// The bits of a feature vector.
type Vector = Box<[u8]>;

/// The cache of one version in one replica.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: HashMap<Vector, f64>,
    old: HashMap<Vector, f64>,
}

impl Cache {
    /// What the model said about this vector, if it is remembered.
    pub(super) fn get(&mut self, vector: &[u8]) -> Option<f64> {
        if let Some(prediction) = self.young.get(vector) {
            return Some(*prediction);
        }
        let (vector, prediction) = self.old.remove_entry(vector)?;
        self.put(vector, prediction);
        Some(prediction)
    }

    /// Remembers what the model says about this vector.
    pub(super) fn put(&mut self, vector: Vector, prediction: f64) {
        if self.young.len() >= ENTRIES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(vector, prediction);
    }
}

/// The bits of one row of a frame.
pub(super) fn vector(frame: &Frame, row: usize) -> Vector {
    let mut bits = Vec::with_capacity(frame.columns().len() * 9);
    for column in frame.columns() {
        match &column.values {
            ColumnValues::Float(values) => bits.extend_from_slice(&values[row].to_bits().to_be_bytes()),
            ColumnValues::Text(values) => {
                // A length that no text has marks a missing one, so that no two vectors share their bits.
                let length = values[row].as_ref().map_or(u64::MAX, |text| text.len() as u64);
                bits.extend_from_slice(&length.to_be_bytes());
                bits.extend_from_slice(values[row].as_deref().unwrap_or_default().as_bytes());
            }
        }
    }
    bits.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use covey_ml::frame::Column;

    use super::*;

    #[test]
    fn a_missing_text_is_not_an_empty_one() {
        let text = Column::text("c", vec![None, Some(String::new()), Some(String::new())]);
        let frame = Frame::new(vec![text, Column::float("x", vec![0.0, 0.0, -0.0])]).unwrap();
        let bits: Vec<Vector> = (0..3).map(|row| vector(&frame, row)).collect();
        assert_ne!(bits[0], bits[1]);
        assert_ne!(bits[1], bits[2]);
        assert_eq!(bits[1], vector(&frame, 1));
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_asked_for() {
        let mut cache = Cache::default();
        let key = |number: usize| number.to_be_bytes().to_vec().into_boxed_slice();
        for number in 0..2 * ENTRIES_MAX {
            cache.put(key(number), 1.0);
            assert_eq!(cache.get(&key(0)), Some(1.0));
        }
        assert!(cache.young.len() + cache.old.len() <= ENTRIES_MAX);
        assert_eq!(cache.get(&key(1)), None);
    }
}
