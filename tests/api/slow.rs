//! Clients that take their time.

use super::library::{self, C};
use super::raw::connect;
use super::server::{STOP_PATIENCE, Server};
use crate::fixture;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long somebody may send a byte a second.
const CLOSED_AFTER: Duration = Duration::from_secs(20);

/// Whether the server has closed a connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(1))).expect("a limit");
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

#[test]
fn who_sends_a_byte_a_second_keeps_nobody_waiting_and_nothing_open() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let body = "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    let starts = ["", "GET /api/v1 HTTP/1.1\r\nX: ", body, "PROPFIND /dav/ HTTP/1.1\r\n"];
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = (0..80)
        .map(|number| {
            let mut stream = connect(server.address());
            stream.write_all(starts[number % starts.len()].as_bytes()).expect("the first bytes");
            stream
        })
        .collect();

    while !slow.is_empty() && start.elapsed() < CLOSED_AFTER {
        for stream in &mut slow {
            // Where it is closed already, this fails.
            _ = stream.write_all(b"x");
        }
        let asked = Instant::now();
        admin.get(&format!("/list/{C}/docs")).ok();
        assert!(asked.elapsed() < Duration::from_secs(5), "others wait");
        std::thread::sleep(Duration::from_secs(1).saturating_sub(asked.elapsed()));
        slow.retain_mut(|stream| !is_closed(stream));
    }

    assert_eq!(slow.len(), 0, "connections are open after {:?}", start.elapsed());
    server.stop();
}

#[test]
fn server_ends_while_slow_downloads_go_on() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::endless());
    let (server, admin) = Server::ready(library.path());
    let cookie = admin.header("cookie").to_owned();
    let mut slow = Vec::new();
    for what in ["file/", "zip?compression=store&path=", "tar?path=", "zip?path=", "file/"].repeat(2) {
        let mut stream = connect(server.address());
        let target = format!("/api/v1/{what}{C}/endless");
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut first = [0; 12];
        stream.read_exact(&mut first).expect("an answer");
        assert_eq!(&first, b"HTTP/1.1 200", "{what}");
        slow.push(stream);
    }

    let took = server.stop();

    assert!(took < STOP_PATIENCE, "{took:?}");
}

#[test]
fn idle_server_ends_at_once() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    admin.get(&format!("/list/{C}")).ok();
    // One that is kept for another request keeps nobody waiting.
    let _kept = connect(server.address());

    let took = server.stop();

    assert!(took < Duration::from_secs(7), "{took:?}");
}
