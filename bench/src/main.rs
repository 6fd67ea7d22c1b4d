//! `bench/run [quick|full|images] [COURSE]`: Spelunk against what a user would pick instead.
//!
//! ```text
//! course     on which images who competes in what: a table
//! contender  who competes: a table
//! mounted    how each mounts, and how that is undone
//! activity   what is done with a mount, and timed
//! reader     the client that reads one file
//! codec      what two cores can unpack, beside VHDZ
//! process    processor time and memory, from /proc
//! sample     names and units of what is measured
//! report     medians and ratios, as Markdown and JSON
//! targets    what must hold: a table
//! ```
//!
//! On each image every contender has its turn, over several rounds, so that whatever drifts on the machine
//! hits all alike.

mod activity;
mod codec;
mod contender;
mod course;
mod effort;
mod mounted;
mod process;
mod reader;
mod report;
mod sample;
mod targets;

use contender::{Contender, When};
use course::{COURSES, Course};
use effort::Effort;
use report::Report;
use spelunk_testkit::{Result, tool};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((first, reading)) if first == reader::SUBCOMMAND => reader::main(reading).map(|()| true),
        Some((effort, filter)) => run_named(effort, filter.first().map_or("", String::as_str)),
        None => run_named("quick", ""),
    };
    match result {
        Ok(targets_met) => ExitCode::from(u8::from(!targets_met)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs the courses whose names contain `filter`; whether all their targets were met.
fn run_named(effort: &str, filter: &str) -> Result<bool> {
    let Some(effort) = Effort::named(effort) else {
        return Err(format!("'{effort}' is none of quick, full, images").into());
    };
    let is_chosen = |course: &&Course| course.name.contains(filter) && (effort.is_full || !course.is_full);
    let courses: Vec<&Course> = COURSES.iter().filter(is_chosen).collect();
    if courses.is_empty() {
        let names: Vec<&str> = COURSES.iter().map(|course| course.name).collect();
        return Err(format!("no course is called '{filter}'. They are: {}", names.join(" ")).into());
    }
    let work = Path::new(env!("CARGO_MANIFEST_DIR")).join("work");
    let mnt = work.join("mnt");
    fs::create_dir_all(&mnt)?;
    let mut report = Report::default();
    for course in courses {
        run(course, effort, &mnt, &mut report)?;
    }
    if effort.rounds == 0 {
        return Ok(true);
    }
    println!("{}", report.markdown());
    let results = work.join("results.json");
    fs::write(&results, report.json())?;
    println!("All samples: {}", results.display());
    Ok(report.targets_met())
}

/// Runs one course: all rounds, contenders by turns.
fn run(course: &Course, effort: Effort, mnt: &Path, report: &mut Report) -> Result<()> {
    let mut contenders = installed(course, effort, report);
    eprintln!("{}: making what is not in the cache", course.name);
    let images = course.images(&contenders)?;
    for round in 1..=effort.rounds {
        contenders.retain(|contender| round == 1 || contender.when != When::Once);
        let mut failed = Vec::new();
        for contender in &contenders {
            eprintln!("{}: round {round} of {}: {}", course.name, effort.rounds, contender.name);
            match activity::perform(course.activities, contender, &images, effort, mnt) {
                Ok(samples) => report.add(course.name, contender.name, samples),
                Err(error) => {
                    eprintln!("{}: {} failed: {error}", course.name, contender.name);
                    report.leave_out(course.name, contender.name, &error.to_string());
                    failed.push(contender.name);
                }
            }
        }
        contenders.retain(|contender| !failed.contains(&contender.name));
    }
    Ok(())
}

/// The contenders of a course that are installed; the report names the others.
fn installed(course: &Course, effort: Effort, report: &mut Report) -> Vec<&'static Contender> {
    let mut installed = course.contenders.to_vec();
    installed.retain(|contender| effort.is_full || contender.when == When::Always);
    installed.retain(|contender| {
        let missing = contender.programs.iter().find(|program| tool::find(program).is_none());
        if let Some(missing) = missing {
            report.leave_out(course.name, contender.name, &format!("{missing} is not installed"));
        }
        missing.is_none()
    });
    installed
}
