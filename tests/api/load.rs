//! Many at once.

use super::library::{self, C};
use super::server::Server;
use crate::fixture;
use sha2::{Digest, Sha256};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Memory that the server may take at most, its worker not counted, in KiB.
const MEMORY_KIB_MAX: u64 = 200 << 10;

/// Listings a second that a release build gives at least.
const LISTINGS_MIN: u64 = 2000;

const FILE_BYTES: u64 = 2 << 20;

/// The most memory that a process took so far, in KiB.
fn memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn hundred_downloads_at_once_are_whole_and_memory_is_bounded() {
    if !fixture::can_be_made() {
        return;
    }
    let bytes: Vec<u8> =
        (0..FILE_BYTES).map(|at| (at.wrapping_mul(0x9E37_79B9) >> 13 & 0xFF) as u8).collect();
    let image = fixture::image(|root| fixture::write(root, "large", &bytes));
    let library = library::of(&image);
    let (server, admin) = Server::ready(library.path());
    let expected = Sha256::digest(&bytes);

    thread::scope(|scope| {
        for number in 0..100 {
            let (admin, bytes, expected) = (&admin, &bytes, &expected);
            scope.spawn(move || {
                if number % 4 == 3 {
                    let zip = admin.get(&format!("/zip?path={C}/large&compression=store")).ok().body;
                    // The content follows the local header and the name.
                    let content = &zip[zip.len() / 2..][..1000];
                    assert!(bytes.windows(1000).any(|window| window == content), "download {number}");
                } else {
                    let body = admin.get(&format!("/file/{C}/large")).ok().body;
                    assert!(Sha256::digest(body) == *expected, "download {number}");
                }
            });
        }
    });

    let memory = memory_kib(server.pid());
    println!("100 downloads at once: {} MiB", memory >> 10);
    assert!(memory < MEMORY_KIB_MAX, "{memory} KiB");
    server.stop();
}

#[test]
fn listings_are_given_fast() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let token = server.token(&admin, &serde_json::json!({}));
    let time = Duration::from_secs(2);
    let count = AtomicU64::new(0);

    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let start = Instant::now();
                while start.elapsed() < time {
                    let answer = token.send_unchecked("GET", &format!("/list/{C}/docs"), None).ok();
                    assert!(answer.body.len() > 100);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });

    let each_second = count.load(Ordering::Relaxed) / time.as_secs();
    println!("{each_second} listings a second");
    assert!(cfg!(debug_assertions) || each_second >= LISTINGS_MIN, "{each_second} a second");
    server.stop();
}
