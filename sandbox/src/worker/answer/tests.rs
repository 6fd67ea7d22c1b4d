//! Requests against trees that misbehave, with host and worker as two threads.

use super::*;
use crate::channel::Socket;
use crate::host::line::Line;
use crate::shared::{self, HostWindow};
use crate::wire::{Status, whole};
use crate::worker::Ends;
use spelunk_tree::{
    Attr, Cursor, DiskInfo, Entry, Error, ErrorKind, Kind, Name, Page, Run, StreamInfo, TreeInfo, Xattr,
};
use std::time::{Duration, Instant};

/// A tree of one file, of which node 1 is good, node 2 panics, and node 3 has too much of everything.
struct Odd;

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

impl Tree for Odd {
    fn info(&self) -> &TreeInfo {
        unreachable!("asked only when a disk is opened")
    }

    fn root(&self) -> NodeId {
        node(1)
    }

    fn lookup(&self, _: NodeId, name: &Name) -> Result<Entry> {
        Ok(Entry { name: name.clone(), node: node(1), attr: Attr::new(Kind::File) })
    }

    fn list(&self, _: NodeId, _: Cursor, _: usize) -> Result<Page> {
        Ok(Page { entries: Vec::new(), next: None })
    }

    fn attr(&self, id: NodeId) -> Result<Attr> {
        assert!(id != node(2), "node {} is bad", id.get());
        Ok(Attr::new(Kind::File))
    }

    fn read(&self, _: NodeId, _: Option<&Name>, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        buffer.fill(u8::try_from(offset % 256).unwrap());
        Ok(buffer.len())
    }

    fn runs(&self, id: NodeId, _: Option<&Name>, _: u64, len: u64, runs: &mut Vec<Run>) -> Result<()> {
        let count = if id == node(3) { RUNS_MAX + 5 } else { 1 };
        let place = if id == node(3) { Place::Zero } else { Place::Opaque };
        runs.extend(vec![Run { len: len / 65_536, place }; count]);
        Ok(())
    }

    fn link_target(&self, _: NodeId) -> Result<Vec<u8>> {
        Ok(vec![b'x'; limits::LINK_TARGET_BYTES_MAX + 1])
    }

    fn xattrs(&self, id: NodeId) -> Result<Vec<Xattr>> {
        let count = if id == node(3) { 20 } else { 1 };
        let value = vec![0; limits::XATTR_VALUE_BYTES_MAX];
        Ok(vec![Xattr::new(*b"user.x", value)?; count])
    }

    fn streams(&self, _: NodeId) -> Result<Vec<StreamInfo>> {
        let stream = StreamInfo { name: Name::new(*b"s")?, size: 1 };
        Ok(vec![stream; limits::STREAMS_MAX + 1])
    }
}

/// The host's end of a worker thread that serves [`Odd`].
fn line() -> Line {
    keep_panics_quiet();
    let (ours, theirs) = Socket::pair().unwrap();
    let memory = shared::create().unwrap();
    let window = HostWindow::new(&memory).unwrap();
    std::thread::spawn(move || {
        let mut channel = Channel::new(Ends { socket: theirs, window: memory }).unwrap();
        let info = DiskInfo {
            layers: Vec::new(),
            size_bytes: 0,
            sector_bytes: 512,
            table: String::new(),
            table_id: String::new(),
            volumes: Vec::new(),
            notes: Vec::new(),
            others: Vec::new(),
        };
        let server = Server::default();
        let disk = OpenDisk { info, trees: vec![None, Some(Arc::new(Odd))] };
        assert!(server.disk.set(disk).is_ok());
        while let Ok(received) = channel.receive() {
            server.answer(received, &mut channel).unwrap();
        }
    });
    Line { socket: ours, window }
}

fn ask(line: &Line, request: &Request, data: &mut [u8]) -> Result<(Vec<u8>, usize)> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let answer = line.exchange(request, None, data, deadline).unwrap();
    match answer.status {
        Status::Done => Ok((answer.body, answer.data_len)),
        _ => Err(Error::from_bytes(&answer.body).unwrap()),
    }
}

fn kind_of(answer: Result<(Vec<u8>, usize)>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind())
}

#[test]
fn panic_is_the_answer_to_its_request_alone() {
    let line = line();

    let panicked = ask(&line, &Request::Attr { tree: 1, node: node(2) }, &mut []).unwrap_err();
    let next = ask(&line, &Request::Attr { tree: 1, node: node(1) }, &mut []).unwrap();

    assert_eq!(panicked.kind(), ErrorKind::Internal);
    assert!(panicked.cause().unwrap().message().starts_with("node 2 is bad at "));
    assert_eq!(Attr::from_bytes(&next.0), Ok(Attr::new(Kind::File)));
}

#[test]
fn answers_over_their_limits_are_errors() {
    let line = line();

    for request in [
        Request::LinkTarget { tree: 1, node: node(1) },
        Request::Streams { tree: 1, node: node(1) },
        Request::Xattrs { tree: 1, node: node(3) },
    ] {
        assert_eq!(kind_of(ask(&line, &request, &mut [])), Some(ErrorKind::Limit), "{request:?}");
    }
    assert!(ask(&line, &Request::Xattrs { tree: 1, node: node(1) }, &mut []).is_ok());
}

#[test]
fn volume_without_a_tree_and_second_image_are_errors() {
    let line = line();

    for tree in [0, 2, 255] {
        let answer = ask(&line, &Request::Attr { tree, node: node(1) }, &mut []);
        assert_eq!(kind_of(answer), Some(ErrorKind::Internal));
    }
    let request = Request::Open {
        size: 0,
        snapshot: None,
        show_metafiles: false,
        code_page: 437,
        time_zone: "UTC".into(),
    };
    let again = ask(&line, &request, &mut []);
    assert_eq!(kind_of(again), Some(ErrorKind::Internal));
}

#[test]
fn stretch_that_must_be_decoded_is_mapped_alone_and_comes_with_its_bytes() {
    let line = line();
    let mut data = vec![0; 65_536 * 3];
    let (start, span, offset) = (0, 65_536 * 300, 7);
    let request = Request::Map { tree: 1, node: node(1), stream: None, start, span, offset, len: 65_536 * 3 };

    let (body, data_len) = ask(&line, &request, &mut data).unwrap();

    let extents = Extents::from_bytes(&body).unwrap();
    assert_eq!(extents.runs, [Run { len: 3, place: Place::Opaque }]);
    assert_eq!((extents.start, extents.is_last), (7, true));
    assert_eq!((data_len, data), (65_536 * 3, vec![7; 65_536 * 3]));
}

#[test]
fn many_files_are_mapped_at_once_and_small_ones_come_with_their_bytes() {
    let line = line();
    let request = Request::MapFiles { tree: 1, nodes: vec![node(1), node(3), node(2)] };

    let (body, _) = ask(&line, &request, &mut []).unwrap();

    let files: Vec<Result<KnownFile>> = whole(&body, |from| from.list(3)).unwrap();
    let small = files[0].as_ref().unwrap();
    assert_eq!(small.extents.runs, [Run { len: 16, place: Place::Opaque }]);
    assert_eq!(small.data, Some(vec![0; 16]));
    assert_eq!(files[1].as_ref().map_err(Error::kind), Err(ErrorKind::Limit), "in too many runs");
    assert_eq!(files[2].as_ref().map(|file| file.data.clone()), Ok(Some(vec![0; 16])));
}

#[test]
fn map_of_too_many_runs_is_cut_and_says_so() {
    let line = line();
    let span = 65_536 * 8;
    let request = Request::Map { tree: 1, node: node(3), stream: None, start: 0, span, offset: 0, len: 9 };

    let (body, data_len) = ask(&line, &request, &mut [0; 9]).unwrap();

    let extents = Extents::from_bytes(&body).unwrap();
    assert_eq!((extents.runs.len(), extents.is_last, data_len), (RUNS_MAX, false, 0));
}

#[test]
fn read_fills_the_whole_window() {
    let line = line();
    let mut data = vec![0; WINDOW_BYTES];
    let len = u32::try_from(WINDOW_BYTES).unwrap();
    let request = Request::Read { tree: 1, node: node(1), stream: None, offset: 5, len };

    assert_eq!(ask(&line, &request, &mut data).unwrap().1, WINDOW_BYTES);
    assert!(data.iter().all(|byte| *byte == 5));
}
