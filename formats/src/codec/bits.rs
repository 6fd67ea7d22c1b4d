//! Bits in the order of XPRESS and LZX: 16-bit little-endian words, the highest bit first.

use crate::bytes::{index, le_u32, range, u8_at};
use spelunk_tree::{Error, Result};

const WORD_BITS: u32 = 16;
const WORD_BYTES: usize = 2;

/// Reads bits, and bytes between them.
///
/// Both formats put bytes where their encoders had not yet begun a word, so words are taken as late as possible:
/// only when a request needs them.
pub(super) struct Bits<'a> {
    input: &'a [u8],
    /// First byte that is in no word taken so far.
    next: usize,
    /// Bits taken and not used, the next one highest.
    buffer: u64,
    len: u32,
}

impl<'a> Bits<'a> {
    /// Bits of `input` from `at` on.
    pub fn new(input: &'a [u8], at: usize) -> Bits<'a> {
        Bits { input, next: at, buffer: 0, len: 0 }
    }

    /// Takes words until there are `wanted` bits (at most 32), or no more words.
    pub fn fill(&mut self, wanted: u32) {
        while self.len < wanted {
            let end = self.next.saturating_add(WORD_BYTES);
            let Some(&[low, high]) = self.input.get(self.next..end) else { return };
            let word = u64::from(u16::from_le_bytes([low, high]));
            self.buffer |= word << 48_u32.saturating_sub(self.len);
            self.len = self.len.saturating_add(WORD_BITS);
            self.next = end;
        }
    }

    /// The next 16 bits, and zeros behind the end of the input.
    pub fn peek(&mut self) -> u16 {
        self.fill(WORD_BITS);
        let [high, low, ..] = self.buffer.to_be_bytes();
        u16::from_be_bytes([high, low])
    }

    /// Leaves `count` bits behind, at most 16.
    ///
    /// # Errors
    /// `Corrupt` when there are not so many.
    pub fn skip(&mut self, count: u32) -> Result<()> {
        self.fill(count);
        self.len = self.len.checked_sub(count).ok_or_else(ended)?;
        self.buffer = self.buffer.checked_shl(count).unwrap_or(0);
        Ok(())
    }

    /// Takes a number of `count` bits, at most 16.
    ///
    /// # Errors
    /// `Corrupt` when there are not so many.
    pub fn take(&mut self, count: u32) -> Result<u16> {
        self.fill(count);
        let [high, low, ..] = self.buffer.to_be_bytes();
        let value = u16::from_be_bytes([high, low]).checked_shr(WORD_BITS.saturating_sub(count)).unwrap_or(0);
        self.skip(count)?;
        Ok(value)
    }

    /// Takes the byte behind the words taken so far.
    ///
    /// # Errors
    /// `Corrupt` at the end of the input.
    pub fn byte(&mut self) -> Result<u8> {
        let byte = u8_at(self.input, self.next).map_err(|_| ended())?;
        self.next = self.next.saturating_add(1);
        Ok(byte)
    }

    /// Takes the 32-bit number behind the words taken so far.
    ///
    /// # Errors
    /// `Corrupt` at the end of the input.
    pub fn number(&mut self) -> Result<usize> {
        let number = le_u32(self.input, self.next).map_err(|_| ended())?;
        self.next = self.next.saturating_add(4);
        index(number)
    }

    /// Takes the `len` bytes behind the words taken so far.
    ///
    /// # Errors
    /// `Corrupt` at the end of the input.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let bytes = range(self.input, self.next, len).map_err(|_| ended())?;
        self.next = self.next.saturating_add(len);
        Ok(bytes)
    }

    /// Leaves 1 to 16 bits behind, up to the next word, and gives words taken too early back.
    ///
    /// # Errors
    /// `Corrupt` at the end of the input.
    pub fn align(&mut self) -> Result<()> {
        match self.len % WORD_BITS {
            0 => self.skip(WORD_BITS)?,
            rest => self.skip(rest)?,
        }
        let words = index(self.len / WORD_BITS)?;
        self.next = self.next.saturating_sub(words.saturating_mul(WORD_BYTES));
        (self.buffer, self.len) = (0, 0);
        Ok(())
    }
}

fn ended() -> Error {
    Error::corrupt("compressed data that end too early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_from_the_high_end_of_little_endian_words() {
        let mut bits = Bits::new(&[0x34, 0x12, 0xCD, 0xAB], 0);

        assert_eq!(bits.take(4), Ok(1));
        assert_eq!(bits.take(16), Ok(0x234A));
        assert_eq!(bits.peek(), 0xBCD0);
        assert!(bits.take(13).is_err());
    }

    #[test]
    fn bytes_stand_behind_the_words_taken() {
        let mut bits = Bits::new(&[0, 0, 7, 8], 0);

        assert_eq!(bits.take(16), Ok(0));
        assert_eq!((bits.byte(), bits.byte()), (Ok(7), Ok(8)));
        assert!(bits.byte().is_err());
    }

    #[test]
    fn aligning_skips_a_whole_word_where_it_is_aligned_and_gives_back_what_was_not_needed() {
        let mut bits = Bits::new(&[0, 0, 1, 1, 2, 2, 3, 3], 0);

        bits.align().unwrap();
        assert_eq!(bits.take(3), Ok(0));
        bits.fill(32);
        bits.align().unwrap();

        assert_eq!(bits.byte(), Ok(2));
    }
}
