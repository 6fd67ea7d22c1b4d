//! XPRESS with Huffman codes ([MS-XCA] 2.1 and 2.2), one block of at most 64 KiB.

use super::bits::Bits;
use super::huffman::Huffman;
use super::repeat;
use crate::bytes::range;
use spelunk_tree::{Error, Result};

/// Lengths of the words of 512 symbols, 4 bits each.
const TABLE_BYTES: usize = 256;
/// Symbols from here on are repetitions.
const REPETITIONS: u16 = 256;
const REPETITION_LEN_MIN: usize = 3;
/// In a symbol: the length stands in a byte of its own.
const LEN_IN_BYTE: u16 = 0xF;
/// In that byte: the length stands in the two bytes behind.
const LEN_IN_WORD: u8 = 0xFF;

/// Decompresses `input` into the whole of `output`.
///
/// # Errors
/// `Corrupt` when the input ends too early, has an impossible code, or repeats what is not in `output`.
pub fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    let table = range(input, 0, TABLE_BYTES)?;
    let lens: Vec<u8> = table.iter().flat_map(|pair| [pair & 0xF, pair >> 4]).collect();
    let code = Huffman::new(&lens)?;
    let mut bits = Bits::new(input, TABLE_BYTES);
    let mut written = 0_usize;
    while let Some(place) = output.get_mut(written) {
        let symbol = code.symbol(&mut bits)?;
        let Some(repetition) = symbol.checked_sub(REPETITIONS) else {
            *place = symbol.to_le_bytes()[0];
            written = written.saturating_add(1);
            continue;
        };
        let len = repetition_len(&mut bits, repetition & 0xF)?;
        let distance_bits = u32::from(repetition >> 4);
        let distance = (1_usize << distance_bits).saturating_add(usize::from(bits.take(distance_bits)?));
        repeat(output, written, distance, len)?;
        written = written.saturating_add(len);
    }
    Ok(())
}

/// The length of a repetition, whose low bits stand in its symbol. Longer ones go on in bytes, which stand behind
/// the word that the next 16 bits end in.
fn repetition_len(bits: &mut Bits<'_>, low: u16) -> Result<usize> {
    let mut len = usize::from(low);
    if low == LEN_IN_BYTE {
        bits.fill(16);
        let byte = bits.byte()?;
        len = len.saturating_add(usize::from(byte));
        if byte == LEN_IN_WORD {
            len = usize::from(u16::from_le_bytes([bits.byte()?, bits.byte()?]));
            if len < usize::from(LEN_IN_BYTE) {
                return Err(Error::corrupt("a repetition whose length is stored in a wrong way"));
            }
        }
    }
    Ok(len.saturating_add(REPETITION_LEN_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 26 letters with words of 4 and 5 bits, as the first example of [MS-XCA] 3.2 has them.
    fn alphabet() -> Vec<u8> {
        let mut input = vec![0; 256];
        input[0x30..0x3E].copy_from_slice(&[
            0x50, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x55, 0x45, 0x44, 0x04,
        ]);
        input[0x80] = 0x04;
        input.extend([
            0xD8, 0x52, 0x3E, 0xD7, 0x94, 0x11, 0x5B, 0xE9, 0x19, 0x5F, 0xF9, 0xD6, 0x7C, 0xDF, 0x8D, 0x04,
            0, 0, 0, 0,
        ]);
        input
    }

    #[test]
    fn example_of_the_specification_decompresses() {
        let mut output = [0; 26];

        decompress(&alphabet(), &mut output).unwrap();

        assert_eq!(&output, b"abcdefghijklmnopqrstuvwxyz");
    }

    #[test]
    fn input_that_ends_too_early_is_corrupt() {
        let input = alphabet();
        for len in [0, 255, 256, 258, 266] {
            assert!(decompress(&input[..len], &mut [0; 26]).is_err(), "{len}");
        }
        assert!(decompress(&input, &mut [0; 200]).is_err());
    }
}
