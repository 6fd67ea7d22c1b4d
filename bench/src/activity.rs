//! What is done with an image, and timed.

use crate::codec;
use crate::contender::{Contender, How};
use crate::course::Images;
use crate::effort::Effort;
use crate::mounted::{Mounted, drop_caches, spelunk};
use crate::process::own_cpu_seconds;
use crate::reader::{self, Reading};
use crate::sample::{self, Sample, Unit};
use spelunk_testkit::image::container::Container;
use spelunk_testkit::{Result, tool};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Something that is done with an image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// From the command to the first listing.
    Open,
    /// `find -printf` of everything.
    Walk,
    /// `ls -l` of the large directory.
    ListLarge,
    /// `tar` of everything.
    Tar,
    /// ZIP archives of everything.
    Pack,
    /// The large file, in order and at random.
    Read,
    /// `spelunk find`, without a mount.
    Search,
}

/// A mount, and what was measured on it.
struct Session<'a> {
    mounted: Mounted<'a>,
    samples: Vec<Sample>,
}

/// Has a contender do all activities once, with its mounts on `at`.
pub fn perform(
    activities: &[Activity],
    contender: &Contender,
    images: &Images,
    effort: Effort,
    at: &Path,
) -> Result<Vec<Sample>> {
    match contender.how {
        How::Codec => return codec::unpack_from_memory(images),
        How::CodecOnFile => return codec::unpack_from_file(images),
        _ => {}
    }
    let mut samples = Vec::new();
    if activities.contains(&Activity::Open) {
        drop_caches()?;
        samples.push(open(sample::FIRST_LISTING_COLD, contender, images, at)?);
        samples.push(open(sample::FIRST_LISTING_WARM, contender, images, at)?);
    }
    let mut session = Session { mounted: Mounted::start(contender, images, at)?, samples };
    for activity in activities {
        match activity {
            Activity::Open | Activity::Search => {}
            Activity::Walk => session.walk()?,
            Activity::ListLarge => session.list_large()?,
            Activity::Tar => session.tar()?,
            Activity::Pack => session.pack(contender, images)?,
            Activity::Read => session.read(images, effort)?,
        }
    }
    let mut samples = session.end()?;
    if activities.contains(&Activity::Search) && contender.how == How::Spelunk {
        samples.push(search(&images.image)?);
    }
    Ok(samples)
}

/// The time from the command that mounts to the end of the first listing.
fn open(metric: &str, contender: &Contender, images: &Images, at: &Path) -> Result<Sample> {
    let started = Instant::now();
    let mounted = Mounted::start(contender, images, at)?;
    timed(mounted.client("ls").arg("-l").arg(mounted.root()))?;
    let sample = Sample::seconds(metric, started.elapsed());
    mounted.stop()?;
    Ok(sample)
}

impl Session<'_> {
    fn walk(&mut self) -> Result<()> {
        let mut find = self.mounted.client("find");
        find.arg(self.mounted.root()).args(["-printf", "%p %y %s %T@ %m %U %G %n\\n"]);
        drop_caches()?;
        self.measure(sample::FIND_COLD, || timed(&mut find))?;
        self.measure(sample::FIND_WARM, || timed(&mut find))
    }

    fn list_large(&mut self) -> Result<()> {
        let mut list = self.mounted.client("ls");
        list.arg("-l").arg(self.mounted.root().join("large"));
        drop_caches()?;
        self.measure(sample::LIST_LARGE, || timed(&mut list))
    }

    fn tar(&mut self) -> Result<()> {
        // tar reads nothing when it writes to /dev/null itself. Of sockets it says that it leaves them out.
        let mut tar = self.mounted.client("sh");
        tar.args(["-c", "tar cf - . | wc -c"]).current_dir(self.mounted.root()).stderr(Stdio::null());
        drop_caches()?;
        self.measure(sample::TAR, || timed(&mut tar))
    }

    /// Spelunk packs from the image; others what is mounted, with the programs that people have.
    fn pack(&mut self, contender: &Contender, images: &Images) -> Result<()> {
        let scripts = match contender.how {
            How::Spelunk => ["\"$1\" zip \"$2\" | wc -c", "\"$1\" zip --store \"$2\" | wc -c"],
            _ => ["zip -qr - . | wc -c", "tar cf - . | wc -c"],
        };
        for (metric, script) in [sample::ZIP, sample::ZIP_STORED].into_iter().zip(scripts) {
            let mut pack = self.mounted.client("sh");
            // What is no file or directory is left out, with a word on stderr.
            pack.args(["-c", script, "sh"]).arg(spelunk()?).arg(&images.image);
            pack.current_dir(self.mounted.root()).stderr(Stdio::null());
            drop_caches()?;
            self.measure(metric, || timed(&mut pack))?;
        }
        Ok(())
    }

    fn read(&mut self, images: &Images, effort: Effort) -> Result<()> {
        drop_caches()?;
        self.measure_reading(sample::SEQUENTIAL_COLD, Reading::Sequential)?;
        self.measure_reading(sample::SEQUENTIAL_WARM, Reading::Sequential)?;
        let count = effort.random_reads;
        drop_caches()?;
        self.measure_reading(sample::RANDOM, Reading::Random { count, threads: 1 })?;
        drop_caches()?;
        self.measure_reading(sample::RANDOM_4_THREADS, Reading::Random { count, threads: 4 })?;
        if let Container::Vhdz(_) = images.container {
            self.count_blocks(&images.image)?;
        }
        Ok(())
    }

    /// How many blocks of a VHDZ the worker reads for a read in each of many blocks. A block is read to be
    /// decoded; all of the large file's are of about the same size.
    fn count_blocks(&mut self, image: &Path) -> Result<()> {
        let read_by_worker = |session: &Self| session.mounted.servers().usage(true).map(|it| it.read_bytes);
        let big = self.big();
        let touched = f64::from(u32::try_from(reader::scattered_reads(big.metadata()?.len()))?);
        drop_caches()?;
        let Some(before) = read_by_worker(self) else { return Ok(()) };
        self.measure_reading("scattered reads of 4 KiB, cold", Reading::Scattered)?;
        let Some(after) = read_by_worker(self) else { return Ok(()) };
        let blocks = (after - before) / codec::median_packed_bytes(image)?;
        self.samples.push(Sample::new(sample::BLOCKS_READ, blocks / touched, Unit::Blocks));
        Ok(())
    }

    fn measure_reading(&mut self, metric: &str, reading: Reading) -> Result<()> {
        let mut command = self.mounted.client(std::env::current_exe()?);
        command.args(reading.arguments()).arg(self.big());
        self.measure(metric, || {
            let said = String::from_utf8(tool::output(&mut command)?.stdout)?;
            Ok(Duration::from_secs_f64(said.trim().parse()?))
        })
    }

    fn big(&self) -> std::path::PathBuf {
        self.mounted.root().join("big")
    }

    /// Takes the time that `run` tells, and the processor time of all who had part in it.
    fn measure(&mut self, metric: &str, run: impl FnOnce() -> Result<Duration>) -> Result<()> {
        let servers = self.mounted.servers();
        let roles = [("host", false), ("worker", true)];
        let used = |is_worker| servers.usage(is_worker).map(|usage| usage.cpu_seconds);
        let before = roles.map(|(_, is_worker)| used(is_worker));
        let client_before = own_cpu_seconds()?;
        let time = run()?;
        let client = own_cpu_seconds()? - client_before;
        self.samples.push(Sample::seconds(metric, time));
        self.samples.push(Sample::new(format!("{metric}: client"), client, Unit::CpuSeconds));
        for ((role, is_worker), before) in roles.into_iter().zip(before) {
            if let (Some(before), Some(after)) = (before, used(is_worker)) {
                self.samples.push(Sample::new(format!("{metric}: {role}"), after - before, Unit::CpuSeconds));
            }
        }
        Ok(())
    }

    /// Takes the memory that was used at most, and unmounts.
    fn end(mut self) -> Result<Vec<Sample>> {
        for (metric, is_worker) in [(sample::MEMORY_HOST, false), (sample::MEMORY_WORKER, true)] {
            if let Some(usage) = self.mounted.servers().usage(is_worker) {
                self.samples.push(Sample::new(metric, usage.peak_mebibytes, Unit::Mebibytes));
            }
        }
        self.mounted.stop()?;
        Ok(self.samples)
    }
}

/// Entries that `spelunk find` finds in a second, when the image is in the page cache.
fn search(image: &Path) -> Result<Sample> {
    let find = || tool::output(Command::new(spelunk()?).arg("find").arg(image));
    find()?;
    let started = Instant::now();
    let found = find()?.stdout;
    let seconds = started.elapsed().as_secs_f64();
    let entries = u32::try_from(found.iter().filter(|&&byte| byte == b'\n').count())?;
    Ok(Sample::new(sample::SEARCH, f64::from(entries) / seconds, Unit::EntriesPerSecond))
}

/// The time of a command whose output is thrown away.
fn timed(command: &mut Command) -> Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    let time = started.elapsed();
    if status.success() { Ok(time) } else { Err(format!("{command:?}: {status}").into()) }
}
