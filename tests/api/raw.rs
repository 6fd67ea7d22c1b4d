//! Requests as bytes, where a client library would tidy them up.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long the server may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the server.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

/// Sends bytes, and reads until the server closes the connection. That it does so early is no failure.
#[track_caller]
pub fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = connect(address);
    _ = stream.write_all(request);
    rest(&mut stream)
}

/// Reads until the server closes the connection.
#[track_caller]
pub fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert!(
            error.kind() == std::io::ErrorKind::ConnectionReset,
            "the connection stays open: {error}, after {}",
            String::from_utf8_lossy(&answer)
        );
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of each answer in what a server sent.
pub fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..3)?.parse().ok()).collect()
}
