//! Measuring: one function for each thing that is timed.

use spelunk_testkit::Result;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One measured value.
pub struct Sample {
    /// What was measured.
    pub metric: &'static str,
    /// The value, smaller is better.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

impl Sample {
    /// A time.
    pub fn seconds(metric: &'static str, time: Duration) -> Sample {
        Sample { metric, value: time.as_secs_f64(), unit: "s" }
    }
}

/// Forgets all cached files, directories and inodes of this machine.
pub fn drop_caches() -> Result<()> {
    run(&mut Command::new("sync"))?;
    fs::write("/proc/sys/vm/drop_caches", "3")
        .map_err(|error| format!("dropping caches (root needed): {error}").into())
}

/// Runs a command with its output thrown away; its failure is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}").into()),
        Err(error) => Err(format!("{command:?}: {error}").into()),
    }
}

/// The time to read a whole file from start to end, 1 MiB at a time.
pub fn sequential(path: &Path) -> Result<Duration> {
    let mut buffer = vec![0; 1 << 20];
    let started = Instant::now();
    let mut file = File::open(path)?;
    while file.read(&mut buffer)? > 0 {}
    Ok(started.elapsed())
}

/// The time of `count` reads of 4 KiB at random aligned places, spread over `threads` threads.
pub fn random(path: &Path, count: usize, threads: usize) -> Result<Duration> {
    let file = File::open(path)?;
    let pages = file.metadata()?.len() / 4096;
    let started = Instant::now();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..threads)
            .map(|thread| {
                let file = &file;
                scope.spawn(move || random_reads(file, pages, count / threads, thread))
            })
            .collect();
        readers
            .into_iter()
            .try_for_each(|reader| -> Result<()> { Ok(reader.join().map_err(|_| "a reader panicked")??) })
    })?;
    Ok(started.elapsed())
}

fn random_reads(file: &File, pages: u64, count: usize, seed: usize) -> std::io::Result<()> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(seed as u64 + 1);
    let mut buffer = [0; 4096];
    for _ in 0..count {
        // xorshift64*: good enough to keep readahead guessing, and the same places for every contender.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let page = state.wrapping_mul(0x2545_F491_4F6C_DD1D) % pages.max(1);
        file.read_exact_at(&mut buffer, page * 4096)?;
    }
    Ok(())
}

/// A process that serves a mount.
pub struct Process {
    /// Whether it is Spelunk's jailed worker.
    pub is_worker: bool,
    /// Largest resident memory so far.
    pub peak_mebibytes: f64,
}

/// The running processes called `name`.
pub fn processes(name: &str) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|id| process(id, name))
        .collect()
}

fn process(id: u32, name: &str) -> Option<Process> {
    // A worker calls itself what it likes, so processes are known by their executable's arguments.
    let arguments = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let mut arguments = arguments.split(|&byte| byte == 0);
    let program = Path::new(std::str::from_utf8(arguments.next()?).ok()?).file_name()?.to_str()?.to_owned();
    let is_worker = arguments.next().is_some_and(|argument| argument == b"__worker");
    if program != name && !is_worker {
        return None;
    }
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
    Some(Process { is_worker, peak_mebibytes: kibibytes / 1024.0 })
}
