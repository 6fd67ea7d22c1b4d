//! What two cores can unpack of a VHDZ's blocks: from memory to memory, nothing else.

use crate::course::Images;
use crate::sample::{self, Sample};
use spelunk_testkit::Result;
use spelunk_testkit::image::container::Container;
use spelunk_testkit::image::vhdz::{self, BLOCK_BYTES};
use std::path::Path;
use std::time::Instant;

/// Threads that unpack.
const THREADS: usize = 2;
/// The length of the file that others read meanwhile.
const GIBIBYTE: f64 = 1_073_741_824.0;

/// The time to unpack 1 GiB, measured over all blocks of the image.
pub fn unpack_all(images: &Images) -> Result<Vec<Sample>> {
    let Container::Vhdz(codec) = images.container else { return Err("not a VHDZ".into()) };
    let packed = vhdz::packed_blocks(&images.image)?;
    let unpack = |blocks: &[Vec<u8>]| -> Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        blocks.iter().try_for_each(|packed| codec.unpack(packed, &mut block))
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        let shares = packed.chunks(packed.len().div_ceil(THREADS).max(1));
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || unpack(share))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    let unpacked_bytes = f64::from(u32::try_from(packed.len())?) * f64::from(u32::try_from(BLOCK_BYTES)?);
    let time = started.elapsed().mul_f64(GIBIBYTE / unpacked_bytes);
    Ok(vec![Sample::seconds(sample::SEQUENTIAL_COLD, time)])
}

/// The median of the packed blocks' lengths.
pub fn median_packed_bytes(image: &Path) -> Result<f64> {
    let mut lengths: Vec<usize> = vhdz::packed_blocks(image)?.iter().map(Vec::len).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).ok_or("a VHDZ without blocks")?;
    Ok(f64::from(u32::try_from(*median)?))
}
