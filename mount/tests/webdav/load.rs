//! What stays bounded, however much is asked.

use super::memory_tree::{MemoryTree, directory, file};
use super::watched::{Call, Watched};
use super::{Server, User};
use spelunk_mount::webdav::Options;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A directory `dir` of many files.
pub fn large_directory(entries: usize) -> MemoryTree {
    let mut tree = MemoryTree::new();
    let dir = tree.add("dir", directory());
    for number in 0..entries {
        tree.add_to(dir, &format!("file number {number}"), file(b"data"));
    }
    tree
}

/// A file of a gigabyte that costs no memory.
pub fn large_file() -> MemoryTree {
    let mut tree = MemoryTree::new();
    let index = tree.add("file", file(b""));
    tree.resize(index, 1 << 30);
    tree
}

/// Counts the calls that `counted` says.
fn counting(
    tree: MemoryTree,
    counted: impl Fn(Call) -> bool + Send + Sync + 'static,
) -> (Server, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let watched = Watched::new(tree, move |call| {
        counter.fetch_add(usize::from(counted(call)), Ordering::SeqCst);
        Ok(())
    });
    (Server::new(watched), count)
}

#[test]
fn listing_of_20_000_entries_is_whole_and_asks_for_no_entry_by_itself() {
    let (server, asked) = counting(large_directory(20_000), |call| matches!(call, Call::Attr | Call::Lookup));

    let answer = server.propfind("/dav/dir/", 1);

    assert!(answer.is_whole);
    assert_eq!(answer.header("transfer-encoding"), "chunked");
    let hrefs = answer.hrefs();
    assert_eq!((hrefs.len(), hrefs[20_000]), (20_001, "/dav/dir/file%20number%2019999"));
    // The root's attributes, and the directory.
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// Sends a request, reads the beginning of the answer, and lets the rest wait; then how many calls were made.
fn calls_for_a_reader_that_stops(server: &Server, request: &str, calls: &AtomicUsize) -> usize {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\nDepth: 1\r\n\r\n").as_bytes()).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    let mut last = 0;
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let now = calls.load(Ordering::SeqCst);
        if now == last {
            return now;
        }
        last = now;
    }
}

#[test]
fn reader_that_stops_is_not_read_ahead_for() {
    let (server, reads) = counting(large_file(), |call| call == Call::Read);
    let reads = calls_for_a_reader_that_stops(&server, "GET /dav/file", &reads);
    // What goes into the kernel's buffers, and two pieces.
    assert!(reads < 30, "{reads} reads of 1024");

    let (server, pages) = counting(large_directory(60_000), |call| matches!(call, Call::List(_)));
    let pages = calls_for_a_reader_that_stops(&server, "PROPFIND /dav/dir/", &pages);
    assert!(pages < 60, "{pages} pages of 118");
}

#[test]
fn calls_at_the_same_time_are_bounded() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (now.clone(), most.clone());
    let tree = Watched::new(large_directory(10), move |_| {
        peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        running.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    });
    let options = Options { calls_max: 3, ..Options::default() };
    let server = Server::with(tree, options, User::default());

    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                assert_eq!(server.get("/dav/dir/file%20number%203", "").text(), "data");
                assert_eq!(server.propfind("/dav/dir/", 1).hrefs().len(), 11);
            });
        }
    });

    assert_eq!((now.load(Ordering::SeqCst), most.load(Ordering::SeqCst)), (0, 3));
}

#[test]
fn call_that_panics_costs_its_request_alone() {
    let tree = Watched::new(large_directory(1), |call| {
        assert_ne!(call, Call::Read, "a panic for the test");
        Ok(())
    });
    let server = Server::new(tree);

    let answer = server.get("/dav/dir/file%20number%200", "");

    assert_eq!((answer.status, answer.text()), (500, "internal error\n"));
    assert_eq!(server.propfind("/dav/dir/", 1).hrefs().len(), 2);
}
