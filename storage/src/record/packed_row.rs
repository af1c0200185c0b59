//! The packed form of a row: any column is found by its position, without names and without reading the others.
//!
//! ```text
//! flags u8 | schema version u32 | event time i64 | created time i64 | log index u64 | ordinal u32 | columns u32
//! | a half-byte per column: 0 null, else its type | 8 bytes per column: the value, or offset u32 and length u32 | texts
//! ```
//!
//! All numbers are little-endian. The half-bytes are null bitmap and types in one, so that a row can be read without
//! its schema.

use covey_state::{DataType, Row, Timestamp, Value};

/// The bytes before the half-bytes.
const HEADER_BYTES: usize = 37;
/// The bytes of a column's slot.
const SLOT_BYTES: usize = 8;
/// No flag is in use yet.
const NO_FLAGS: u8 = 0;

const NULL: u8 = 0;
const BOOL: u8 = 1;
const INT64: u8 = 2;
const FLOAT64: u8 = 3;
const STRING: u8 = 4;
const TIMESTAMP: u8 = 5;

/// Packs `row` after `prefix`.
pub(super) fn pack(prefix: Vec<u8>, row: &Row) -> Vec<u8> {
    let mut out = prefix;
    out.reserve(HEADER_BYTES + row.values.len() * (SLOT_BYTES + 1));
    out.push(NO_FLAGS);
    out.extend_from_slice(&row.schema_version.to_le_bytes());
    out.extend_from_slice(&row.event_time.micros().to_le_bytes());
    out.extend_from_slice(&row.created_time.micros().to_le_bytes());
    out.extend_from_slice(&row.log_index.to_le_bytes());
    out.extend_from_slice(&row.ordinal.to_le_bytes());
    out.extend_from_slice(&small(row.values.len()).to_le_bytes());
    for pair in row.values.chunks(2) {
        let high = pair.get(1).map_or(NULL, type_number);
        out.push(high << 4 | type_number(&pair[0]));
    }
    let mut texts = Vec::new();
    for value in &row.values {
        out.extend_from_slice(&slot(value, &mut texts));
    }
    out.extend_from_slice(&texts);
    out
}

/// A count of something inside one row.
fn small(count: usize) -> u32 {
    u32::try_from(count).expect("a row is a part of a log entry, which is far below 4 GiB")
}

const fn type_number(value: &Value) -> u8 {
    match value.data_type() {
        None => NULL,
        Some(DataType::Bool) => BOOL,
        Some(DataType::Int64) => INT64,
        Some(DataType::Float64) => FLOAT64,
        Some(DataType::String) => STRING,
        Some(DataType::Timestamp) => TIMESTAMP,
    }
}

fn slot(value: &Value, texts: &mut Vec<u8>) -> [u8; SLOT_BYTES] {
    match value {
        Value::Null => [0; SLOT_BYTES],
        Value::Bool(flag) => u64::from(*flag).to_le_bytes(),
        Value::Int64(number) => number.to_le_bytes(),
        Value::Float64(number) => number.to_bits().to_le_bytes(),
        Value::Timestamp(at) => at.micros().to_le_bytes(),
        Value::String(text) => {
            let (offset, length) = (small(texts.len()), small(text.len()));
            texts.extend_from_slice(text.as_bytes());
            (u64::from(length) << 32 | u64::from(offset)).to_le_bytes()
        }
    }
}

/// A row in its packed form, read in place.
#[derive(Debug, Clone, Copy)]
pub struct PackedRow<'a> {
    header: &'a [u8; HEADER_BYTES],
    types: &'a [u8],
    slots: &'a [u8],
    texts: &'a [u8],
}

impl<'a> PackedRow<'a> {
    /// The row in these bytes, or what is wrong with them.
    pub fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let parts = || {
            let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
            let columns = usize::try_from(u32::from_le_bytes(*header.last_chunk()?)).ok()?;
            let (types, rest) = rest.split_at_checked(columns.div_ceil(2))?;
            let (slots, texts) = rest.split_at_checked(columns.checked_mul(SLOT_BYTES)?)?;
            Some(Self {
                header,
                types,
                slots,
                texts,
            })
        };
        let row = parts().ok_or_else(|| format!("its row of {} bytes ends too early", bytes.len()))?;
        match row.header[0] {
            NO_FLAGS => Ok(row),
            flags => Err(format!("its row has the unknown flags {flags:#04x}")),
        }
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        *self.header[at..]
            .first_chunk()
            .expect("every field lies inside the header")
    }

    /// How many columns it has.
    pub const fn columns(&self) -> usize {
        self.slots.len() / SLOT_BYTES
    }

    /// The value of the column at a position; `None` past the last one.
    pub fn column(&self, position: usize) -> Result<Option<Value>, String> {
        let Some(slot) = self.slots.chunks_exact(SLOT_BYTES).nth(position) else {
            return Ok(None);
        };
        let slot: [u8; SLOT_BYTES] = slot.try_into().expect("chunks are exact");
        let kind = self.types[position / 2] >> (position % 2 * 4) & 0x0f;
        Ok(Some(match kind {
            NULL => Value::Null,
            BOOL => Value::Bool(u64::from_le_bytes(slot) != 0),
            INT64 => Value::Int64(i64::from_le_bytes(slot)),
            FLOAT64 => Value::Float64(f64::from_bits(u64::from_le_bytes(slot))),
            TIMESTAMP => Value::Timestamp(Timestamp::from_micros(i64::from_le_bytes(slot))),
            STRING => Value::String(self.text(u64::from_le_bytes(slot))?.to_owned()),
            unknown => return Err(format!("its column {position} has the unknown type {unknown}")),
        }))
    }

    fn text(&self, slot: u64) -> Result<&'a str, String> {
        let (offset, length) = ((slot & u64::from(u32::MAX)) as usize, (slot >> 32) as usize);
        self.texts
            .get(offset..offset.saturating_add(length))
            .and_then(|text| std::str::from_utf8(text).ok())
            .ok_or_else(|| format!("its text at {offset} of {length} bytes cannot be read"))
    }

    /// The whole row.
    pub fn unpack(&self) -> Result<Row, String> {
        let values = (0..self.columns()).filter_map(|column| self.column(column).transpose());
        Ok(Row {
            schema_version: u32::from_le_bytes(self.field(1)),
            event_time: Timestamp::from_micros(i64::from_le_bytes(self.field(5))),
            created_time: Timestamp::from_micros(i64::from_le_bytes(self.field(13))),
            log_index: u64::from_le_bytes(self.field(21)),
            ordinal: u32::from_le_bytes(self.field(29)),
            values: values.collect::<Result<_, _>>()?,
        })
    }
}
