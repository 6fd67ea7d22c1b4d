//! Update sequences: how NTFS notices records that were only written in part.
//!
//! The last two bytes of each stride of a protected block hold the same number; what belongs there is
//! kept in an array at the front of the block.

use crate::bytes::{array, index, le_u16};
use spelunk_tree::{Error, Result};

/// Windows protects 512 bytes at a time, whatever the sector's size.
const STRIDE_BYTES: usize = 512;

/// Checks the update sequence of `block` and puts the right bytes back.
///
/// # Errors
/// `Corrupt` when the array is impossible, or a stride does not bear the number: it was not written
/// with the others.
pub(super) fn apply(block: &mut [u8], sector_bytes: u32) -> Result<()> {
    let array_offset = usize::from(le_u16(block, 4)?);
    let strides = usize::from(le_u16(block, 6)?).saturating_sub(1);
    let stride = block.len().checked_div(strides).unwrap_or(0);
    let known = stride == STRIDE_BYTES || stride == index(sector_bytes)?;
    if !known || stride.checked_mul(strides) != Some(block.len()) {
        return Err(Error::corrupt(format!(
            "an update sequence of {strides} for a block of {} bytes",
            block.len()
        )));
    }
    let array_end = array_offset.saturating_add(strides.saturating_add(1).saturating_mul(2));
    if array_offset < 8 || array_end > stride.saturating_sub(2) {
        return Err(Error::corrupt(format!("an update sequence at byte {array_offset}")));
    }
    let number: [u8; 2] = array(block, array_offset)?;
    let (mut from, mut at) = (array_offset, stride);
    for _ in 0..strides {
        from = from.saturating_add(2);
        let original: [u8; 2] = array(block, from)?;
        let Some(last) = at.checked_sub(2).and_then(|last| block.get_mut(last..at)) else {
            return Err(Error::internal("a stride past the end of its block"));
        };
        if *last != number {
            return Err(Error::corrupt("a record that was written only in part (update sequence)"));
        }
        last.copy_from_slice(&original);
        at = at.saturating_add(stride);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block() -> Vec<u8> {
        let mut block = vec![0; 1024];
        block[4..8].copy_from_slice(&[0x30, 0, 3, 0]);
        block[0x30..0x36].copy_from_slice(&[7, 0, b'a', b'b', b'c', b'd']);
        block[510..512].copy_from_slice(&[7, 0]);
        block[1022..1024].copy_from_slice(&[7, 0]);
        block
    }

    #[test]
    fn whole_block_gets_its_bytes_back() {
        let mut block = block();

        apply(&mut block, 512).unwrap();

        assert_eq!((&block[510..512], &block[1022..]), (&b"ab"[..], &b"cd"[..]));
    }

    #[test]
    fn torn_block_is_corrupt() {
        let mut block = block();
        block[1022] = 8;

        assert!(apply(&mut block, 512).is_err());
    }

    #[test]
    fn array_outside_the_first_stride_is_corrupt() {
        for offset in [0_u16, 506, 511, 0xFFFF] {
            let mut block = block();
            block[4..6].copy_from_slice(&offset.to_le_bytes());

            assert!(apply(&mut block, 512).is_err(), "{offset}");
        }
    }
}
