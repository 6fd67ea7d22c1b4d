//! LZX as in WIM archives and WOF files: chunks of at most 32 KiB that stand for themselves ([MS-PATCH] 2, with the
//! differences that wimlib documents: a bit for the usual block size, and x86 calls always translated).

use super::bits::Bits;
use super::huffman::Huffman;
use super::repeat;
use crate::bytes::array;
use spelunk_tree::{Error, Result};

/// Bytes of the largest chunk, and of a block whose size is not stored.
pub const CHUNK_BYTES_MAX: usize = 32 << 10;

const LITERALS: u16 = 256;
/// Classes of distances in a window of 32 KiB, each with eight lengths.
const DISTANCE_SLOTS: usize = 30;
const MAIN_SYMBOLS: usize = 256 + 8 * DISTANCE_SLOTS;
const LEN_SYMBOLS: usize = 249;
const PRE_SYMBOLS: usize = 20;
const ALIGNED_SYMBOLS: usize = 8;
const REPETITION_LEN_MIN: usize = 2;
/// In a main symbol: the length goes on in a symbol of its own.
const LEN_GOES_ON: u16 = 7;
/// The low bits of a distance that an aligned block has a code for.
const ALIGNED_BITS: u32 = 3;

/// x86 code was translated as if the file had this size.
const TRANSLATED_FILE_BYTES: i32 = 12_000_000;
/// What translation leaves alone at a chunk's end.
const TRANSLATION_TAIL_BYTES: usize = 10;
const CALL: u8 = 0xE8;

/// What a chunk's blocks hand on to the next.
struct State {
    main_lens: [u8; MAIN_SYMBOLS],
    len_lens: [u8; LEN_SYMBOLS],
    /// The last three distances.
    recent: [usize; 3],
}

/// The codes of a block.
struct Codes {
    main: Huffman,
    len: Huffman,
    aligned: Option<Huffman>,
}

/// Decompresses the chunk `input` into the whole of `output`.
///
/// # Errors
/// `Corrupt` when the input ends too early, has an impossible code or block, or repeats what is not in `output`;
/// `Limit` for an output of more than [`CHUNK_BYTES_MAX`].
pub fn decompress(input: &[u8], output: &mut [u8]) -> Result<()> {
    if output.len() > CHUNK_BYTES_MAX {
        return Err(Error::limit(format!("an LZX chunk of {} bytes", output.len())));
    }
    let mut bits = Bits::new(input, 0);
    let mut state = State { main_lens: [0; MAIN_SYMBOLS], len_lens: [0; LEN_SYMBOLS], recent: [1; 3] };
    let mut written = 0_usize;
    while written < output.len() {
        let kind = bits.take(3)?;
        let len = match bits.take(1)? {
            1 => CHUNK_BYTES_MAX,
            _ => usize::from(bits.take(16)?),
        };
        let end = written.saturating_add(len);
        if len == 0 || end > output.len() {
            return Err(Error::corrupt(format!("an LZX block of {len} bytes after {written}")));
        }
        let block = output.get_mut(..end).unwrap_or_default();
        match kind {
            1 | 2 => {
                let codes = read_codes(&mut bits, &mut state, kind == 2)?;
                compressed(&mut bits, &codes, &mut state.recent, block, written)?;
            }
            3 => stored(&mut bits, &mut state.recent, block.get_mut(written..).unwrap_or_default())?,
            _ => return Err(Error::corrupt(format!("an LZX block of kind {kind}"))),
        }
        written = end;
    }
    undo_translation(output)
}

fn stored(bits: &mut Bits<'_>, recent: &mut [usize; 3], block: &mut [u8]) -> Result<()> {
    bits.align()?;
    for distance in recent {
        *distance = bits.number()?;
    }
    block.copy_from_slice(bits.bytes(block.len())?);
    // Words begin at even bytes again. At the end of a chunk the byte may be missing.
    if block.len() % 2 == 1 {
        let _ = bits.byte();
    }
    Ok(())
}

fn read_codes(bits: &mut Bits<'_>, state: &mut State, is_aligned: bool) -> Result<Codes> {
    let mut aligned = None;
    if is_aligned {
        let mut lens = [0; ALIGNED_SYMBOLS];
        for len in &mut lens {
            *len = low_byte(bits.take(3)?);
        }
        aligned = Some(Huffman::new(&lens)?);
    }
    let (literals, repetitions) = state.main_lens.split_at_mut(usize::from(LITERALS));
    read_lens(bits, literals)?;
    read_lens(bits, repetitions)?;
    read_lens(bits, &mut state.len_lens)?;
    Ok(Codes { main: Huffman::new(&state.main_lens)?, len: Huffman::new(&state.len_lens)?, aligned })
}

/// Reads lengths of words as differences to those before, in a code of their own.
fn read_lens(bits: &mut Bits<'_>, lens: &mut [u8]) -> Result<()> {
    let mut pre_lens = [0; PRE_SYMBOLS];
    for len in &mut pre_lens {
        *len = low_byte(bits.take(4)?);
    }
    let code = Huffman::new(&pre_lens)?;
    let mut at = 0_usize;
    while let Some(&before) = lens.get(at) {
        let symbol = code.symbol(bits)?;
        let (count, value) = match symbol {
            17 => (bits.take(4)?.saturating_add(4), 0),
            18 => (bits.take(5)?.saturating_add(20), 0),
            19 => {
                let count = bits.take(1)?.saturating_add(4);
                (count, difference(before, code.symbol(bits)?)?)
            }
            _ => (1, difference(before, symbol)?),
        };
        let end = at.saturating_add(usize::from(count));
        // A run may leave the table in what some encoders write; the rest has no place.
        lens.get_mut(at..end.min(lens.len())).unwrap_or_default().fill(value);
        at = end;
    }
    Ok(())
}

/// Lengths are counted backwards from the one before, modulo 17.
fn difference(before: u8, symbol: u16) -> Result<u8> {
    if symbol > 16 {
        return Err(Error::corrupt("a run of LZX word lengths in a run"));
    }
    let sum = u16::from(before).saturating_add(17).saturating_sub(symbol);
    Ok(low_byte(sum % 17))
}

/// Fills `output` from `written` on.
fn compressed(
    bits: &mut Bits<'_>,
    codes: &Codes,
    recent: &mut [usize; 3],
    output: &mut [u8],
    written: usize,
) -> Result<()> {
    let mut written = written;
    while let Some(place) = output.get_mut(written) {
        let symbol = codes.main.symbol(bits)?;
        let Some(repetition) = symbol.checked_sub(LITERALS) else {
            *place = low_byte(symbol);
            written = written.saturating_add(1);
            continue;
        };
        let mut len = usize::from(repetition & 7).saturating_add(REPETITION_LEN_MIN);
        if repetition & 7 == LEN_GOES_ON {
            len = len.saturating_add(usize::from(codes.len.symbol(bits)?));
        }
        let distance = distance(bits, codes, recent, repetition >> 3)?;
        repeat(output, written, distance, len)?;
        written = written.saturating_add(len);
    }
    Ok(())
}

/// Reads the distance of class `slot`: one of the recent ones, or a new one, which becomes the most recent.
fn distance(bits: &mut Bits<'_>, codes: &Codes, recent: &mut [usize; 3], slot: u16) -> Result<usize> {
    let [r0, r1, r2] = *recent;
    *recent = match slot {
        0 => [r0, r1, r2],
        1 => [r1, r0, r2],
        2 => [r2, r1, r0],
        _ => [new_distance(bits, codes, slot)?, r0, r1],
    };
    Ok(recent[0])
}

fn new_distance(bits: &mut Bits<'_>, codes: &Codes, slot: u16) -> Result<usize> {
    // Slots 2 and 3 begin at 2 and 3; each pair behind them has one more low bit than the pair before.
    let low_bits = u32::from(slot / 2).saturating_sub(1);
    let base = usize::from(slot % 2).saturating_add(2) << low_bits;
    let low = match &codes.aligned {
        Some(code) if low_bits >= ALIGNED_BITS => {
            let high = bits.take(low_bits.saturating_sub(ALIGNED_BITS))?;
            usize::from((high << ALIGNED_BITS) | code.symbol(bits)?)
        }
        _ => usize::from(bits.take(low_bits)?),
    };
    // Distances are stored with 2 added.
    base.saturating_add(low).checked_sub(2).ok_or_else(|| Error::internal("a distance below its class"))
}

/// Encoders made the targets of x86 calls absolute, so that calls of one function look alike.
fn undo_translation(output: &mut [u8]) -> Result<()> {
    let end = output.len().saturating_sub(TRANSLATION_TAIL_BYTES);
    let mut at = 0_usize;
    while at < end {
        let rest = output.get(at..end).unwrap_or_default();
        let Some(found) = rest.iter().position(|&byte| byte == CALL) else { return Ok(()) };
        at = at.saturating_add(found);
        let target_at = at.saturating_add(1);
        let absolute = i32::from_le_bytes(array(output, target_at)?);
        let position = i32::try_from(at).map_err(|_| Error::internal("a chunk of more than 2 GiB"))?;
        let relative = match absolute {
            0..TRANSLATED_FILE_BYTES => Some(absolute.saturating_sub(position)),
            _ if absolute < 0 && absolute >= position.saturating_neg() => {
                Some(absolute.saturating_add(TRANSLATED_FILE_BYTES))
            }
            _ => None,
        };
        at = at.saturating_add(5);
        if let (Some(relative), Some(place)) = (relative, output.get_mut(target_at..at)) {
            place.copy_from_slice(&relative.to_le_bytes());
        }
    }
    Ok(())
}

fn low_byte(value: u16) -> u8 {
    let [low, _] = value.to_le_bytes();
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stored block of `bytes`: its kind, its size in a bit and 16, the distances.
    fn stored_block(bytes: &[u8]) -> Vec<u8> {
        let len = u32::try_from(bytes.len()).unwrap();
        let head = (3_u32 << 29) | (len << 12);
        let mut input = Vec::new();
        for word in [head >> 16, head & 0xFFFF] {
            input.extend(u16::try_from(word).unwrap().to_le_bytes());
        }
        input.extend([1_u32, 1, 1].iter().flat_map(|distance| distance.to_le_bytes()));
        input.extend(bytes);
        input
    }

    #[test]
    fn stored_block_is_copied() {
        let mut output = [0; 5];

        decompress(&stored_block(b"abcde"), &mut output).unwrap();

        assert_eq!(&output, b"abcde");
    }

    #[test]
    fn calls_become_relative_again_but_for_the_last_bytes() {
        let mut bytes = vec![0x90; 32];
        bytes[2..7].copy_from_slice(&[CALL, 0x10, 0, 0, 0]);
        bytes[22..27].copy_from_slice(&[CALL, 0x10, 0, 0, 0]);
        let mut output = [0; 32];

        decompress(&stored_block(&bytes), &mut output).unwrap();

        assert_eq!((&output[2..7], &output[22..27]), (&[CALL, 0x0E, 0, 0, 0][..], &bytes[22..27]));
    }

    #[test]
    fn impossible_blocks_are_corrupt() {
        assert!(decompress(&[], &mut [0; 8]).is_err());
        assert!(decompress(&[0; 64], &mut [0; 8]).is_err());
        assert!(decompress(&stored_block(b"abcde"), &mut [0; 4]).is_err());
        assert!(decompress(&stored_block(b"abcde")[..18], &mut [0; 5]).is_err());
        assert!(decompress(&stored_block(b""), &mut [0; 5]).is_err());
        assert!(decompress(&[0x00, 0x30], &mut [0; 1 << 15]).is_err());
    }

    #[test]
    fn chunk_of_more_than_32_kib_is_over_the_limit() {
        let error = decompress(&stored_block(b"abcde"), &mut [0; CHUNK_BYTES_MAX + 1]).unwrap_err();

        assert_eq!(error.kind(), spelunk_tree::ErrorKind::Limit);
    }
}
