//! Bounds that hold on slow machines, too, and measurements: `cargo test --release -p spelunk-mount --test webdav --
//! --ignored --nocapture speed`.

use super::Server;
use super::memory_tree::{MemoryTree, directory, file};
use std::process::Command;
use std::time::Instant;

fn large_directory(entries: usize) -> MemoryTree {
    let mut tree = MemoryTree::new();
    let dir = tree.add("dir", directory());
    for number in 0..entries {
        tree.add_to(dir, &format!("file number {number}"), file(b"data"));
    }
    tree
}

#[test]
fn listing_of_20_000_entries_is_whole_and_streams() {
    let server = Server::new(large_directory(20_000));

    let answer = server.propfind("/dav/dir/", 1);

    assert!(answer.is_whole);
    assert_eq!(answer.header("transfer-encoding"), "chunked");
    let hrefs = answer.hrefs();
    assert_eq!((hrefs.len(), hrefs[20_000]), (20_001, "/dav/dir/file%20number%2019999"));
}

#[test]
#[ignore = "a measurement"]
fn listing_and_reading() {
    let server = Server::new(large_directory(20_000));
    for run in ["cold", "warm", "warm"] {
        let start = Instant::now();
        let answer = server.propfind("/dav/dir/", 1);
        let (seconds, bytes) = (start.elapsed().as_secs_f64(), answer.body.len());
        println!("PROPFIND of 20,000 entries, {run}: {seconds:.3} s, {bytes} bytes");
    }
    let mut tree = MemoryTree::new();
    let index = tree.add("file", file(b""));
    tree.resize(index, 1 << 30);
    let server = Server::new(tree);
    for _ in 0..3 {
        let start = Instant::now();
        let status =
            Command::new("curl").args(["-sSf", "-o", "/dev/null", &server.url("/dav/file")]).status();
        assert!(status.unwrap().success());
        let seconds = start.elapsed().as_secs_f64();
        println!("GET of 1 GiB: {seconds:.3} s, {:.2} GB/s", f64::from(1 << 30) / 1e9 / seconds);
    }
}
