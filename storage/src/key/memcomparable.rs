//! Encodings whose byte order is the order of the values, and which no other encoding is a prefix of.
//!
//! Unsigned integers are big-endian; signed ones have their sign bit flipped; texts escape zero bytes and end in a
//! terminator that sorts before every continuation; descending fields are the complement of the ascending bytes.

/// What follows a zero byte of a text, so that it sorts after the terminator.
const ESCAPED_ZERO: u8 = 0xff;
/// What follows the zero byte that ends a text.
const TERMINATOR: u8 = 0x01;

const SIGN_BIT: u64 = 1 << 63;

/// Bytes that are not what was to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The bytes end inside a field.
    #[error("key ends inside a field")]
    Short,
    /// Bytes follow the last field.
    #[error("key has {0} bytes after its last field")]
    Long(usize),
    /// A variant number or an escape that nobody writes.
    #[error("key holds the unknown tag {0}")]
    Tag(u8),
    /// A text that is not UTF-8.
    #[error("key holds a text that is not UTF-8")]
    Text,
}

/// Writes fields one after the other.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A writer that goes on after `prefix`.
    pub const fn after(prefix: Vec<u8>) -> Self {
        Self(prefix)
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// One byte.
    pub fn u8(&mut self, number: u8) -> &mut Self {
        self.0.push(number);
        self
    }

    /// Ascending.
    pub fn u32(&mut self, number: u32) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Ascending.
    pub fn u64(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Ascending.
    pub fn u128(&mut self, number: u128) -> &mut Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Ascending, negative numbers first.
    pub fn i64(&mut self, number: i64) -> &mut Self {
        self.u64(number.cast_unsigned() ^ SIGN_BIT)
    }

    /// Ascending by bytes, which for texts is by characters.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Ascending by bytes; a shorter string sorts before its continuation.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            self.0.push(byte);
            if byte == 0 {
                self.0.push(ESCAPED_ZERO);
            }
        }
        self.0.extend_from_slice(&[0, TERMINATOR]);
        self
    }

    /// What `write` writes, in descending order.
    pub fn descending(&mut self, write: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.0.len();
        write(self);
        for byte in &mut self.0[start..] {
            *byte = !*byte;
        }
        self
    }
}

/// Reads fields one after the other.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A reader of all of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Everything must have been read.
    pub const fn finish(self) -> Result<(), Malformed> {
        match self.0.len() {
            0 => Ok(()),
            rest => Err(Malformed::Long(rest)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*field)
    }

    /// See [`Writer::u8`].
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_be_bytes)
    }

    /// See [`Writer::u32`].
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    /// See [`Writer::u64`].
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    /// See [`Writer::u128`].
    pub fn u128(&mut self) -> Result<u128, Malformed> {
        self.array().map(u128::from_be_bytes)
    }

    /// See [`Writer::i64`].
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok((self.u64()? ^ SIGN_BIT).cast_signed())
    }

    /// See [`Writer::text`].
    pub fn text(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?).map_err(|_| Malformed::Text)
    }

    /// See [`Writer::bytes`].
    pub fn bytes(&mut self) -> Result<Vec<u8>, Malformed> {
        let mut bytes = Vec::new();
        loop {
            match self.u8()? {
                0 => match self.u8()? {
                    TERMINATOR => return Ok(bytes),
                    ESCAPED_ZERO => bytes.push(0),
                    other => return Err(Malformed::Tag(other)),
                },
                byte => bytes.push(byte),
            }
        }
    }

    /// See [`Writer::descending`]: `N` bytes, read by `read`.
    pub fn descending<const N: usize, T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let ascending = self.array::<N>()?.map(|byte| !byte);
        let mut reader = Reader::new(&ascending);
        let value = read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}
