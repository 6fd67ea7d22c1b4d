//! What must hold.

use crate::report::Report;
use crate::sample::{
    BLOCKS_READ, FIND_COLD, FIND_WARM, FIRST_LISTING_COLD, FIRST_LISTING_WARM, LIST_LARGE, MEMORY_HOST,
    MEMORY_WORKER, RANDOM, RANDOM_4_THREADS, SEARCH, SEQUENTIAL_COLD, SEQUENTIAL_WARM, TAR, ZIP, ZIP_STORED,
};

/// A bound for a metric of Spelunk, on some courses.
pub struct Target {
    metric: &'static str,
    courses: Courses,
    bound: Bound,
}

/// Where a target holds.
#[derive(Clone, Copy)]
enum Courses {
    /// Wherever the metric is measured.
    Any,
    /// On these.
    Only(&'static [&'static str]),
}

/// What a median of Spelunk's must keep to. Of several peers the best counts.
#[derive(Clone, Copy)]
enum Bound {
    /// Not above this, in the metric's own unit.
    AtMost(f64),
    /// Not below this, in the metric's own unit.
    AtLeast(f64),
    /// A time of not more than this part of the peers'.
    TimeOf(f64, Peers),
    /// A speed of not less than this part of the peers'; the metric is a time.
    SpeedOf(f64, Peers),
    /// Not more than so many times what it was on a smaller image.
    TimesOf(f64, &'static str),
}

type Peers = &'static [&'static str];
const KERNEL: Peers = &["kernel"];
/// CPU placement outweighs the peer, so it is measured both ways.
const NTFS_3G: Peers = &["ntfs-3g", "ntfs-3g, one core"];
const CODEC: Peers = &["codec on two cores"];

const EXT4: Courses = Courses::Only(&["ext4-raw"]);
const NTFS: Courses = Courses::Only(&["ntfs-raw"]);
/// The images of 50,000 files.
#[rustfmt::skip]
const MIXED: Courses = Courses::Only(&[
    "ext4-raw", "ext4-vhd", "ext4-vhdx", "ext4-vhdz-zstd", "ext4-vhdz-zlib",
    "ntfs-raw", "ntfs-vhd", "ntfs-vhdx", "ntfs-vhdz-zstd", "ntfs-vhdz-zlib",
]);
/// The large file where its bytes lie as they are, on ext4: the kernel's driver is the measure.
const PLAIN: Courses = Courses::Only(&["ext4-big-raw", "ext4-big-vhd", "ext4-big-vhdx"]);
const VHDZ: Courses =
    Courses::Only(&["ext4-big-vhdz-zstd", "ext4-big-vhdz-zlib", "ntfs-big-vhdz-zstd", "ntfs-big-vhdz-zlib"]);

/// Ten times the files: ten times the time, and what chance may add.
const LINEAR: f64 = 12.5;
/// Ten times the files: the same memory, and what chance may add.
const FLAT: f64 = 1.25;
/// One block read and decoded for a block touched; the worker reads its requests as well, and now and then
/// 4 KiB lie across the border of two blocks.
const ONE_BLOCK: f64 = 1.05;

/// All targets.
#[rustfmt::skip]
pub static TARGETS: &[Target] = &[
    target(FIRST_LISTING_WARM, Courses::Any, Bound::AtMost(0.030)),
    target(FIRST_LISTING_COLD, Courses::Any, Bound::AtMost(0.100)),
    target(FIND_COLD, EXT4, Bound::TimeOf(0.6, KERNEL)),
    target(FIND_COLD, NTFS, Bound::TimeOf(0.25, NTFS_3G)),
    target(FIND_WARM, EXT4, Bound::TimeOf(1.2, KERNEL)),
    target(LIST_LARGE, EXT4, Bound::TimeOf(1.0, KERNEL)),
    target(TAR, EXT4, Bound::SpeedOf(1.0, KERNEL)),
    target(TAR, NTFS, Bound::SpeedOf(5.0, NTFS_3G)),
    target(ZIP, Courses::Any, Bound::SpeedOf(1.7, KERNEL)),
    target(ZIP_STORED, Courses::Any, Bound::SpeedOf(0.8, KERNEL)),
    target(SEQUENTIAL_COLD, PLAIN, Bound::SpeedOf(0.9, KERNEL)),
    target(SEQUENTIAL_WARM, PLAIN, Bound::SpeedOf(0.9, KERNEL)),
    target(SEQUENTIAL_COLD, VHDZ, Bound::SpeedOf(0.9, CODEC)),
    target(RANDOM, PLAIN, Bound::SpeedOf(0.9, KERNEL)),
    target(RANDOM_4_THREADS, PLAIN, Bound::SpeedOf(0.9, KERNEL)),
    target(BLOCKS_READ, VHDZ, Bound::AtMost(ONE_BLOCK)),
    target(MEMORY_WORKER, MIXED, Bound::AtMost(32.0)),
    target(MEMORY_HOST, MIXED, Bound::AtMost(64.0)),
    target(FIND_COLD, Courses::Only(&["ext4-100k"]), Bound::TimesOf(LINEAR, "ext4-10k")),
    target(FIND_COLD, Courses::Only(&["ext4-1m"]), Bound::TimesOf(LINEAR, "ext4-100k")),
    target(FIND_COLD, Courses::Only(&["ntfs-100k"]), Bound::TimesOf(LINEAR, "ntfs-10k")),
    target(FIND_COLD, Courses::Only(&["ntfs-1m"]), Bound::TimesOf(LINEAR, "ntfs-100k")),
    target(MEMORY_WORKER, Courses::Only(&["ext4-100k"]), Bound::TimesOf(FLAT, "ext4-10k")),
    target(MEMORY_WORKER, Courses::Only(&["ext4-1m"]), Bound::TimesOf(FLAT, "ext4-100k")),
    target(MEMORY_WORKER, Courses::Only(&["ntfs-100k"]), Bound::TimesOf(FLAT, "ntfs-10k")),
    target(MEMORY_WORKER, Courses::Only(&["ntfs-1m"]), Bound::TimesOf(FLAT, "ntfs-100k")),
    target(MEMORY_HOST, Courses::Only(&["ext4-100k"]), Bound::TimesOf(FLAT, "ext4-10k")),
    target(MEMORY_HOST, Courses::Only(&["ext4-1m"]), Bound::TimesOf(FLAT, "ext4-100k")),
    target(MEMORY_HOST, Courses::Only(&["ntfs-100k"]), Bound::TimesOf(FLAT, "ntfs-10k")),
    target(MEMORY_HOST, Courses::Only(&["ntfs-1m"]), Bound::TimesOf(FLAT, "ntfs-100k")),
    target(SEARCH, Courses::Any, Bound::AtLeast(500_000.0)),
];

const fn target(metric: &'static str, courses: Courses, bound: Bound) -> Target {
    Target { metric, courses, bound }
}

/// How a target was kept on one course.
pub struct Verdict {
    /// The course.
    pub course: &'static str,
    /// The metric.
    pub metric: &'static str,
    /// The bound, in words.
    pub bound: String,
    /// What stands against the bound; none when Spelunk or the peer was not measured.
    pub measured: Option<f64>,
    /// Whether it was measured and keeps to the bound.
    pub is_met: bool,
}

/// The verdicts on all targets of the courses that were run.
pub fn verdicts(report: &Report) -> Vec<Verdict> {
    let on_courses = |target: &'static Target| {
        let is_run = report.courses().into_iter();
        is_run.filter(|course| target.holds_on(course, report)).map(|course| target.verdict(course, report))
    };
    TARGETS.iter().flat_map(on_courses).collect()
}

impl Target {
    fn holds_on(&self, course: &str, report: &Report) -> bool {
        match self.courses {
            Courses::Any => report.own(course, self.metric).is_some(),
            Courses::Only(courses) => courses.contains(&course),
        }
    }

    fn verdict(&self, course: &'static str, report: &Report) -> Verdict {
        let own = report.own(course, self.metric);
        let best = |peers: Peers| report.best(course, peers, self.metric);
        let ratio = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
        let (bound, measured, is_least) = match self.bound {
            Bound::AtMost(limit) => (limit, own, false),
            Bound::AtLeast(limit) => (limit, own, true),
            Bound::TimeOf(part, peers) => (part, ratio(own, best(peers)), false),
            Bound::SpeedOf(part, peers) => (part, ratio(best(peers), own), true),
            Bound::TimesOf(times, smaller) => (times, ratio(own, report.own(smaller, self.metric)), false),
        };
        let is_met = measured.is_some_and(|value| if is_least { value >= bound } else { value <= bound });
        Verdict { course, metric: self.metric, bound: self.bound.words(), measured, is_met }
    }
}

impl Bound {
    fn words(self) -> String {
        match self {
            Bound::AtMost(limit) => format!("at most {limit}"),
            Bound::AtLeast(limit) => format!("at least {limit}"),
            Bound::TimeOf(part, peers) => format!("at most {part} of the time of {}", peers.join(" or ")),
            Bound::SpeedOf(part, peers) => format!("at least {part} of the speed of {}", peers.join(" or ")),
            Bound::TimesOf(times, smaller) => format!("at most {times} times that of {smaller}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::COURSES;
    use crate::sample::{Sample, Unit};

    fn report(own: f64, free: f64, pinned: f64) -> Report {
        let mut report = Report::default();
        for (contender, seconds) in [("spelunk", own), ("ntfs-3g", free), ("ntfs-3g, one core", pinned)] {
            report.add("ntfs-raw", contender, vec![Sample::new(TAR, seconds, Unit::Seconds)]);
        }
        report
    }

    fn verdict_on_tar(report: &Report) -> Verdict {
        verdicts(report).into_iter().find(|verdict| verdict.metric == TAR).unwrap()
    }

    #[test]
    fn the_better_of_two_peers_counts() {
        let verdict = verdict_on_tar(&report(1.0, 6.0, 4.0));

        assert_eq!(verdict.measured, Some(4.0));
        assert!(!verdict.is_met);
        assert!(verdict_on_tar(&report(1.0, 6.0, 5.0)).is_met);
    }

    #[test]
    fn a_target_without_its_peer_is_not_met() {
        let mut report = Report::default();
        report.add("ntfs-raw", "spelunk", vec![Sample::new(TAR, 1.0, Unit::Seconds)]);

        let verdict = verdict_on_tar(&report);

        assert_eq!(verdict.measured, None);
        assert!(!verdict.is_met);
    }

    #[test]
    fn courses_that_were_not_run_have_no_verdict() {
        let verdicts = verdicts(&report(1.0, 6.0, 5.0));

        assert!(verdicts.iter().all(|verdict| verdict.course == "ntfs-raw"));
    }

    #[test]
    fn every_target_names_courses_and_contenders_that_exist() {
        for target in TARGETS {
            let Courses::Only(names) = target.courses else { continue };
            for name in names {
                let course = COURSES.iter().find(|course| course.name == *name).unwrap();
                if let Bound::TimeOf(_, peers) | Bound::SpeedOf(_, peers) = target.bound {
                    let is_there = |peer: &&str| course.contenders.iter().any(|it| it.name == *peer);
                    assert!(peers.iter().all(is_there), "{name}: {}", target.metric);
                }
                if let Bound::TimesOf(_, smaller) = target.bound {
                    assert!(COURSES.iter().any(|course| course.name == smaller), "{smaller}");
                }
            }
        }
    }
}
