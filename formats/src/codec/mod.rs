//! Decompressors of Microsoft's formats, for buffers whose decompressed size is known beforehand.
//!
//! None of them allocates more than its tables of a few KiB, writes outside of the given output, or leaves a part
//! of it unwritten without an error. [`lznt1`] is that of NTFS itself; [`xpress`] and [`lzx`] are those of WIM
//! archives and of the files that Windows packs with WOF. The crate `xpress-huffman` is not used, since it drops
//! the symbols that are still in its bit buffer when the input ends, and does not hold to the size it is given.

mod bits;
mod huffman;
pub mod lznt1;
pub mod lzx;
pub mod xpress;

use spelunk_tree::{Error, Result};

/// Repeats `len` bytes from `distance` before `written` on; they may overlap what is being written.
///
/// # Errors
/// `Corrupt` when they begin before `output` or end behind it.
fn repeat(output: &mut [u8], written: usize, distance: usize, len: usize) -> Result<()> {
    let end = written.saturating_add(len);
    let Some(from) = written.checked_sub(distance).filter(|_| distance > 0 && end <= output.len()) else {
        return Err(Error::corrupt("a repetition that leaves its chunk"));
    };
    if distance >= len {
        output.copy_within(from..from.saturating_add(len), written);
        return Ok(());
    }
    let mut source = from;
    for target in written..end {
        let byte = output.get(source).copied().unwrap_or(0);
        if let Some(place) = output.get_mut(target) {
            *place = byte;
        }
        source = source.saturating_add(1);
    }
    Ok(())
}
