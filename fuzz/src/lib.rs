//! What the fuzz targets share. A target is a file in `fuzz_targets/`: one line says what it decodes.
//!
//! Images are megabytes of which little counts, so an input is a **sparse image** ([`image`]): sectors with their
//! places. [`mutate`] changes one sector or its place at a time, and [`seal`] puts right the checksums that would
//! end every run at the door. What is opened is walked and read within bounds, by the same walker as the
//! mutation test's, which also holds the runs against the bytes.

pub mod image;
pub mod mutate;
pub mod seal;
pub mod vhdz;
#[path = "../../formats/tests/mutation/walker.rs"]
mod walker;

use image::Sparse;
use spelunk_formats::container::{self, ParentSource};
use spelunk_formats::guest::{GUESTS, Options};
use spelunk_formats::{disk, partition};
use spelunk_tree::{ParentRef, ReadAt, Result};
use std::sync::Arc;
use walker::Walker;

/// No parents; a chain ends in an error.
struct NoParents;

impl ParentSource for NoParents {
    fn next_candidate(&mut self, _: u32, _: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>> {
        Ok(None)
    }
}

/// Opens the whole input as this guest, whatever its probe says, and walks it.
pub fn guest(name: &str, input: &[u8]) {
    let guest = GUESTS.iter().find(|guest| guest.name == name).expect("a guest of this name");
    let volume: Arc<dyn ReadAt> = Arc::new(Sparse::parse(input));
    let _ = (guest.probe)(&*volume);
    let mut walker = Walker::new(volume.clone());
    if let Ok(tree) = (guest.open)(volume, &Options { show_metafiles: true, ..Options::default() }) {
        walker.walk(&*tree);
    }
}

/// Bytes of a disk that are read at once, and how often.
const READ_BYTES: usize = 64 * 1024;
const READS_MAX: u64 = 64;

/// Opens the input as an image file, and reads here and there in the disk.
pub fn container(input: &[u8]) {
    let image: Arc<dyn ReadAt> = Arc::new(Sparse::parse(input));
    let Ok(disk) = container::open(image, &mut NoParents) else { return };
    let mut buffer = vec![0; READ_BYTES];
    let size = disk.bytes.size();
    let step = (size / READS_MAX).max(READ_BYTES as u64);
    let mut offset = 0;
    while offset < size && offset / step < READS_MAX {
        let len = READ_BYTES.min(usize::try_from(size - offset).unwrap_or(READ_BYTES));
        let read = disk.bytes.read_at(offset, &mut buffer[..len]);
        let mut runs = Vec::new();
        if read.is_ok() && disk.bytes.runs(offset, len as u64, &mut runs).is_ok() {
            let covered: u64 = runs.iter().map(|run| run.len).sum();
            assert_eq!(covered, len as u64, "runs at {offset} cover another stretch than was asked for");
        }
        offset = offset.saturating_add(step);
    }
}

/// Reads the partition table of the input, and whatever is in the volumes.
pub fn table(input: &[u8]) {
    let image = Arc::new(Sparse::parse(input));
    for sector_bytes in [None, Some(512), Some(4096)] {
        let _ = partition::read(&*image, sector_bytes);
    }
    let mut walker = Walker::new(image.clone());
    if let Ok(disk) = disk::open(image, &mut NoParents, &Options::default()) {
        disk.trees.iter().flatten().for_each(|tree| walker.walk(&**tree));
    }
}

/// A target whose input is a sparse image: what is done with it, and how its checksums are put right.
#[macro_export]
macro_rules! image_target {
    ($seal:expr, $run:expr) => {
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $run(input));
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
            $crate::mutate::mutate(data, size, size_max, seed, $seal)
        });
    };
}
