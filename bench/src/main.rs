//! `bench/run [quick|full]`: Spelunk against what a user would pick instead.
//!
//! For each image every contender mounts it in turn, over several rounds, so that whatever drifts on the
//! machine hits all alike. Medians and ratios are printed as Markdown and written as JSON. "Cold" means that
//! the caches of this machine were dropped; on a virtual machine its host may still have the image cached.

mod contender;
mod measure;
mod report;

use contender::{Contender, Mounted};
use measure::Sample;
use report::Report;
use spelunk_testkit::Result;
use spelunk_testkit::image::{self, plan::Guest};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    /// Rounds over all contenders.
    rounds: usize,
    /// Random reads in each sample.
    random_reads: usize,
}

/// Images of one guest and who competes on them.
struct Course {
    name: &'static str,
    /// 50,000 files.
    many: PathBuf,
    /// One file of 1 GiB.
    big: PathBuf,
    contenders: &'static [Contender],
}

fn main() -> ExitCode {
    let plan = match std::env::args().nth(1).as_deref() {
        None | Some("quick") => Plan { rounds: 3, random_reads: 2_000 },
        Some("full") => Plan { rounds: 7, random_reads: 10_000 },
        Some(other) => {
            eprintln!("error: '{other}' is neither quick nor full");
            return ExitCode::from(2);
        }
    };
    match run(plan) {
        Ok(targets_met) => ExitCode::from(u8::from(!targets_met)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}

fn run(plan: Plan) -> Result<bool> {
    let work = Path::new(env!("CARGO_MANIFEST_DIR")).join("work");
    let mnt = work.join("mnt");
    fs::create_dir_all(&mnt)?;
    let mut report = Report::default();
    for course in courses()? {
        for round in 1..=plan.rounds {
            for contender in course.contenders {
                eprintln!("{}: round {round} of {}: {}", course.name, plan.rounds, contender.name);
                let mut samples = walks(contender, &course.many, &mnt)?;
                samples.extend(reads(contender, &course.big, &mnt, plan)?);
                report.add(course.name, contender.name, samples);
            }
        }
    }
    println!("{}", report.markdown());
    let results = work.join("results.json");
    fs::write(&results, report.json())?;
    println!("Raw samples: {}", results.display());
    Ok(report.targets_met())
}

fn courses() -> Result<[Course; 2]> {
    Ok([
        Course {
            name: "ext4",
            many: image::ext4_of_50_000_files()?,
            big: image::big_file(Guest::Ext4)?,
            contenders: &[contender::SPELUNK, contender::KERNEL],
        },
        Course {
            name: "ntfs",
            many: image::ntfs_of_50_000_files()?,
            big: image::big_file(Guest::Ntfs)?,
            contenders: &[contender::SPELUNK, contender::NTFS_3G, contender::NTFS_3G_PINNED],
        },
    ])
}

/// Listings of the image of many files.
fn walks(contender: &Contender, image: &Path, mnt: &Path) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    measure::drop_caches()?;
    let started = Instant::now();
    let mounted = Mounted::start(contender, image, mnt)?;
    mounted.list_long(mnt)?;
    samples.push(Sample::seconds("first listing, cold", started.elapsed()));
    measure::drop_caches()?;
    samples.push(Sample::seconds("find, cold", mounted.walk(mnt)?));
    samples.push(Sample::seconds("find, warm", mounted.walk(mnt)?));
    measure::drop_caches()?;
    samples.push(Sample::seconds("ls -l of 20,000 entries, cold", mounted.list_long(&mnt.join("large"))?));
    samples.extend(mounted.peak_memory());
    mounted.stop()?;

    let started = Instant::now();
    let mounted = Mounted::start(contender, image, mnt)?;
    mounted.list_long(mnt)?;
    samples.push(Sample::seconds("first listing, warm", started.elapsed()));
    mounted.stop()?;
    Ok(samples)
}

/// Reads of the large file.
fn reads(contender: &Contender, image: &Path, mnt: &Path, plan: Plan) -> Result<Vec<Sample>> {
    let big = mnt.join("big");
    let mut samples = Vec::new();
    let mounted = Mounted::start(contender, image, mnt)?;
    measure::drop_caches()?;
    samples.push(Sample::seconds("sequential read of 1 GiB, cold", measure::sequential(&big)?));
    samples.push(Sample::seconds("sequential read of 1 GiB, warm", measure::sequential(&big)?));
    measure::drop_caches()?;
    let alone = measure::random(&big, plan.random_reads, 1)?;
    samples.push(Sample::seconds("random reads of 4 KiB, cold", alone));
    measure::drop_caches()?;
    let together = measure::random(&big, plan.random_reads, 4)?;
    samples.push(Sample::seconds("random reads of 4 KiB, 4 threads, cold", together));
    samples.extend(mounted.peak_memory());
    mounted.stop()?;
    Ok(samples)
}
