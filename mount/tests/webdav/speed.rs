//! Measurements: `cargo test --release -p spelunk-mount --test webdav -- --ignored --nocapture speed`.

use super::Server;
use super::load::{large_directory, large_file};
use std::process::Command;
use std::time::Instant;

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
    let server = Server::new(large_directory(100));
    let start = Instant::now();
    let urls = server.url("/dav/dir/file%20number%20[0-99]?[0-99]");
    let status = Command::new("curl").args(["-sSf", "-o", "/dev/null", &urls]).status();
    assert!(status.unwrap().success());
    println!("GET of 10,000 small files, one by one: {:.3} s", start.elapsed().as_secs_f64());
    let server = Server::new(large_file());
    for _ in 0..3 {
        let start = Instant::now();
        let status =
            Command::new("curl").args(["-sSf", "-o", "/dev/null", &server.url("/dav/file")]).status();
        assert!(status.unwrap().success());
        let seconds = start.elapsed().as_secs_f64();
        println!("GET of 1 GiB: {seconds:.3} s, {:.2} GB/s", f64::from(1 << 30) / 1e9 / seconds);
    }
}
