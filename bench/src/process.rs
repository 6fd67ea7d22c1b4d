//! What processes use, as /proc tells.

use spelunk_testkit::Result;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Linux counts processor time for programs in hundredths of a second, on every machine.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a server may take to end after its mount is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// The processes that serve one mount.
pub struct Servers {
    /// Names of their executables.
    names: &'static [&'static str],
    /// What ran before: mounts of others.
    others: Vec<u32>,
}

/// What processes of one role have used.
#[derive(Clone, Copy, Default)]
pub struct Usage {
    /// Processor time so far.
    pub cpu_seconds: f64,
    /// Largest resident memory so far, of the process where it was largest.
    pub peak_mebibytes: f64,
    /// What was read so far, from files and from sockets.
    pub read_bytes: f64,
}

impl Servers {
    /// Those with one of these names that will be started from now on.
    pub fn to_come(names: &'static [&'static str]) -> Servers {
        Servers { names, others: all().collect() }
    }

    /// What they have used by now: Spelunk's workers, or everybody else.
    pub fn usage(&self, workers: bool) -> Option<Usage> {
        let each: Vec<Usage> = self.running().filter_map(|id| self.usage_of(id, workers)).collect();
        let total = |total: Usage, each: &Usage| Usage {
            cpu_seconds: total.cpu_seconds + each.cpu_seconds,
            peak_mebibytes: total.peak_mebibytes.max(each.peak_mebibytes),
            read_bytes: total.read_bytes + each.read_bytes,
        };
        (!each.is_empty()).then(|| each.iter().fold(Usage::default(), total))
    }

    /// Waits until all of them have ended, so that none of them disturbs what is measured next.
    pub fn wait_for_end(&self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self.running().any(|id| is_worker(id, self.names).is_some()) {
            if Instant::now() > end {
                return Err(format!("{:?} went on for {PATIENCE:?} after the mount", self.names).into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    fn running(&self) -> impl Iterator<Item = u32> {
        all().filter(|id| !self.others.contains(id))
    }

    fn usage_of(&self, id: u32, workers: bool) -> Option<Usage> {
        (is_worker(id, self.names)? == workers).then_some(())?;
        let file = |name| fs::read_to_string(format!("/proc/{id}/{name}")).ok();
        let peak_kibibytes = number_after(&file("status")?, "VmHWM:")?;
        Some(Usage {
            cpu_seconds: ticks(&file("stat")?, 2)? / TICKS_PER_SECOND,
            peak_mebibytes: peak_kibibytes / 1024.0,
            read_bytes: number_after(&file("io")?, "rchar:")?,
        })
    }
}

/// Processor time of this process and of all its children that have ended.
pub fn own_cpu_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    Ok(ticks(&stat, 4).ok_or("/proc/self/stat cannot be read")? / TICKS_PER_SECOND)
}

fn all() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether a process is a worker of Spelunk's; `None` when it is neither one nor called by one of the names.
fn is_worker(id: u32, names: &[&str]) -> Option<bool> {
    // A worker calls itself what it likes, so processes are known by their executable's arguments.
    let arguments = fs::read(format!("/proc/{id}/cmdline")).ok()?;
    let mut arguments = arguments.split(|&byte| byte == 0);
    let program = Path::new(std::str::from_utf8(arguments.next()?).ok()?).file_name()?.to_str()?.to_owned();
    let is_worker = arguments.next().is_some_and(|argument| argument == b"__worker");
    (is_worker || names.contains(&program.as_str())).then_some(is_worker)
}

/// The sum of the first `count` of user and system time, own and of ended children.
fn ticks(stat: &str, count: usize) -> Option<f64> {
    // The name, in parentheses, may hold anything. utime is the twelfth field after it.
    let fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    fields.skip(11).take(count).map(|field| field.parse::<f64>().ok()).sum()
}

fn number_after(text: &str, label: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(label))?;
    value.trim().trim_end_matches(" kB").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_a_name_with_blanks_and_parentheses_are_found() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 2 3 4 50 25 10 5 20 0 1 0 9 10 11";

        assert_eq!(ticks(stat, 2), Some(75.0));
        assert_eq!(ticks(stat, 4), Some(90.0));
    }

    #[test]
    fn numbers_stand_after_their_labels() {
        assert_eq!(number_after("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\n", "VmHWM:"), Some(2048.0));
    }
}
