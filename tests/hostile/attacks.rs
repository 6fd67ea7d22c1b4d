//! What a host makes of workers that were taken over. Each host is a process of its own, so that its memory can be
//! measured, and has an honest disk beside the hostile one.

use crate::attacker::{ATTACKS, Attack, CONTENT, CONTENT_AT, Expected, HONEST, MAGIC};
use crate::measure;
use crate::wire::Verb;
use spelunk_sandbox::{Disk, OpenOptions};
use spelunk_testkit::peer::Directory;
use spelunk_tree::{Cursor, Error, ErrorKind, Name, NodeId, Result, Tree};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The hidden subcommand that makes this program a host; what it does and the images follow.
pub const HOST_COMMAND: &str = "__host";

/// How long the worker of a host may take for a request.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long a host may take for whatever it was started for.
const HOST_TIME_MAX: Duration = Duration::from_secs(300);
/// Memory that a host may take while a worker attacks it: what is told ahead and kept, and buffers.
const HOST_BYTES_MAX: u64 = 64 << 20;
/// Pages that are taken of a listing that may not end.
const PAGES: usize = 50;

/// An image whose worker makes the attack of this name.
pub fn image(directory: &Path, attack: &str) -> PathBuf {
    let path = directory.join(attack);
    let file = File::create(&path).expect("a file");
    file.set_len(1 << 20).expect("a size");
    file.write_all_at(format!("{MAGIC}{attack}\n").as_bytes(), 0).expect("the attack's name");
    file.write_all_at(CONTENT, CONTENT_AT).expect("the content");
    path
}

/// A host that does `what` with the images, and what it said: its lines, and the most memory it had.
pub fn run_host(what: &str, images: &[&Path]) -> (Vec<String>, u64) {
    let program = std::env::current_exe().expect("this program");
    let mut host = Command::new(program);
    host.arg(HOST_COMMAND).arg(what).args(images).stdin(Stdio::null()).stdout(Stdio::piped());
    let started = Instant::now();
    let output = host.spawn().and_then(std::process::Child::wait_with_output).expect("a host");
    assert!(output.status.success(), "the host of {what} {images:?} fell: {}", output.status);
    assert!(started.elapsed() < HOST_TIME_MAX, "{what} {images:?} took {:?}", started.elapsed());
    let text = String::from_utf8(output.stdout).expect("lines");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let memory = lines.pop().and_then(|line| line.strip_prefix("memory ")?.parse().ok());
    (lines, memory.expect("the host's memory"))
}

/// What this program does as a host.
pub fn host() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(2).map(PathBuf::from).collect();
    let [what, images @ ..] = &arguments[..] else { return ExitCode::FAILURE };
    match (what.to_str(), images) {
        (Some("ask"), [attacked, honest]) => ask(attacked, honest),
        (Some(what), images) => crate::presenters::host(what, images),
        _ => return ExitCode::FAILURE,
    }
    println!("memory {}", measure::own_memory());
    ExitCode::SUCCESS
}

pub fn open(image: &Path) -> Result<Disk> {
    Disk::open(image, &OpenOptions { deadline: DEADLINE, ..OpenOptions::default() })
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("a name")
}

/// Everything that a tree can be asked, with how it ended, in words.
fn ask_all(image: &Path) -> Vec<(Verb, String)> {
    let disk = match open(image) {
        Ok(disk) => disk,
        Err(error) => return vec![(Verb::Open, outcome(Err::<(), _>(error)))],
    };
    let Some(tree) = disk.tree(0) else { return vec![(Verb::Open, "no tree".into())] };
    let node = |id| NodeId::new(id).expect("a node");
    let mut buffer = [0; 4096];
    vec![
        (Verb::Attr, outcome(tree.attr(node(2)))),
        (Verb::Map, outcome(tree.read(node(2), None, 0, &mut buffer))),
        (Verb::Lookup, outcome(tree.lookup(tree.root(), &name("good")))),
        (Verb::List, outcome(list(&tree))),
        (Verb::LinkTarget, outcome(tree.link_target(node(5)))),
        (Verb::Xattrs, outcome(tree.xattrs(node(2)))),
        (Verb::Streams, outcome(tree.streams(node(2)))),
    ]
}

fn list(tree: &Arc<dyn Tree>) -> Result<()> {
    let mut cursor = Some(Cursor::START);
    for _ in 0..PAGES {
        let Some(from) = cursor else { break };
        cursor = tree.list(tree.root(), from, 1000)?.next;
    }
    Ok(())
}

fn outcome<T>(result: Result<T, Error>) -> String {
    result.map_or_else(|error| error.kind().phrase().to_owned(), |_| "taken".to_owned())
}

/// A host that asks the attacked disk everything, and then the honest one.
fn ask(attacked: &Path, honest: &Path) {
    let honest = open(honest).expect("an honest disk");
    let before = measure::own_descriptors();
    for (verb, outcome) in ask_all(attacked) {
        println!("{verb:?} {outcome}");
        assert_honest(&honest);
    }
    let end = Instant::now() + Duration::from_secs(5);
    while measure::own_descriptors() > before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(measure::own_descriptors(), before, "descriptors are left open");
}

/// The honest disk answers, right and at once, whatever others do.
pub fn assert_honest(disk: &Disk) {
    let started = Instant::now();
    let tree = disk.tree(0).expect("a tree");
    let entry = tree.lookup(tree.root(), &name("good")).expect("an entry");
    let mut buffer = [0; 100];
    assert_eq!(tree.read(entry.node, None, 0, &mut buffer), Ok(CONTENT.len()));
    assert_eq!(&buffer[..CONTENT.len()], CONTENT);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
}

pub fn all() {
    let directory = Directory::new().expect("a directory");
    let honest = image(directory.path(), HONEST);
    for attack in ATTACKS {
        let attacked = image(directory.path(), attack.name);
        let (lines, memory) = run_host("ask", &[&attacked, &honest]);
        println!("{:34} {:3} MiB  {}", attack.name, memory >> 20, lines.join(", "));
        check(attack, &lines);
        assert!(memory < HOST_BYTES_MAX, "{}: {memory} bytes", attack.name);
    }
}

/// The attacked request ends as it should, and all others as if nothing had been.
fn check(attack: &Attack, lines: &[String]) {
    let lost = ErrorKind::WorkerLost.phrase();
    let attacked = format!("{:?} ", attack.verb);
    let mut is_met = false;
    for line in lines {
        let Some(outcome) = line.strip_prefix(&attacked) else {
            // An answer too many spoils the next question on that channel as well.
            let is_spoilt = attack.name.starts_with("answers-");
            assert!(is_spoilt || line.ends_with(" taken"), "{}: {line}", attack.name);
            continue;
        };
        is_met = true;
        match attack.expected {
            Expected::Lost if attack.name.starts_with("answers-") => {}
            Expected::Lost => assert_eq!(outcome, lost, "{}", attack.name),
            Expected::Taken => assert_eq!(outcome, "taken", "{}", attack.name),
            Expected::TakenOrLost => {
                assert!(outcome == "taken" || outcome == lost, "{}: {outcome}", attack.name);
            }
            Expected::Refused => assert_ne!(outcome, "taken", "{}", attack.name),
        }
    }
    assert!(is_met, "{}: {lines:?}", attack.name);
}
