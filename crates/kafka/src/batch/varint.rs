//! Zigzag varints, and a cursor that reads them from untrusted bytes.
//!
//! A reader returns `None` for anything that is not there or not well formed; the caller knows what it was reading and says so.

/// Longest varint of 32 bits.
pub(super) const MAX_VARINT: usize = 5;
/// Longest varint of 64 bits.
pub(super) const MAX_VARLONG: usize = 10;

/// Reads forward through borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Nothing to read.
    pub(super) const EMPTY: Cursor<'static> = Cursor { rest: &[] };

    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    pub(super) fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn u8(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Option<i32> {
        // A value of 32 bits has no more than its last four in the fifth byte.
        self.unsigned::<MAX_VARINT, 0x0f>().map(|value| unzigzag(value as u32))
    }

    #[inline]
    pub(super) fn varlong(&mut self) -> Option<i64> {
        // Nor has one of 64 more than one in the tenth.
        self.unsigned::<MAX_VARLONG, 0x01>().map(unzigzag64)
    }

    #[inline]
    fn unsigned<const MAX_LEN: usize, const LAST: u8>(&mut self) -> Option<u64> {
        let (&byte, rest) = self.rest.split_first()?;
        if byte < 0x80 {
            self.rest = rest;
            return Some(u64::from(byte));
        }
        self.unsigned_slow::<MAX_LEN, LAST>()
    }

    fn unsigned_slow<const MAX_LEN: usize, const LAST: u8>(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for (index, &byte) in self.rest.iter().take(MAX_LEN).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                // What does not fit would be lost in silence.
                if index == MAX_LEN - 1 && byte > LAST {
                    return None;
                }
                self.rest = &self.rest[index + 1..];
                return Some(value);
            }
        }
        None
    }

    /// A field with a varint length before it, where a negative length means null. The outer `None` is malformed input.
    #[inline]
    pub(super) fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        let len = self.varint()?;
        if len < 0 {
            return Some(None);
        }
        self.take(len as usize).map(Some)
    }
}

#[inline]
fn unzigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

#[inline]
fn unzigzag64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[inline]
pub(super) fn zigzag(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[inline]
pub(super) fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Bytes that `value` takes as a varint.
#[inline]
pub(super) fn varint_size(value: i32) -> usize {
    ((38 - (zigzag(value) | 1).leading_zeros() as usize) * 147) >> 10
}

/// Bytes that `value` takes as a varint of 64 bits.
#[inline]
pub(super) fn varlong_size(value: i64) -> usize {
    (70 - (zigzag64(value) | 1).leading_zeros() as usize) / 7
}

/// Writes `value` at the start of `out` and returns the bytes used. `out` must have room for [`MAX_VARINT`] bytes.
#[inline]
pub(super) fn put_varint(out: &mut [u8], value: i32) -> usize {
    put(out, u64::from(zigzag(value)))
}

/// Writes `value` at the start of `out` and returns the bytes used. `out` must have room for [`MAX_VARLONG`] bytes.
#[inline]
pub(super) fn put_varlong(out: &mut [u8], value: i64) -> usize {
    put(out, zigzag64(value))
}

#[inline]
fn put(out: &mut [u8], mut rest: u64) -> usize {
    let mut index = 0;
    while rest >= 0x80 {
        out[index] = rest as u8 | 0x80;
        rest >>= 7;
        index += 1;
    }
    out[index] = rest as u8;
    index + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_and_have_the_size_foretold() {
        let mut values: Vec<i64> = vec![0, -1, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN];
        for shift in 0..63 {
            for near in -1..=1 {
                values.extend([(1i64 << shift) + near, -(1i64 << shift) + near]);
            }
        }
        for value in values {
            let mut out = [0; MAX_VARLONG];
            let len = put_varlong(&mut out, value);
            assert_eq!(len, varlong_size(value), "{value}");
            let mut cursor = Cursor::new(&out[..len]);
            assert_eq!(cursor.varlong(), Some(value));
            assert!(cursor.is_empty());
            if let Ok(small) = i32::try_from(value) {
                let mut out = [0; MAX_VARINT];
                let len = put_varint(&mut out, small);
                assert_eq!(len, varint_size(small), "{small}");
                let mut cursor = Cursor::new(&out[..len]);
                assert_eq!(cursor.varint(), Some(small));
                assert!(cursor.is_empty());
            }
        }
    }

    #[test]
    fn overlong_and_cut_integers_are_refused() {
        for bytes in [&[][..], &[0x80], &[0xff; 4], &[0xff; 5], &[0xff, 0xff, 0xff, 0xff, 0x1f], &[0x80; 11]] {
            assert_eq!(Cursor::new(bytes).varint(), None, "{bytes:x?}");
        }
        for bytes in [&[][..], &[0xff; 9], &[0xff; 10], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]] {
            assert_eq!(Cursor::new(bytes).varlong(), None, "{bytes:x?}");
        }
    }
}
