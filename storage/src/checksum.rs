//! The checksum that every stored value carries: CRC-32C over its key and itself, in the last four bytes.
//!
//! The key takes part, so that a good value under a wrong key is found out too.

const CHECKSUM_BYTES: usize = 4;

fn checksum(key: &[u8], payload: &[u8]) -> [u8; CHECKSUM_BYTES] {
    crc32c::crc32c_append(crc32c::crc32c(key), payload).to_le_bytes()
}

/// Appends the checksum of `key` and `payload` to `payload`.
pub(crate) fn seal(key: &[u8], mut payload: Vec<u8>) -> Vec<u8> {
    let sum = checksum(key, &payload);
    payload.extend_from_slice(&sum);
    payload
}

/// The payload of a sealed value, or why it cannot be trusted.
pub(crate) fn unseal<'a>(key: &[u8], sealed: &'a [u8]) -> Result<&'a [u8], String> {
    let (payload, stored) = sealed
        .split_last_chunk::<CHECKSUM_BYTES>()
        .ok_or_else(|| format!("value of {} bytes is too short to carry a checksum", sealed.len()))?;
    let computed = checksum(key, payload);
    if computed == *stored {
        Ok(payload)
    } else {
        let (stored, computed) = (u32::from_le_bytes(*stored), u32::from_le_bytes(computed));
        Err(format!(
            "stored checksum is {stored:08x}, computed {computed:08x}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_opens_under_its_own_key_only() {
        let sealed = seal(b"key", b"value".to_vec());
        assert_eq!(unseal(b"key", &sealed), Ok(b"value".as_slice()));
        assert!(unseal(b"kez", &sealed).is_err());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let sealed = seal(b"key", b"value".to_vec());
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(unseal(b"key", &damaged).is_err(), "bit {bit}");
        }
    }
}
