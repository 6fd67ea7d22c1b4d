//! A worker that was taken over: it has what a worker has, and answers with whatever it likes.
//!
//! Which attack it makes stands in the image that it is given, so that one host can have several of them, and an
//! honest one beside. It watches for the end of its host, as the supervisor does that no worker can stop.

use crate::wire::{self, Asked, DIRECTORY, FILE, Out, SYMLINK, Verb, extents, page, pages, run};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::fs::{self, File};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

/// The first bytes of an image whose worker attacks; the attack's name and a newline follow.
pub const MAGIC: &str = "attack ";
/// Where the honest tree's one content stands in the image.
pub const CONTENT_AT: u64 = 64;
/// It.
pub const CONTENT: &[u8] = b"hello, cave\n";
/// The name of the worker that does not attack.
pub const HONEST: &str = "honest";

/// Nodes of the honest tree: the root with a file, a directory with a file, a link.
const ROOT: u64 = 1;
const GOOD: u64 = 2;
const SUB: u64 = 3;
const INNER: u64 = 4;
const LINK: u64 = 5;

/// What is answered.
pub enum Act {
    /// As an honest worker does.
    Honest,
    /// These bytes as the body.
    Body(Out),
    /// These bytes as the body, and data behind it.
    WithData(Out, usize),
    /// These bytes in place of the packet that tells the lengths.
    Packet(Vec<u8>),
    /// Another status than `done`, with this body.
    Status(u8, Out),
    /// The honest answer, so many times.
    Times(usize),
    /// The honest answer, after a while.
    After(Duration),
    /// The honest answer, with descriptors of the worker's own.
    WithDescriptors,
    /// The honest answer, while what is in the window changes all the time.
    Scribbling,
    /// The honest answer in a window whose memory is given back, and which it tries to make smaller and larger.
    Hollow,
    /// Nothing, ever.
    Silence,
    /// The end of the worker.
    Die,
}

/// What the host makes of it: of the request that is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The worker is given up.
    Lost,
    /// An answer is taken, and is what such a worker can say anyway.
    Taken,
    /// One of the two: it is a matter of which bytes the host copied.
    TakenOrLost,
    /// The disk does not open, and the worker is not at fault.
    Refused,
}

/// One attack.
pub struct Attack {
    pub name: &'static str,
    /// The request that it waits for.
    pub verb: Verb,
    pub act: fn(&Asked) -> Act,
    pub expected: Expected,
}

const fn lost(name: &'static str, verb: Verb, act: fn(&Asked) -> Act) -> Attack {
    Attack { name, verb, act, expected: Expected::Lost }
}

const fn taken(name: &'static str, verb: Verb, act: fn(&Asked) -> Act) -> Attack {
    Attack { name, verb, act, expected: Expected::Taken }
}

/// A listing of one entry that is called so.
fn named(name: &[u8]) -> Act {
    Act::Body(pages(&page(&[(wire::entry(name, GOOD, FILE, 12), 1)], None)))
}

/// Entries on a page of an endless listing.
const ENDLESS_PAGE: u64 = 512;

/// A page of a directory that goes on for ever: the entries are of this kind, each node new.
fn endless(asked: &Asked, kind: u8) -> Act {
    let first = asked.cursor;
    let numbers = first..first.saturating_add(ENDLESS_PAGE);
    // Below each directory there are others, nowhere the same again.
    let id = |number: u64| (asked.node.wrapping_mul(6_364_136_223_846_793_005) ^ number) >> 8;
    let entry =
        |number: u64| (wire::entry(format!("{number:x}").as_bytes(), id(number), kind, 0), number + 1);
    let entries: Vec<_> = numbers.map(entry).collect();
    Act::Body(pages(&page(&entries, Some(first + ENDLESS_PAGE))))
}

/// All of them.
pub const ATTACKS: &[Attack] = &[
    // Packets.
    lost("packet-short", Verb::Attr, |_| Act::Packet(vec![0; 8])),
    lost("packet-long", Verb::Attr, |_| Act::Packet(vec![0; 10])),
    lost("packet-huge", Verb::Attr, |_| Act::Packet(vec![0; 100_000])),
    lost("packet-status-unknown", Verb::Attr, |_| Act::Status(9, Out::default())),
    lost("body-past-the-window", Verb::Attr, |_| {
        Act::Packet(Out::default().byte(0).long(u32::MAX).long(0).0)
    }),
    lost("data-past-the-window", Verb::Attr, |_| {
        Act::Packet(Out::default().byte(0).long(0).long(u32::MAX).0)
    }),
    lost("data-where-none-was-asked-for", Verb::Attr, |_| Act::WithData(wire::attr(FILE, 12), 5)),
    lost("body-cut-off", Verb::Attr, |_| Act::Body(Out::default().byte(0))),
    lost("body-left-over", Verb::Attr, |_| Act::Body(wire::attr(FILE, 12).byte(0))),
    lost("body-of-another-kind", Verb::Attr, |_| Act::Body(wire::entry(b"x", GOOD, FILE, 12))),
    // Time.
    lost("silence", Verb::Attr, |_| Act::Silence),
    lost("silence-while-opening", Verb::Open, |_| Act::Silence),
    lost("late", Verb::Attr, |_| Act::After(Duration::from_secs(3))),
    lost("death", Verb::Attr, |_| Act::Die),
    lost("death-while-opening", Verb::Open, |_| Act::Die),
    lost("answers-twice", Verb::Attr, |_| Act::Times(2)),
    lost("answers-a-hundred-times", Verb::Attr, |_| Act::Times(100)),
    taken("descriptors-with-answers", Verb::Attr, |_| Act::WithDescriptors),
    Attack {
        expected: Expected::TakenOrLost,
        ..taken("window-changes-all-the-time", Verb::List, |_| Act::Scribbling)
    },
    Attack { expected: Expected::TakenOrLost, ..taken("window-hollow", Verb::List, |_| Act::Hollow) },
    // Names, ids, kinds.
    lost("name-slash", Verb::List, |_| named(b"a/b")),
    lost("name-absolute", Verb::List, |_| named(b"/etc/passwd")),
    lost("name-parent", Verb::List, |_| named(b"..")),
    lost("name-own", Verb::List, |_| named(b".")),
    lost("name-nul", Verb::List, |_| named(b"a\0b")),
    lost("name-empty", Verb::List, |_| named(b"")),
    lost("name-long", Verb::List, |_| named(&[b'x'; 1025])),
    lost("name-slash-of-a-lookup", Verb::Lookup, |_| Act::Body(wire::entry(b"../good", GOOD, FILE, 12))),
    lost("node-that-cannot-be", Verb::Lookup, |_| Act::Body(wire::entry(b"good", u64::MAX, FILE, 12))),
    lost("kind-that-cannot-be", Verb::Attr, |_| Act::Body(wire::attr(200, 12))),
    taken("name-for-terminals", Verb::List, |_| named(b"\x1b[2J\n\r\xE2\x80\xAE\xff")),
    // Listings.
    lost("count-huge", Verb::List, |_| Act::Body(Out::default().long(1).byte(1).byte(0).long(u32::MAX))),
    lost("pages-huge", Verb::List, |_| Act::Body(Out::default().long(u32::MAX))),
    lost("pages-none", Verb::List, |_| Act::Body(Out::default().long(0))),
    lost("pages-more-than-asked-for", Verb::List, |asked| {
        let page = page(&[], None);
        let body =
            (0..=asked.count).fold(Out::default().long(asked.count + 1), |out, _| out.byte(1).with(&page));
        Act::Body(body)
    }),
    lost("listing-goes-nowhere", Verb::List, |asked| Act::Body(pages(&page(&[], Some(asked.cursor))))),
    taken("listing-without-end", Verb::List, |asked| endless(asked, FILE)),
    taken("directories-without-end", Verb::List, |asked| endless(asked, DIRECTORY)),
    taken("empty-pages-without-end", Verb::List, |asked| {
        Act::Body(pages(&page(&[], Some(asked.cursor + 1))))
    }),
    taken("broken-entries-without-end", Verb::List, |asked| {
        // As many as fit in one answer, each with as much text as an error may have.
        let text = [b'x'; 4000];
        let out = Out::default().long(1).byte(1).byte(1).quad(asked.cursor + 1).long(200);
        let broken =
            |out: Out| out.byte(0).byte(0).with(&wire::error(wire::CORRUPT, &text)).quad(asked.cursor + 1);
        Act::Body((0..200).fold(out, |out, _| broken(out)))
    }),
    taken("directory-in-itself", Verb::List, |asked| {
        Act::Body(pages(&page(&[(wire::entry(b"again", asked.node, DIRECTORY, 0), 1)], None)))
    }),
    // Runs and data.
    lost("run-past-the-end", Verb::Map, |asked| mapped(asked, &[run(12, 0, 1 << 40)])),
    lost("run-that-overflows", Verb::Map, |asked| mapped(asked, &[run(12, 0, u64::MAX - 5)])),
    lost("run-of-another-file", Verb::Map, |asked| mapped(asked, &[run(12, 1, 0)])),
    lost("run-of-a-descriptor", Verb::Map, |asked| mapped(asked, &[run(12, u32::MAX, 0)])),
    lost("run-of-nothing", Verb::Map, |asked| mapped(asked, &[run(0, 0, 0)])),
    lost("runs-longer-than-asked-for", Verb::Map, |asked| {
        mapped(asked, &[Out::default().quad(1 << 40).byte(1), Out::default().quad(1 << 40).byte(1)])
    }),
    lost("runs-that-overflow", Verb::Map, |asked| {
        mapped(asked, &[Out::default().quad(u64::MAX).byte(1), Out::default().quad(u64::MAX).byte(1)])
    }),
    lost("runs-of-another-stretch", Verb::Map, |_| Act::Body(extents(1 << 30, true, &[run(12, 0, 0)]))),
    lost("runs-count-huge", Verb::Map, |_| Act::Body(Out::default().quad(0).byte(1).long(u32::MAX))),
    lost("data-past-the-runs", Verb::Map, |asked| {
        Act::WithData(extents(asked.start, true, &[Out::default().quad(2).byte(2)]), 12)
    }),
    lost("no-runs-in-the-midst", Verb::Map, |asked| Act::Body(extents(asked.start, false, &[]))),
    taken("runs-elsewhere-in-the-image", Verb::Map, |asked| mapped(asked, &[run(12, 0, 0)])),
    // Values.
    lost("link-target-huge", Verb::LinkTarget, |_| Act::Body(Out::default().blob(&[b'x'; 24 * 1024 + 1]))),
    lost("xattrs-huge", Verb::Xattrs, |_| Act::Body(Out::default().long(u32::MAX))),
    lost("xattr-name-empty", Verb::Xattrs, |_| Act::Body(Out::default().long(1).blob(b"").blob(b"x"))),
    lost("streams-huge", Verb::Streams, |_| Act::Body(Out::default().long(u32::MAX))),
    lost("stream-name-slash", Verb::Streams, |_| Act::Body(Out::default().long(1).blob(b"a/b").quad(1))),
    lost("error-without-end", Verb::Attr, |_| Act::Status(1, Out::default().byte(255))),
    lost("error-of-another-kind", Verb::Attr, |_| Act::Status(1, wire::error(99, b"?"))),
    lost("error-not-utf8", Verb::Attr, |_| Act::Status(1, wire::error(wire::CORRUPT, b"\xff"))),
    lost("error-long", Verb::Attr, |_| Act::Status(1, wire::error(wire::CORRUPT, &[b'x'; 4097]))),
    // Parents and openings.
    lost("parent-for-an-open-disk", Verb::Attr, |_| Act::Status(2, parent_question(0, b"x"))),
    lost("parent-of-nothing", Verb::Open, |_| Act::Status(2, parent_question(7, b"x"))),
    Attack {
        name: "parents-without-end",
        verb: Verb::Open,
        act: |_| Act::Status(2, parent_question(0, b"../../../../etc/passwd")),
        expected: Expected::Refused,
    },
    lost("disks-without-end", Verb::Open, |_| Act::Status(3, Out::default())),
    lost("volume-outside-of-the-mount", Verb::Open, |_| {
        Act::Body(wire::opening(&[wire::volume_at(b"../etc", 1)], &[ROOT]))
    }),
    lost("volumes-too-many", Verb::Open, |_| {
        let volumes: Vec<Out> = (0..300).map(wire::volume).collect();
        Act::Body(wire::opening(&volumes, &[ROOT; 300]))
    }),
    lost("roots-that-are-missing", Verb::Open, |_| Act::Body(wire::opening(&[wire::volume(1)], &[]))),
    lost("root-that-cannot-be", Verb::Open, |_| Act::Body(wire::opening(&[wire::volume(1)], &[u64::MAX]))),
];

fn mapped(asked: &Asked, runs: &[Out]) -> Act {
    Act::Body(extents(asked.start, true, runs))
}

fn parent_question(source: u32, path: &[u8]) -> Out {
    Out::default().long(source).blob(b"id").blob(b"").long(1).blob(path)
}

/// Whether this worker is to be one that was taken over: its host is one of this program's hosts.
pub fn is_wanted() -> bool {
    let host = std::os::unix::process::parent_id();
    let words = fs::read(format!("/proc/{host}/cmdline")).unwrap_or_default();
    words.split(|byte| *byte == 0).nth(1) == Some(crate::attacks::HOST_COMMAND.as_bytes())
}

/// The worker.
pub fn main() -> ExitCode {
    let control = std::io::stdin().as_fd().try_clone_to_owned().expect("the host's socket");
    let (_, descriptors) = receive(&control, &mut [0; 64]).expect("the channels");
    let mut descriptors = descriptors.into_iter();
    let mut channels = Vec::new();
    while let (Some(socket), Some(window)) = (descriptors.next(), descriptors.next()) {
        channels.push((socket, File::from(window)));
    }
    let build = format!("spelunk worker {}", env!("CARGO_PKG_VERSION"));
    let hello = Out::default().blob(build.as_bytes()).byte(1).long(0);
    send(&channels.last().expect("a channel").0, &hello.0);
    send(&control, &std::process::id().to_le_bytes());
    for (socket, window) in channels {
        std::thread::spawn(move || serve(&socket, &window));
    }
    let _ = poll(&mut [PollFd::new(&control, PollFlags::RDHUP)], None);
    ExitCode::SUCCESS
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> Option<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights.collect::<Vec<_>>()),
        _ => None,
    });
    let descriptors = rights.flatten().collect();
    (got.bytes > 0).then_some((got.bytes, descriptors))
}

fn send(socket: &OwnedFd, bytes: &[u8]) {
    let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL);
}

/// The attack that the image names.
static ATTACK: OnceLock<Option<&'static Attack>> = OnceLock::new();

fn serve(socket: &OwnedFd, window: &File) {
    let mut request = [0; 65536];
    while let Some((len, descriptors)) = receive(socket, &mut request) {
        let asked = Asked::parse(&request[..len]).expect("a request");
        if let Some(image) = descriptors.into_iter().next().map(File::from) {
            ATTACK.get_or_init(|| attack_of(&image));
        }
        let attack = ATTACK.get().copied().flatten().filter(|attack| attack.verb == asked.verb);
        // Whoever asks for parents once goes on asking.
        let attack = attack.or_else(|| {
            let endless = ATTACK.get().copied().flatten()?;
            (asked.verb == Verb::Parent && endless.verb == Verb::Open).then_some(endless)
        });
        let act = attack.map_or(Act::Honest, |attack| (attack.act)(&asked));
        answer(socket, window, &asked, act);
    }
}

fn attack_of(image: &File) -> Option<&'static Attack> {
    let mut head = [0; 64];
    image.read_exact_at(&mut head, 0).ok()?;
    let name = head.strip_prefix(MAGIC.as_bytes())?.split(|byte| *byte == b'\n').next()?;
    ATTACKS.iter().find(|attack| attack.name.as_bytes() == name)
}

fn answer(socket: &OwnedFd, window: &File, asked: &Asked, act: Act) {
    match act {
        Act::Honest => say(socket, window, 0, &honest(asked), 0),
        Act::Body(body) => say(socket, window, 0, &body, 0),
        Act::WithData(body, len) => say(socket, window, 0, &body, len),
        Act::Status(status, body) => say(socket, window, status, &body, 0),
        Act::Packet(packet) => send(socket, &packet),
        Act::Times(count) => (0..count).for_each(|_| say(socket, window, 0, &honest(asked), 0)),
        Act::After(wait) => {
            std::thread::sleep(wait);
            say(socket, window, 0, &honest(asked), 0);
        }
        Act::WithDescriptors => with_descriptors(socket, window, &honest(asked)),
        Act::Scribbling => scribble(socket, window, asked),
        Act::Hollow => hollow(socket, window, asked),
        Act::Silence => loop {
            std::thread::park();
        },
        Act::Die => std::process::exit(1),
    }
}

fn packet(status: u8, body: &Out, data: usize) -> Vec<u8> {
    let length = |len: usize| u32::try_from(len).expect("a short answer");
    Out::default().byte(status).long(length(body.0.len())).long(length(data)).0
}

fn say(socket: &OwnedFd, window: &File, status: u8, body: &Out, data: usize) {
    window.write_all_at(&body.0, 0).expect("a window");
    send(socket, &packet(status, body, data));
}

fn with_descriptors(socket: &OwnedFd, window: &File, body: &Out) {
    window.write_all_at(&body.0, 0).expect("a window");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let own = [socket.as_fd(); 8];
    assert!(control.push(SendAncillaryMessage::ScmRights(&own)));
    let _ = sendmsg(socket, &[IoSlice::new(&packet(0, body, 0))], &mut control, SendFlags::NOSIGNAL);
}

/// Answers with a good name and changes it to a bad one, again and again, while the host reads.
fn scribble(socket: &OwnedFd, window: &File, asked: &Asked) {
    let body = honest(asked);
    let mut bad = body.clone();
    for byte in bad.0.iter_mut().filter(|byte| **byte == b'o') {
        *byte = b'/';
    }
    window.write_all_at(&body.0, 0).expect("a window");
    send(socket, &packet(0, &body, 0));
    for _ in 0..200 {
        window.write_all_at(&bad.0, 0).expect("a window");
        window.write_all_at(&body.0, 0).expect("a window");
    }
}

/// Takes the window's memory away from under the host, as far as the seals let it.
fn hollow(socket: &OwnedFd, window: &File, asked: &Asked) {
    let body = honest(asked);
    window.write_all_at(&body.0, 0).expect("a window");
    assert!(window.set_len(0).is_err() && window.set_len(1 << 30).is_err(), "the window is not sealed");
    fallocate(window, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 1 << 20)
        .expect("its memory is given back");
    send(socket, &packet(0, &body, 0));
}

/// What an honest worker says.
fn honest(asked: &Asked) -> Out {
    let size = CONTENT.len() as u64;
    let good = wire::entry(b"good", GOOD, FILE, size);
    let sub = wire::entry(b"sub", SUB, DIRECTORY, 0);
    let inner = wire::entry(b"inner", INNER, FILE, size);
    let link = wire::entry(b"link", LINK, SYMLINK, 4);
    let content = extents(0, true, &[run(size, 0, CONTENT_AT)]);
    match asked.verb {
        Verb::Open | Verb::Parent => wire::opening(&[wire::volume(1)], &[ROOT]),
        Verb::Lookup if asked.name == b"sub" => sub,
        Verb::Lookup => good,
        // One page is always enough for whoever walks.
        Verb::List if asked.node == ROOT => pages(&page(&[(good, 1), (sub, 2), (link, 3)], None)),
        Verb::List if asked.node == SUB => pages(&page(&[(inner, 1)], None)),
        Verb::List => pages(&page(&[], None)),
        Verb::Attr => match asked.node {
            ROOT | SUB => wire::attr(DIRECTORY, 0),
            LINK => wire::attr(SYMLINK, 4),
            _ => wire::attr(FILE, size),
        },
        Verb::Read => Out::default(),
        Verb::Map => content,
        Verb::MapFiles => {
            let out = Out::default().long(asked.count);
            (0..asked.count).fold(out, |out, _| out.byte(1).with(&content).byte(0))
        }
        Verb::LinkTarget => Out::default().blob(b"good"),
        Verb::Xattrs | Verb::Streams => Out::default().long(0),
    }
}
