//! The client that reads one file. It is this program again, as a process of its own: so it can be put on
//! a core, and its processor time be told apart.

use spelunk_testkit::Result;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// The hidden first argument that makes this program a reader.
pub const SUBCOMMAND: &str = "__read";

/// How a file is read.
#[derive(Clone, Copy)]
pub enum Reading {
    /// From start to end, 1 MiB at a time.
    Sequential,
    /// 4 KiB at random places, `count` times in all, by so many threads at once.
    Random {
        /// Reads in all.
        count: u64,
        /// Threads that share them.
        threads: u64,
    },
    /// 4 KiB once in each 4 MiB, in mixed order: no two reads in the same 2 MiB or in neighbours.
    Scattered,
}

/// Bytes of one random read.
const PAGE_BYTES: u64 = 4096;
/// What each scattered read has for itself.
const STRETCH_BYTES: u64 = 4 << 20;

impl Reading {
    /// The arguments of a reader.
    pub fn arguments(self) -> Vec<String> {
        let words = match self {
            Reading::Sequential => vec!["sequential".to_owned()],
            Reading::Random { count, threads } => {
                vec!["random".to_owned(), count.to_string(), threads.to_string()]
            }
            Reading::Scattered => vec!["scattered".to_owned()],
        };
        [SUBCOMMAND.to_owned()].into_iter().chain(words).collect()
    }

    fn parse(words: &[String]) -> Result<Reading> {
        match words {
            [name] if name == "sequential" => Ok(Reading::Sequential),
            [name, count, threads] if name == "random" => {
                Ok(Reading::Random { count: count.parse()?, threads: threads.parse()? })
            }
            [name] if name == "scattered" => Ok(Reading::Scattered),
            _ => Err("no such reading".into()),
        }
    }
}

/// How many reads a scattered reading of a file makes.
pub fn scattered_reads(file_bytes: u64) -> u64 {
    file_bytes / STRETCH_BYTES
}

/// Reads as the arguments say, the last of which is the file; prints the seconds that it took.
pub fn main(arguments: &[String]) -> Result<()> {
    let (path, reading) = arguments.split_last().ok_or("no file to read")?;
    let reading = Reading::parse(reading)?;
    let started = Instant::now();
    let file = File::open(Path::new(path))?;
    let bytes = file.metadata()?.len();
    match reading {
        Reading::Sequential => sequential(&file)?,
        Reading::Random { count, threads } => random(&file, bytes, count, threads)?,
        Reading::Scattered => scattered(&file, bytes)?,
    }
    println!("{}", started.elapsed().as_secs_f64());
    Ok(())
}

fn sequential(mut file: &File) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

fn random(file: &File, bytes: u64, count: u64, threads: u64) -> Result<()> {
    let pages = (bytes / PAGE_BYTES).max(1);
    std::thread::scope(|scope| {
        let start = |thread| {
            let mut places = Places::of_thread(thread);
            let places = (0..count / threads).map(move |_| places.next() % pages * PAGE_BYTES);
            scope.spawn(move || read_pages(file, places))
        };
        let readers: Vec<_> = (0..threads).map(start).collect();
        readers.into_iter().try_for_each(|reader| reader.join().map_err(|_| "a reader panicked")?)
    })
}

fn scattered(file: &File, bytes: u64) -> Result<()> {
    let mut places = Places::of_thread(0);
    let mut stretches: Vec<u64> = (0..scattered_reads(bytes)).collect();
    stretches.sort_by_cached_key(|_| places.next());
    let pages_in_half = STRETCH_BYTES / 2 / PAGE_BYTES;
    let at = |stretch| stretch * STRETCH_BYTES + places.next() % pages_in_half * PAGE_BYTES;
    read_pages(file, stretches.into_iter().map(at))
}

fn read_pages(file: &File, mut places: impl Iterator<Item = u64>) -> Result<()> {
    let mut page = vec![0; usize::try_from(PAGE_BYTES)?];
    places.try_for_each(|at| Ok(file.read_exact_at(&mut page, at)?))
}

/// Numbers that keep readahead guessing, and are the same for every contender (xorshift64*).
struct Places(u64);

impl Places {
    fn of_thread(thread: u64) -> Places {
        Places(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(thread + 1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
