//! A short pass of mutated images through the public door: open, walk, read. It needs no nightly compiler
//! and is the same on each run, but for the images, which the machine's mkfs tools make.
//!
//! `SPELUNK_FUZZ_SECONDS` is the time for all seeds together (10). A failure names its case; with
//! `SPELUNK_FUZZ_CASE=NAME:NUMBER` the test runs just that one. `SPELUNK_FUZZ_SEEDS` names a directory to leave the
//! images in, for `fuzz/run`.

#![allow(clippy::as_conversions, clippy::arithmetic_side_effects, clippy::indexing_slicing)]
#![allow(clippy::panic, clippy::unwrap_used)]

mod differential;
#[path = "../images/mod.rs"]
mod images;
mod mutate;
mod peers;
mod seeds;
mod walker;

use mutate::{Mutated, metadata_sectors};
use seeds::{SEEDS, Seed};
use spelunk_formats::container::ParentSource;
use spelunk_formats::disk;
use spelunk_formats::guest::Options;
use spelunk_tree::{ParentRef, ReadAt, Result};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use walker::Walker;

/// Time for one image, far above what a bounded walk takes even without optimisation.
const IMAGE_TIME_MAX: Duration = Duration::from_secs(20);
/// Memory, as address space, that opening and walking may take: the worker's own limit is of this order.
const MEMORY_GROWTH_MAX: u64 = 1 << 30;

struct NoParents;

impl ParentSource for NoParents {
    fn next_candidate(&mut self, _: u32, _: &ParentRef) -> Result<Option<Arc<dyn ReadAt>>> {
        Ok(None)
    }
}

/// Opens an image and walks all its volumes, as far as the walker's budget goes. Returns how many entries
/// and broken places were met.
fn open_and_walk(image: Arc<dyn ReadAt>) -> Walker {
    let mut walker = Walker::new(image.clone());
    match disk::open(image, &mut NoParents, &Options { show_metafiles: true, ..Options::default() }) {
        Ok(disk) => disk.trees.iter().flatten().for_each(|tree| walker.walk(&**tree)),
        Err(_) => walker.errors += 1,
    }
    walker
}

#[test]
fn mutated_images_neither_panic_nor_hang_nor_eat_memory() {
    let seconds = std::env::var("SPELUNK_FUZZ_SECONDS").map_or(10.0, |text| text.parse().unwrap());
    let case = std::env::var("SPELUNK_FUZZ_CASE").ok();
    let made: Vec<_> = SEEDS.iter().filter_map(|seed| Some((seed, seed.make()?))).collect();
    assert!(!made.is_empty(), "not one seed could be made");
    let budget = Duration::from_secs_f64(seconds / made.len() as f64);
    for (seed, bytes) in made {
        if let Some(directory) = std::env::var_os("SPELUNK_FUZZ_SEEDS") {
            let name = format!("{}-{}-{}.img", seed.container, seed.guest, seed.name);
            std::fs::write(Path::new(&directory).join(name), &bytes).unwrap();
        }
        let bytes = Arc::new(bytes);
        let whole = open_and_walk(Arc::new(Mutated::new(bytes.clone(), Vec::new())));
        assert_eq!(whole.errors, 0, "{} is not sound: {:?}", seed.name, whole.first_error);
        assert!(whole.entries >= seed.entries_min, "{}: {} entries", seed.name, whole.entries);
        let numbers = match case.as_ref().map(|case| case.split_once(':').unwrap()) {
            Some((name, number)) if name == seed.name => number.parse().unwrap()..=number.parse().unwrap(),
            Some(_) => continue,
            None => 0..=u64::MAX,
        };
        run_seed(seed, &bytes, numbers, budget);
    }
}

/// Runs the mutations with these numbers until the time is over. They run in a thread of their own, so
/// that a hang is seen.
fn run_seed(seed: &Seed, bytes: &Arc<Vec<u8>>, numbers: std::ops::RangeInclusive<u64>, budget: Duration) {
    let before = address_space_peak();
    let (sender, receiver) = mpsc::channel();
    let (name, bytes) = (seed.name, bytes.clone());
    let started = Instant::now();
    let thread = std::thread::spawn(move || {
        let sectors = metadata_sectors(&bytes);
        for number in numbers {
            let image = Mutated::new(bytes.clone(), mutate::patches(name, number, &sectors, bytes.len()));
            let walker = open_and_walk(Arc::new(image));
            if sender.send((number, walker.entries, walker.errors)).is_err() || started.elapsed() > budget {
                return;
            }
        }
    });
    let (mut cases, mut entries_all, mut errors_all) = (0, 0, 0);
    loop {
        match receiver.recv_timeout(IMAGE_TIME_MAX) {
            Ok((_, entries, errors)) => {
                cases += 1;
                entries_all += entries;
                errors_all += errors;
            }
            Err(RecvTimeoutError::Timeout) => panic!("{name}:{cases} takes over {IMAGE_TIME_MAX:?}"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    thread.join().unwrap_or_else(|_| panic!("{name}:{cases} panicked"));
    let growth = address_space_peak() - before;
    eprintln!("{name}: {cases} cases, {entries_all} entries, {errors_all} errors, {} MiB", growth >> 20);
    assert!(growth < MEMORY_GROWTH_MAX, "{name}: the address space grew by {growth} bytes");
}

/// The largest address space that this process has had, in bytes.
fn address_space_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"));
    let kibibytes =
        line.and_then(|line| line.trim().strip_suffix(" kB")).map_or(0, |text| text.parse().unwrap());
    kibibytes * 1024
}
