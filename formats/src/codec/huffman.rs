//! Canonical Huffman codes of at most 16 bits, given by the lengths of their words.

use super::bits::Bits;
use crate::bytes::index;
use spelunk_tree::{Error, Result};

/// Words up to this length are found in one step.
const DIRECT_BITS: u32 = 10;
const WORD_BITS_MAX: u32 = 16;
/// Bits of a direct table's entry that hold the length.
const LEN_BITS: u32 = 4;

/// A code.
pub(super) struct Huffman {
    /// By the next [`DIRECT_BITS`] bits: symbol and length of the word; 0 where it is longer, or none.
    direct: Box<[u16]>,
    /// By length: the first word of the next length, in the high bits of 16; where the symbols of this length
    /// begin in `symbols`, and its first word.
    levels: [Level; 17],
    /// The symbols in the order of their words.
    symbols: Box<[u16]>,
}

#[derive(Clone, Copy, Default)]
struct Level {
    end: u32,
    symbols_at: usize,
    first: u32,
}

impl Huffman {
    /// The code whose symbols have words of these lengths, at most 16; 0 for symbols that do not occur. A code has as many
    /// words as its bits can make, or none at all: no packer writes another, and damage to the lengths is found.
    ///
    /// # Errors
    /// `Corrupt` when there are more words than that, or fewer.
    pub fn new(lens: &[u8]) -> Result<Huffman> {
        let mut counts = [0_u32; 17];
        for &len in lens.iter().filter(|&&len| len > 0) {
            let count = counts.get_mut(usize::from(len)).ok_or_else(impossible)?;
            *count = count.saturating_add(1);
        }
        let mut levels = [Level::default(); 17];
        let (mut word, mut symbols_at) = (0_u32, 0_usize);
        for (len, (level, count)) in (0_u32..).zip(levels.iter_mut().zip(counts)) {
            let shift = WORD_BITS_MAX.saturating_sub(len);
            level.first = word >> shift;
            level.symbols_at = symbols_at;
            word = word.saturating_add(count << shift);
            level.end = word;
            symbols_at = symbols_at.saturating_add(index(count)?);
            if word > 1 << WORD_BITS_MAX {
                return Err(impossible());
            }
        }
        if word != 0 && word != 1 << WORD_BITS_MAX {
            return Err(impossible());
        }
        let mut order: Vec<u16> =
            (0_u16..).zip(lens).filter(|(_, len)| **len > 0).map(|(at, _)| at).collect();
        order.sort_by_key(|&symbol| lens.get(usize::from(symbol)));
        let mut code = Huffman { direct: Box::default(), levels, symbols: order.into() };
        code.direct = code.direct_table(lens);
        Ok(code)
    }

    fn direct_table(&self, lens: &[u8]) -> Box<[u16]> {
        let mut table = Vec::with_capacity(1 << DIRECT_BITS);
        for &symbol in &self.symbols {
            let len = lens.get(usize::from(symbol)).copied().unwrap_or(0);
            let Some(spare) = DIRECT_BITS.checked_sub(u32::from(len)) else { break };
            let filled = table.len().saturating_add(1 << spare);
            table.resize(filled, (symbol << LEN_BITS) | u16::from(len));
        }
        table.resize(1 << DIRECT_BITS, 0);
        table.into()
    }

    /// Takes the next symbol.
    ///
    /// # Errors
    /// `Corrupt` for a word without symbol, and at the end of the input.
    #[inline]
    pub fn symbol(&self, bits: &mut Bits<'_>) -> Result<u16> {
        let word = bits.peek();
        let at = usize::from(word >> WORD_BITS_MAX.saturating_sub(DIRECT_BITS));
        let entry = self.direct.get(at).copied().unwrap_or(0);
        if entry != 0 {
            bits.skip(u32::from(entry & 0xF))?;
            return Ok(entry >> LEN_BITS);
        }
        let word = u32::from(word);
        let longer = (0_u32..).zip(&self.levels).skip(index(DIRECT_BITS)?);
        let (len, level) = longer.into_iter().find(|(_, level)| word < level.end).ok_or_else(no_word)?;
        bits.skip(len)?;
        let place = (word >> WORD_BITS_MAX.saturating_sub(len)).saturating_sub(level.first);
        self.symbols.get(level.symbols_at.saturating_add(index(place)?)).copied().ok_or_else(no_word)
    }
}

fn impossible() -> Error {
    Error::corrupt("an impossible Huffman code")
}

fn no_word() -> Error {
    Error::corrupt("bits that are no word of their Huffman code")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_words_are_found() {
        // 0, 10, 110, ..., and two words of 16 bits, the last of them all ones.
        let mut lens: Vec<u8> = (1..=16).collect();
        lens.push(16);
        let code = Huffman::new(&lens).unwrap();
        // 110, then 12 ones and a zero, then 16 ones.
        let words = [0b1101_1111_1111_1110_u16, 0xFFFF, 0];
        let input: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut bits = Bits::new(&input, 0);

        let symbols = [(); 3].map(|()| code.symbol(&mut bits));

        assert_eq!(symbols, [Ok(2), Ok(12), Ok(16)]);
    }

    #[test]
    fn code_with_too_many_words_or_too_few_is_corrupt() {
        assert!(Huffman::new(&[1, 1, 1]).is_err());
        assert!(Huffman::new(&[2, 2]).is_err());
        assert!(Huffman::new(&[1]).is_err());
        assert!(Huffman::new(&[17]).is_err());
    }

    #[test]
    fn code_without_words_has_no_symbol() {
        assert!(Huffman::new(&[]).unwrap().symbol(&mut Bits::new(&[0, 0], 0)).is_err());
    }
}
