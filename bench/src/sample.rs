//! What is measured: names and units, as they stand in the report and in the targets.

use std::time::Duration;

/// From the command to the end of the first `ls -l` of the root, after dropping all caches.
pub const FIRST_LISTING_COLD: &str = "first listing, cold";
/// The same at once again.
pub const FIRST_LISTING_WARM: &str = "first listing, warm";
/// `find -printf` of everything, after dropping all caches.
pub const FIND_COLD: &str = "find, cold";
/// The same at once again.
pub const FIND_WARM: &str = "find, warm";
/// `ls -l` of the large directory, after dropping all caches.
pub const LIST_LARGE: &str = "ls -l of 20,000 entries, cold";
/// `tar cf - . | wc -c` of everything, after dropping all caches.
pub const TAR: &str = "tar, cold";
/// A ZIP archive of everything at the packer's own level, after dropping all caches.
pub const ZIP: &str = "zip, cold";
/// A stored ZIP archive of everything, after dropping all caches; of peers their tar, which is what reading costs.
pub const ZIP_STORED: &str = "stored zip (peers: tar), cold";
/// The large file from start to end, after dropping all caches.
pub const SEQUENTIAL_COLD: &str = "sequential read of 1 GiB, cold";
/// The same at once again.
pub const SEQUENTIAL_WARM: &str = "sequential read of 1 GiB, warm";
/// Reads of 4 KiB all over the large file, one after another.
pub const RANDOM: &str = "random reads of 4 KiB, cold";
/// The same number of reads, by four threads at a time.
pub const RANDOM_4_THREADS: &str = "random reads of 4 KiB, 4 threads, cold";
/// What the worker read of a VHDZ for one read in each of many blocks, in blocks.
pub const BLOCKS_READ: &str = "blocks decoded for a block touched";
/// `spelunk find` of everything, without a mount.
pub const SEARCH: &str = "entries found a second, without a mount, warm";
/// Of the jailed worker.
pub const MEMORY_WORKER: &str = "peak memory, worker";
/// Of the process that answers the kernel: Spelunk's host, a peer's daemons.
pub const MEMORY_HOST: &str = "peak memory, host";

/// One measured value.
pub struct Sample {
    /// What was measured.
    pub metric: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: Unit,
}

/// What a value counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Time on the clock.
    Seconds,
    /// Time of processors.
    CpuSeconds,
    /// Memory.
    Mebibytes,
    /// Blocks of a VHDZ.
    Blocks,
    /// Files, directories and so on, per second.
    EntriesPerSecond,
}

impl Unit {
    /// How it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Unit::Seconds => "s",
            Unit::CpuSeconds => "CPU s",
            Unit::Mebibytes => "MiB",
            Unit::Blocks => "blocks",
            Unit::EntriesPerSecond => "entries/s",
        }
    }

    /// The better of two values.
    pub fn better(self, a: f64, b: f64) -> f64 {
        if self == Unit::EntriesPerSecond { a.max(b) } else { a.min(b) }
    }
}

impl Sample {
    /// A value of a metric.
    pub fn new(metric: impl Into<String>, value: f64, unit: Unit) -> Sample {
        Sample { metric: metric.into(), value, unit }
    }

    /// A time.
    pub fn seconds(metric: &str, time: Duration) -> Sample {
        Sample::new(metric, time.as_secs_f64(), Unit::Seconds)
    }
}
