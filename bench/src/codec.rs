//! What two cores can unpack of a VHDZ's blocks, and nothing else: no guest, no jail, no mount.

use crate::course::Images;
use crate::mounted::drop_caches;
use crate::sample::{self, Sample};
use spelunk_testkit::Result;
use spelunk_testkit::image::container::Container;
use spelunk_testkit::image::vhdz::{self, BLOCK_BYTES, Stored};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// Threads that unpack.
const THREADS: usize = 2;
/// The length of the file that others read meanwhile.
const GIBIBYTE: f64 = 1_073_741_824.0;

/// The time to unpack 1 GiB of blocks that are in memory already.
pub fn unpack_from_memory(images: &Images) -> Result<Vec<Sample>> {
    let file = File::open(&images.image)?;
    let stored = vhdz::stored_blocks(&file)?;
    let packed: Vec<Vec<u8>> = stored.iter().map(|block| block.read(&file)).collect::<Result<_>>()?;
    time_of_a_gibibyte(images, &packed, |packed, unpack| unpack(packed))
}

/// The time to read from the cold file and unpack 1 GiB of blocks.
pub fn unpack_from_file(images: &Images) -> Result<Vec<Sample>> {
    let file = File::open(&images.image)?;
    let stored = vhdz::stored_blocks(&file)?;
    drop_caches()?;
    time_of_a_gibibyte(images, &stored, |block: &Stored, unpack| unpack(&block.read(&file)?))
}

/// The median of the packed blocks' lengths.
pub fn median_packed_bytes(image: &Path) -> Result<f64> {
    let stored = vhdz::stored_blocks(&File::open(image)?)?;
    let mut lengths: Vec<u32> = stored.iter().map(|block| block.packed_bytes).collect();
    lengths.sort_unstable();
    let median = lengths.get(lengths.len() / 2).ok_or("a VHDZ without blocks")?;
    Ok(f64::from(*median))
}

/// Does `work` on all blocks, in their order, with all threads; `work` is given what unpacks a block.
fn time_of_a_gibibyte<B: Sync>(
    images: &Images,
    blocks: &[B],
    work: impl Fn(&B, &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> + Sync,
) -> Result<Vec<Sample>> {
    let Container::Vhdz(codec) = images.container else { return Err("not a VHDZ".into()) };
    let work_on_every_second = |first: usize| -> Result<()> {
        let mut block = vec![0; BLOCK_BYTES];
        let mut unpack = |packed: &[u8]| codec.unpack(packed, &mut block);
        blocks.iter().skip(first).step_by(THREADS).try_for_each(|block| work(block, &mut unpack))
    };
    let started = Instant::now();
    std::thread::scope(|scope| {
        let start = |first| scope.spawn(move || work_on_every_second(first));
        let threads: Vec<_> = (0..THREADS).map(start).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })?;
    let time = started.elapsed();
    Ok(vec![Sample::seconds(sample::SEQUENTIAL_COLD, of_a_gibibyte(time, blocks.len())?)])
}

/// The part of the time that 1 GiB took: the image holds a little more than the file.
fn of_a_gibibyte(time: Duration, blocks: usize) -> Result<Duration> {
    let unpacked_bytes = f64::from(u32::try_from(blocks)?) * f64::from(u32::try_from(BLOCK_BYTES)?);
    Ok(time.mul_f64(GIBIBYTE / unpacked_bytes))
}
