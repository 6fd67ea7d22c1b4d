//! How large the index of a million names is, and how long it takes to make, to bring up to date and to search:
//!
//! ```sh
//! cargo test --release --bin spelunk million -- --ignored --nocapture
//! ```

use super::tests::{Files, Memory, Random, client, put_tree};
use super::*;
use spelunk_mount::path;
use spelunk_testkit::peer::Directory;
use spelunk_tree::{Attr, Kind, Time};
use std::time::Instant;

const ENTRIES: usize = 1_000_000;
/// The targets.
const BYTES_MAX: u64 = 150_000_000;
const SEARCH_MAX: Duration = Duration::from_millis(50);

const WORDS: [&str; 64] = [
    "report", "invoice", "photo", "holiday", "backup", "data", "config", "index", "main", "test", "module",
    "project", "image", "draft", "final", "notes", "letter", "budget", "plan", "server", "client", "kernel",
    "driver", "system", "user", "music", "track", "album", "movie", "scan", "document", "contract",
    "meeting", "summary", "analysis", "chart", "table", "figure", "icon", "button", "style", "script",
    "theme", "template", "plugin", "vendor", "lib", "include", "source", "build", "release", "debug",
    "cache", "archive", "version", "manual", "größe", "übung", "тест", "файл", "写真", "資料", "café",
    "naïve",
];
const EXTENSIONS: [&str; 24] = [
    "jpg", "png", "txt", "pdf", "docx", "xlsx", "c", "h", "py", "js", "json", "html", "css", "xml", "dll",
    "exe", "so", "mp3", "mp4", "zip", "log", "ini", "dat", "md",
];

/// A name as people and programs make them: few are the same as another.
fn name(random: &mut Random) -> String {
    let (word, other) = (random.one(&WORDS), random.one(&WORDS));
    let (extension, number) = (random.one(&EXTENSIONS), random.below(10_000));
    match random.below(20) {
        0..=3 => {
            format!("IMG_20{:02}{:02}{:02}_{number:06}.jpg", number % 27, number % 12 + 1, number % 28 + 1)
        }
        4..=5 => format!("{word}.{extension}"),
        6..=8 => format!("{:016x}{:016x}", random.below(usize::MAX), random.below(usize::MAX)),
        9..=12 => format!("{word}-{other}-{number}.{extension}"),
        13..=16 => format!("{word}_{other} {number}.{extension}"),
        _ => format!("{}{other}{number}.{extension}", word.to_uppercase()),
    }
}

/// The backup of a machine: directories of ten to fifteen entries on the average, some with thousands.
fn files(random: &mut Random) -> Files {
    let mut files = Files::new();
    let mut directories = vec![Vec::new()];
    while files.len() < ENTRIES {
        let parent = directories[random.below(directories.len())].clone();
        let count = if random.below(500) == 0 { 3000 } else { random.below(20) };
        for _ in 0..count {
            files.insert(path::join(&parent, name(random).as_bytes()), attr(random, Kind::File));
        }
        if parent.iter().filter(|byte| **byte == b'/').count() < 8 {
            let directory = path::join(&parent, format!("{} {}", random.one(&WORDS), files.len()).as_bytes());
            files.insert(directory.clone(), attr(random, Kind::Directory));
            directories.push(directory);
        }
    }
    files
}

/// Sizes from nothing to a few GiB, most of them small; times over ten years, half of them with nanoseconds.
fn attr(random: &mut Random, kind: Kind) -> Attr {
    let bits = random.below(33);
    let size = random.below(1 << bits);
    let seconds = 1_450_000_000 + i64::try_from(random.below(330_000_000)).unwrap();
    let nanoseconds = random.below(2) * random.below(1_000_000_000);
    let modified = Time::new(seconds, u32::try_from(nanoseconds).unwrap()).ok();
    Attr { size: u64::try_from(size).unwrap(), modified, ..Attr::new(kind) }
}

/// One file of a thousand is changed, moved, removed or new.
fn a_day_later(files: &Files, random: &mut Random) -> Files {
    let mut later = files.clone();
    for (path, old) in files {
        match random.below(4000) {
            0 if old.kind == Kind::File => _ = later.remove(path),
            1 => _ = later.insert(path.clone(), attr(random, old.kind)),
            2 if old.kind == Kind::Directory => {
                _ = later.insert(path::join(path, name(random).as_bytes()), attr(random, Kind::File));
            }
            3 if old.kind == Kind::File => {
                later.remove(path);
                later.insert([&path[..], b".old"].concat(), old.clone());
            }
            _ => {}
        }
    }
    later
}

/// Searches of all kinds, and what they are called.
fn queries() -> Vec<(&'static str, Query)> {
    let part = |text: &str| Query { name: NameTest::of_text(text), ..Query::default() };
    let time = |seconds| Some(Time::from_seconds(seconds));
    let on = |minute| Selection { moment: Some(Moment::of_minute(minute)), ..Selection::default() };
    vec![
        ("common part", part("report")),
        ("common part, any case", part("REPORT")),
        ("rare part", part("report-chart-77")),
        ("whole name", part("invoice-holiday-1234.pdf")),
        ("long part", part("IMG_20120413_000012.jpg")),
        ("absent", part("zebra")),
        ("absent, of common trigrams", part("portportport")),
        ("one letter", part("e")),
        ("one letter, rare", part("ï")),
        ("one letter, absent", part("ж")),
        ("two letters", part("in")),
        ("two letters, rare", part("x9")),
        ("two letters, absent", part("qq")),
        ("not ASCII", part("größe")),
        ("not ASCII, two letters", part("写真")),
        ("not ASCII, absent", part("日本語")),
        ("digits", part("2020")),
        ("glob, beginning", part("budget*")),
        ("glob, end", part("*99.pdf")),
        ("glob, middle", part("*plan*7?.xlsx")),
        ("glob, absent", part("a*b*c*d*e*f*.qqq")),
        ("glob of short parts", part("?a*z?.c")),
        ("extension", Query { extension: Some("mp4".to_owned()), ..Query::default() }),
        ("extension, absent", Query { extension: Some("pst".to_owned()), ..Query::default() }),
        ("size, common", Query { size: 0..=1000, ..Query::default() }),
        ("size, rare", Query { size: 4_000_000_000..=u64::MAX, ..Query::default() }),
        ("size, exact", Query { size: 1_234_567..=1_234_567, ..Query::default() }),
        ("size, absent", Query { size: 1 << 40..=u64::MAX, ..Query::default() }),
        ("time, common", Query { after: time(1_600_000_000), ..Query::default() }),
        (
            "time, a day",
            Query { after: time(1_600_000_000), before: time(1_600_086_400), ..Query::default() },
        ),
        ("time, newest", Query { after: time(1_779_990_000), ..Query::default() }),
        ("time, absent", Query { after: time(1_900_000_000), ..Query::default() }),
        ("directories", Query { kinds: vec![Kind::Directory], ..part("plan") }),
        ("links, absent", Query { kinds: vec![Kind::Symlink], ..part("e") }),
        (
            "all at once",
            Query {
                extension: Some("jpg".to_owned()),
                size: 1 << 20..=1 << 30,
                after: time(1_500_000_000),
                ..part("img")
            },
        ),
        ("one backup, common", Query { within: on(2), ..part("report") }),
        ("one backup, rare", Query { within: on(1), ..part("report-chart-77") }),
        ("one backup, two letters", Query { within: on(2), ..part("x9") }),
        ("newest backup, size", Query { latest: true, size: 4_000_000_000..=u64::MAX, ..Query::default() }),
    ]
}

#[test]
#[ignore = "takes minutes; a measurement, see the module"]
fn a_million_names_are_small_and_searched_at_once() {
    let random = &mut Random(0x9E37_79B9_7F4A_7C15);
    let first = files(random);
    let directory = Directory::new().unwrap();
    let path = directory.path().join("index.sqlite");
    let index = Index::open(&path).unwrap();
    let bytes = || {
        index.writer().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        std::fs::metadata(&path).unwrap().len()
    };
    let alice = client("alice");
    let put = |day, files: &Files| {
        let tree = Arc::new(Memory::new(files));
        let (start, busy) = (Instant::now(), busy());
        put_tree(&index, &alice, day, tree).unwrap();
        println!(
            "backup {day}: {:.1} MB, in {:.1?}, {:.1?} busy",
            mega(bytes()),
            start.elapsed(),
            busy_since(busy)
        );
    };
    put(1, &first);
    let of_one = bytes();
    let mut later = first.clone();
    for day in 2..=8 {
        later = a_day_later(&later, random);
        put(day, &later);
    }
    let mut all = measure_searches(&index);
    all.sort_unstable();
    let (half, most) = (all[all.len() / 2], all[all.len() * 95 / 100]);
    println!("all searches, busy: p50 {half:.1?}, p95 {most:.1?}, longest {:.1?}", all[all.len() - 1]);
    assert!(of_one < BYTES_MAX, "{of_one} bytes");
    assert!(most < SEARCH_MAX, "{most:?}");
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// How long this thread was busy: what others do on this machine at the same time does not count.
fn busy() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split_whitespace().next().unwrap().parse().unwrap())
}

fn busy_since(start: Duration) -> Duration {
    busy().saturating_sub(start)
}

/// How long each search takes, 20 times each; the kinds are printed.
fn measure_searches(index: &Index) -> Vec<Duration> {
    let mut all = Vec::new();
    for (kind, query) in queries() {
        let (mut times, mut walls) = (Vec::new(), Vec::new());
        let mut found = Found::default();
        for _ in 0..20 {
            let (start, busy) = (Instant::now(), busy());
            found = index.search(&query, |_| true).unwrap();
            times.push(busy_since(busy));
            walls.push(start.elapsed());
        }
        times.sort_unstable();
        walls.sort_unstable();
        let more = if found.has_more { "+" } else { "" };
        println!(
            "{kind:28} busy p50 {:>8.2?} p95 {:>8.2?}, in all p50 {:>8.2?} p95 {:>8.2?}, {}{more} hits",
            times[10], times[18], walls[10], walls[18], found.total
        );
        assert!(!found.is_incomplete);
        all.extend(times);
    }
    all
}
