//! Values of the replicated map as bytes: a format byte, a body, and the checksum of both and the key.
//!
//! Rows, of which there are many, are packed so that a column is found by arithmetic; everything else is postcard. A
//! format number is on disk and never changes its meaning.

mod packed_row;

pub use packed_row::PackedRow;

use covey_state::Record;

use crate::checksum;

/// A record other than a row, in postcard.
const FORMAT_POSTCARD: u8 = 1;
/// A row in the layout of [`PackedRow`].
const FORMAT_ROW: u8 = 2;
/// The bytes of a plain record, as they are.
const FORMAT_PLAIN: u8 = 3;

/// The value stored under `key` for `record`.
pub(crate) fn encode(key: &[u8], record: &Record) -> Vec<u8> {
    let payload = match record {
        Record::Row(row) => packed_row::pack(vec![FORMAT_ROW], row),
        Record::Plain(bytes) => [&[FORMAT_PLAIN], bytes.as_slice()].concat(),
        other => postcard::to_extend(other, vec![FORMAT_POSTCARD])
            .expect("records hold only types that postcard can write"),
    };
    checksum::seal(key, payload)
}

/// The record in the value stored under `key`, or why it cannot be trusted.
pub(crate) fn decode(key: &[u8], value: &[u8]) -> Result<Record, String> {
    let payload = checksum::unseal(key, value)?;
    match payload.split_first() {
        Some((&FORMAT_POSTCARD, body)) => {
            postcard::from_bytes(body).map_err(|error| format!("its record cannot be decoded: {error}"))
        }
        Some((&FORMAT_ROW, body)) => PackedRow::new(body).and_then(|row| row.unpack()).map(Record::Row),
        Some((&FORMAT_PLAIN, body)) => Ok(Record::Plain(body.to_vec())),
        Some((format, _)) => Err(format!(
            "its format is {format}, this binary understands {FORMAT_POSTCARD} to {FORMAT_PLAIN}"
        )),
        None => Err("it is empty".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use covey_state::{Row, Timestamp, Value};
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int64),
            any::<f64>()
                .prop_filter("NaN is refused on entry", |number| !number.is_nan())
                .prop_map(Value::Float64),
            any::<String>().prop_map(Value::String),
            any::<i64>().prop_map(|micros| Value::Timestamp(Timestamp::from_micros(micros))),
        ]
    }

    prop_compose! {
        fn row()(
            schema_version in any::<u32>(),
            times in any::<(i64, i64)>(),
            log_index in any::<u64>(),
            ordinal in any::<u32>(),
            values in prop::collection::vec(value(), 0..40),
        ) -> Row {
            let (event_time, created_time) = (Timestamp::from_micros(times.0), Timestamp::from_micros(times.1));
            Row { schema_version, event_time, created_time, log_index, ordinal, values }
        }
    }

    proptest! {
        #[test]
        fn plain_bytes_come_back_as_they_are(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let record = Record::Plain(bytes);
            prop_assert_eq!(decode(b"key", &encode(b"key", &record)), Ok(record));
        }

        #[test]
        fn a_row_comes_back_bit_for_bit(row in row()) {
            let bytes = encode(b"key", &Record::Row(row.clone()));
            prop_assert_eq!(decode(b"key", &bytes), Ok(Record::Row(row.clone())));
            let payload = checksum::unseal(b"key", &bytes).unwrap();
            let packed = PackedRow::new(&payload[1..]).unwrap();
            for (column, value) in row.values.iter().enumerate() {
                prop_assert!(packed.column(column).unwrap().unwrap().same_bits(value));
            }
            prop_assert_eq!(packed.column(row.values.len()).unwrap(), None);
        }

        #[test]
        fn damaged_rows_are_refused_without_panic(row in row(), at in any::<prop::sample::Index>(), bit in 0..8u32) {
            let mut bytes = packed_row::pack(Vec::new(), &row);
            let at = at.index(bytes.len());
            bytes[at] ^= 1u8 << bit;
            let _ = PackedRow::new(&bytes).and_then(|row| row.unpack());
            let _ = PackedRow::new(&bytes[..at]).and_then(|row| row.unpack());
        }
    }

    #[test]
    fn a_record_of_an_unknown_format_is_refused() {
        let value = checksum::seal(b"key", vec![9, 1, 2, 3]);
        assert_eq!(
            decode(b"key", &value),
            Err("its format is 9, this binary understands 1 to 3".to_owned())
        );
    }
}
