//! Mutations that keep an input a sparse image: of a sector's bytes, of its place, of the image's size.

use crate::image::{HEAD, RECORD, SECTOR};
use libfuzzer_sys::fuzzer_mutate;

/// A generator that repeats itself for the same seed, as libFuzzer wants.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next()).unwrap_or(0) % end.max(1)
    }
}

/// Changes the first `size` bytes of `data`, which has room for `size_max`, and returns how many there are then.
/// What was changed may be put right by `seal`.
pub fn mutate(data: &mut [u8], size: usize, size_max: usize, seed: u32, seal: fn(&mut [u8])) -> usize {
    let mut random = Random(u64::from(seed));
    random.next();
    let records = size.saturating_sub(HEAD) / RECORD;
    if records == 0 {
        return fuzzer_mutate(data, size, size_max);
    }
    let size = HEAD + records * RECORD;
    let start = HEAD + random.below(records) * RECORD;
    let size = match random.below(32) {
        0 => {
            change(&mut data[..HEAD]);
            size
        }
        1 => {
            change(&mut data[start..start + 4]);
            size
        }
        // One sector's contents in another place.
        2 if size + RECORD <= size_max => {
            data.copy_within(start..start + RECORD, size);
            change(&mut data[size..size + 4]);
            size + RECORD
        }
        3 if records > 1 => {
            data.copy_within(size - RECORD..size, start);
            size - RECORD
        }
        _ => {
            // A few fields near each other, or anything in the sector.
            let at = start + 4 + random.below(SECTOR);
            let len = [1, 2, 4, 8, 32, SECTOR][random.below(6)];
            change(&mut data[at..(at + len).min(start + RECORD)]);
            size
        }
    };
    seal(&mut data[..size]);
    size
}

/// Changes bytes and keeps their count.
fn change(bytes: &mut [u8]) {
    let len = bytes.len();
    let made = fuzzer_mutate(bytes, len, len);
    bytes[made.min(len)..].fill(0);
}
