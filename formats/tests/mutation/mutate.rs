//! Mutations: few bytes each, where metadata is.

use spelunk_tree::{Error, Place, ReadAt, Result, Run, push_run};
use std::sync::Arc;

const SECTOR_BYTES: usize = 512;
/// Most mutations hit the beginning, where what everything else depends on is.
const FIRST_SECTORS: usize = 128;
/// Mutations of one image: mostly few, since many hide each other.
const MUTATIONS_FEW: u64 = 6;
const MUTATIONS_MANY: u64 = 40;
/// What files of the seeds are filled with, so that their contents are left alone.
pub const FILL: u8 = b'z';

/// An image with some bytes replaced.
pub struct Mutated {
    bytes: Arc<Vec<u8>>,
    patches: Vec<(usize, u8)>,
}

impl Mutated {
    pub fn new(bytes: Arc<Vec<u8>>, patches: Vec<(usize, u8)>) -> Mutated {
        Mutated { bytes, patches }
    }
}

impl ReadAt for Mutated {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let past_the_end = || Error::corrupt("reading past the end of the image").at(offset);
        let start = usize::try_from(offset).map_err(|_| past_the_end())?;
        let end = start.checked_add(buffer.len()).ok_or_else(past_the_end)?;
        buffer.copy_from_slice(self.bytes.get(start..end).ok_or_else(past_the_end)?);
        for (at, value) in &self.patches {
            if (start..end).contains(at) {
                buffer[at - start] = *value;
            }
        }
        Ok(())
    }

    fn runs(&self, offset: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        if offset.checked_add(len).is_none_or(|end| end > self.size()) {
            return Err(Error::corrupt("a run past the end of the image").at(offset));
        }
        push_run(runs, Run { len, place: Place::At { source: 0, offset } });
        Ok(())
    }
}

/// The sectors that hold metadata: not those of one repeated byte, such as zeros, free space, or the
/// contents of files.
pub fn metadata_sectors(bytes: &[u8]) -> Vec<usize> {
    let sectors = bytes.chunks(SECTOR_BYTES).enumerate();
    let is_metadata = |sector: &[u8]| {
        // Whole sectors are compared first: most are empty.
        sector[1..] != sector[..sector.len() - 1]
            && sector.iter().filter(|byte| **byte == FILL).count() < SECTOR_BYTES / 2
    };
    sectors.filter(|(_, sector)| is_metadata(sector)).map(|(number, _)| number * SECTOR_BYTES).collect()
}

/// The mutations with this number.
pub fn patches(name: &str, number: u64, sectors: &[usize], len: usize) -> Vec<(usize, u8)> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    let mut random = Random(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut patches = Vec::new();
    let mutations_max = if random.below(3) == 0 { MUTATIONS_MANY } else { MUTATIONS_FEW };
    for _ in 0..=random.below(mutations_max) {
        let choice = if random.below(2) == 0 { sectors.len().min(FIRST_SECTORS) } else { sectors.len() };
        let at = sectors[random.below(choice as u64) as usize] + random.below(SECTOR_BYTES as u64) as usize;
        let width = 1 << random.below(4);
        let value = interesting(&mut random, len as u64);
        // Fields are aligned more often than not.
        let at = if random.below(4) == 0 { at } else { at / width * width };
        let bytes = if random.below(8) == 0 { value.swap_bytes() >> (64 - 8 * width) } else { value };
        let bytes = bytes.to_le_bytes();
        patches.extend((at..len).zip(bytes).take(width));
    }
    patches
}

/// Values at the edges of what fields can hold, sizes near the image's, and anything.
fn interesting(random: &mut Random, len: u64) -> u64 {
    let small = random.below(33);
    match random.below(10) {
        0 => 0,
        1 => small,
        2 => small.wrapping_neg(),
        3 => (1 << random.below(64)) - random.below(2),
        4 => 0x7F7F_7F7F_7F7F_7F7F,
        5 => 0x8000_0000_8000_8080,
        6 => len >> random.below(13),
        7 => random.below(len),
        8 => random.below(0x10000),
        _ => random.next(),
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
