//! Numbers out of untrusted bytes: bounded, named by their byte order.

use spelunk_tree::{Error, Result};

/// The `N` bytes of `bytes` from `at` on.
///
/// # Errors
/// `Corrupt` when the structure is too short.
#[inline]
pub fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    range(bytes, at, N)?.try_into().map_err(|_| Error::internal("a range of another length than asked for"))
}

/// The `len` bytes of `bytes` from `at` on.
///
/// # Errors
/// `Corrupt` when the structure is too short.
#[inline]
pub fn range(bytes: &[u8], at: usize, len: usize) -> Result<&[u8]> {
    at.checked_add(len).and_then(|end| bytes.get(at..end)).ok_or_else(|| {
        Error::corrupt(format!("a structure of {} bytes ends before byte {at}+{len}", bytes.len()))
    })
}

/// The byte at `at`.
///
/// # Errors
/// `Corrupt` when the structure is too short.
#[inline]
pub fn u8_at(bytes: &[u8], at: usize) -> Result<u8> {
    array::<1>(bytes, at).map(|[byte]| byte)
}

macro_rules! numbers {
    ($($name:ident $type:ty, $from:ident, $order:literal;)*) => {$(
        #[doc = concat!("The ", $order, "-endian `", stringify!($type), "` at `at`.")]
        ///
        /// # Errors
        /// `Corrupt` when the structure is too short.
        #[inline]
        pub fn $name(bytes: &[u8], at: usize) -> Result<$type> {
            array(bytes, at).map(<$type>::$from)
        }
    )*};
}

numbers! {
    le_u16 u16, from_le_bytes, "little";
    le_u32 u32, from_le_bytes, "little";
    le_u64 u64, from_le_bytes, "little";
    le_i64 i64, from_le_bytes, "little";
    be_u16 u16, from_be_bytes, "big";
    be_u32 u32, from_be_bytes, "big";
    be_u64 u64, from_be_bytes, "big";
}

/// A count or offset as an index of memory.
///
/// # Errors
/// `Limit` where it does not fit (32-bit machines).
#[inline]
pub fn index(value: impl TryInto<usize>) -> Result<usize> {
    value.try_into().map_err(|_| Error::limit("a number too large for this machine"))
}

/// A length in memory as a count of bytes. No platform has a `usize` of more than 64 bits.
#[inline]
pub fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// `a + b` of untrusted numbers.
///
/// # Errors
/// `Corrupt` on overflow.
#[inline]
pub fn add(a: u64, b: u64) -> Result<u64> {
    a.checked_add(b).ok_or_else(|| Error::corrupt("numbers whose sum overflows"))
}

/// `a - b` of untrusted numbers.
///
/// # Errors
/// `Corrupt` when `b` is larger.
#[inline]
pub fn sub(a: u64, b: u64) -> Result<u64> {
    a.checked_sub(b).ok_or_else(|| Error::corrupt("numbers whose difference is negative"))
}

/// `a * b` of untrusted numbers.
///
/// # Errors
/// `Corrupt` on overflow.
#[inline]
pub fn mul(a: u64, b: u64) -> Result<u64> {
    a.checked_mul(b).ok_or_else(|| Error::corrupt("numbers whose product overflows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_in_their_byte_order() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];

        assert_eq!(le_u16(&bytes, 1), Ok(0x0302));
        assert_eq!(be_u32(&bytes, 4), Ok(0x0506_0708));
        assert_eq!(be_u64(&bytes, 0), Ok(0x0102_0304_0506_0708));
    }

    #[test]
    fn numbers_past_the_end_are_corrupt() {
        assert!(le_u32(&[0; 4], 1).is_err());
        assert!(u8_at(&[], 0).is_err());
        assert!(range(&[0; 4], usize::MAX, 2).is_err());
    }
}
