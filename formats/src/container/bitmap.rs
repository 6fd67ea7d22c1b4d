//! Bitmaps that say which sectors of a block are there.

use super::cache::Pages;
use crate::bytes::add;
use spelunk_tree::Result;

/// Which bit of a byte stands for the first sector.
#[derive(Clone, Copy)]
pub(crate) enum Order {
    /// The highest (VHD).
    MsbFirst,
    /// The lowest (VHDX).
    LsbFirst,
}

/// Whether bit `first` of the bitmap at byte `bitmap` is set, and how many of the `bits_max` bits (1 or
/// more) from there on are like it. The bitmap's size must be a multiple of 8 bytes.
pub(crate) fn run(
    pages: &Pages,
    bitmap: u64,
    order: Order,
    first: u64,
    bits_max: u64,
) -> Result<(bool, u64)> {
    let mut is_set = None;
    let mut same: u64 = 0;
    while same < bits_max {
        let bit = add(first, same)?;
        let skipped = bit % 64;
        let bytes = pages.array::<8>(add(bitmap, bit.saturating_sub(skipped) / 8)?)?;
        let word = match order {
            Order::MsbFirst => u64::from_be_bytes(bytes),
            Order::LsbFirst => u64::from_le_bytes(bytes).reverse_bits(),
        } << skipped;
        let is_word_set = *is_set.get_or_insert(word.leading_ones() > 0);
        let left = 64_u64.saturating_sub(skipped);
        let alike = u64::from(if is_word_set { word.leading_ones() } else { word.leading_zeros() }).min(left);
        same = same.saturating_add(alike);
        if alike < left {
            break;
        }
    }
    Ok((is_set.unwrap_or(false), same.min(bits_max)))
}

#[cfg(test)]
#[allow(clippy::as_conversions, clippy::arithmetic_side_effects)]
mod tests {
    use super::super::cache::Cache;
    use super::*;
    use spelunk_tree::{ReadAt, Run};
    use std::sync::Arc;

    struct Bytes(Vec<u8>);

    impl ReadAt for Bytes {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
            let offset = offset as usize;
            buffer.copy_from_slice(&self.0[offset..offset + buffer.len()]);
            Ok(())
        }

        fn runs(&self, _: u64, _: u64, _: &mut Vec<Run>) -> Result<()> {
            Ok(())
        }
    }

    fn pages(bytes: Vec<u8>) -> Pages {
        Pages::new(&Arc::new(Cache::new(1 << 20, 1 << 20)), Arc::new(Bytes(bytes)))
    }

    #[test]
    fn runs_end_where_bits_change_or_the_question_ends() {
        let mut bytes = vec![0xFF; 24];
        bytes[9] = 0xBF;
        let pages = pages(bytes);

        assert_eq!(run(&pages, 0, Order::MsbFirst, 3, 1000).unwrap(), (true, 70));
        assert_eq!(run(&pages, 0, Order::MsbFirst, 73, 1000).unwrap(), (false, 1));
        assert_eq!(run(&pages, 0, Order::MsbFirst, 74, 118).unwrap(), (true, 118));
        assert_eq!(run(&pages, 0, Order::LsbFirst, 0, 100).unwrap(), (true, 78));
        assert_eq!(run(&pages, 0, Order::LsbFirst, 5, 9).unwrap(), (true, 9));
        assert_eq!(run(&pages, 8, Order::LsbFirst, 14, 9).unwrap(), (false, 1));
    }

    #[test]
    fn runs_agree_with_a_look_at_each_bit() {
        let bytes: Vec<u8> =
            (0_u32..512).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x3C).collect();
        let is_set = |bit: u64, order| {
            let byte = bytes[bit as usize / 8];
            match order {
                Order::MsbFirst => byte >> (7 - bit % 8) & 1 == 1,
                Order::LsbFirst => byte >> (bit % 8) & 1 == 1,
            }
        };
        let pages = pages(bytes.clone());
        for order in [Order::MsbFirst, Order::LsbFirst] {
            for first in 0..4096 {
                let (set, len) = run(&pages, 0, order, first, 4096 - first).unwrap();

                assert!((first..first + len).all(|bit| is_set(bit, order) == set));
                assert!(first + len == 4096 || is_set(first + len, order) != set);
            }
        }
    }
}
