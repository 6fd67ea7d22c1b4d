//! LZNT1: the compression of NTFS, in chunks of 4096 bytes ([MS-XCA] 2.5).

use super::repeat;
use crate::bytes::{le_u16, range};
use spelunk_tree::{Error, Result};

/// Bytes that one chunk stands for.
const CHUNK_BYTES: usize = 4096;
const HEADER_COMPRESSED: u16 = 0x8000;
const HEADER_LEN_MASK: u16 = 0x0FFF;

/// Decompresses `input` into `output`. What the chunks leave of `output` becomes zero; a chunk that is
/// shorter than 4096 bytes leaves the rest of its place zero.
///
/// # Errors
/// `Corrupt` when a chunk leaves `input`, a phrase reaches before its chunk, or a chunk is too long.
pub fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    let mut at = 0_usize;
    for place in output.chunks_mut(CHUNK_BYTES) {
        let header = if at.saturating_add(2) <= input.len() { le_u16(input, at)? } else { 0 };
        if header == 0 {
            place.fill(0);
            at = input.len();
            continue;
        }
        let len = usize::from(header & HEADER_LEN_MASK).saturating_add(1);
        let body = range(input, at.saturating_add(2), len)?;
        at = at.saturating_add(2).saturating_add(len);
        if header & HEADER_COMPRESSED == 0 {
            let (filled, rest) = place.split_at_mut(body.len().min(place.len()));
            filled.copy_from_slice(range(body, 0, filled.len())?);
            rest.fill(0);
        } else {
            chunk(body, place)?;
        }
    }
    Ok(())
}

/// Decompresses one chunk.
fn chunk(input: &[u8], output: &mut [u8]) -> Result<()> {
    let mut at = 0_usize;
    let mut written = 0_usize;
    while let Some(&flags) = input.get(at) {
        at = at.saturating_add(1);
        for bit in 0..8 {
            if at >= input.len() {
                break;
            }
            if flags & (1 << bit) == 0 {
                let (Some(&byte), Some(place)) = (input.get(at), output.get_mut(written)) else {
                    return Err(Error::corrupt("an LZNT1 chunk of more than 4096 bytes"));
                };
                *place = byte;
                written = written.saturating_add(1);
                at = at.saturating_add(1);
            } else {
                let (distance, len) = phrase(le_u16(input, at)?, written);
                repeat(output, written, distance, len)?;
                written = written.saturating_add(len);
                at = at.saturating_add(2);
            }
        }
    }
    output.get_mut(written..).unwrap_or_default().fill(0);
    Ok(())
}

/// Splits a phrase into distance and length. The further on in the chunk, the more bits the distance has.
fn phrase(token: u16, written: usize) -> (usize, usize) {
    let distance_bits = (usize::BITS.saturating_sub(written.saturating_sub(1).leading_zeros())).max(4);
    let len_bits = 16_u32.saturating_sub(distance_bits);
    let distance = usize::from(token >> len_bits).saturating_add(1);
    let len = usize::from(token & (0xFFFF_u16 >> distance_bits)).saturating_add(3);
    (distance, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of [MS-XCA] 3.3.
    #[test]
    fn example_of_the_specification_decompresses() {
        let input = [
            0x38, 0xb0, 0x88, 0x46, 0x23, 0x20, 0x00, 0x20, 0x47, 0x20, 0x41, 0x00, 0x10, 0xa2, 0x47, 0x01,
            0xa0, 0x45, 0x20, 0x44, 0x00, 0x08, 0x45, 0x01, 0x50, 0x79, 0x00, 0xc0, 0x45, 0x20, 0x05, 0x24,
            0x13, 0x88, 0x05, 0xb4, 0x02, 0x4a, 0x44, 0xef, 0x03, 0x58, 0x02, 0x8c, 0x09, 0x16, 0x01, 0x48,
            0x45, 0x00, 0xbe, 0x00, 0x9e, 0x00, 0x04, 0x01, 0x18, 0x90, 0x00,
        ];
        let expected = b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E \
            F# G F# D E F# G F# E D E A F# F# G A A G F# E D D E F# E D D\0";
        let mut output = vec![0xAA; 8192];

        decompress(&input, &mut output).unwrap();

        assert_eq!(&output[..expected.len()], expected);
        assert!(output[expected.len()..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn stored_chunk_is_copied() {
        let mut output = [0xAA; 5000];

        decompress(&[0x02, 0x30, b'a', b'b', b'c'], &mut output).unwrap();

        assert_eq!(&output[..5], b"abc\0\0");
    }

    #[test]
    fn phrases_and_chunks_that_leave_their_bounds_are_corrupt() {
        let mut output = [0; 4096];

        assert!(decompress(&[0xFF, 0xBF, 0], &mut output).is_err());
        assert!(decompress(&[0x02, 0xB0, 0x01, 0x00, 0x00], &mut output).is_err());
    }
}
