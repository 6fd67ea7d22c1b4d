//! WebDAV over real sockets: real clients, requests as Windows and macOS send them, and attacks. Skipped, with the
//! reason, where a client is not there.

#![cfg(target_os = "linux")]
// What fails in a helper fails the test.
#![allow(clippy::unwrap_used)]

mod attacks;
mod clients;
// Trees that the tests of the mount have made; not all that those can do is of use here.
#[allow(dead_code)]
#[path = "../fuse/dir_tree.rs"]
mod dir_tree;
mod listing;
mod load;
#[allow(dead_code)]
#[path = "../fuse/memory_tree.rs"]
mod memory_tree;
mod reading;
mod replay;
mod rights;
mod speed;
mod watched;

use spelunk_mount::webdav::{Admits, Options, Webdav};
use spelunk_tree::{Name, Tree};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server on a port of its own, until it is dropped.
struct Server {
    address: SocketAddr,
    user: Arc<User>,
    runtime: Option<tokio::runtime::Runtime>,
}

/// Who asks: what they may not do, and what they did.
#[derive(Default)]
struct User {
    hidden: Vec<&'static str>,
    unreadable: Vec<&'static str>,
    downloads: Mutex<Vec<(String, u64)>>,
}

fn text(path: &[Name]) -> String {
    let names: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name.as_bytes())).collect();
    names.join("/")
}

impl Admits for User {
    fn sees(&self, path: &[Name]) -> bool {
        !self.hidden.contains(&text(path).as_str())
    }

    fn may_read(&self, path: &[Name]) -> bool {
        !self.unreadable.contains(&text(path).as_str())
    }

    fn was_read(&self, path: &[Name], bytes: u64) {
        self.downloads.lock().unwrap().push((text(path), bytes));
    }
}

impl Server {
    /// Serves a tree below `/dav`, to a user who may do everything.
    fn new(tree: impl Tree + 'static) -> Server {
        Server::with(tree, Options::default(), User::default())
    }

    fn with(tree: impl Tree + 'static, options: Options, user: User) -> Server {
        let webdav = Webdav::new(Arc::new(tree), "/dav", options);
        let user = Arc::new(user);
        let admits = user.clone();
        let answer = move |request: axum::extract::Request| {
            let (webdav, admits) = (webdav.clone(), admits.clone());
            async move { webdav.handle(request, admits).await.map(axum::body::Body::new) }
        };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback(answer);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Server { address, user, runtime: Some(runtime) }
    }

    /// The URL of a path that is encoded already.
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends bytes as they are, and reads until the server ends the connection.
    fn send(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        // A connection that is cut off is an answer, too.
        let _ = stream.read_to_end(&mut answer);
        Answer::parse(&answer)
    }

    /// Sends a request with these lines of headers, and a body.
    fn ask(&self, request: &str, headers: &str, body: &str) -> Answer {
        let headers: String = headers.lines().map(|line| format!("{}\r\n", line.trim())).collect();
        let length = body.len();
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}");
        self.send(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes())
    }

    fn get(&self, path: &str, headers: &str) -> Answer {
        self.ask(&format!("GET {path}"), headers, "")
    }

    fn propfind(&self, path: &str, depth: u8) -> Answer {
        self.ask(&format!("PROPFIND {path}"), &format!("Depth: {depth}"), "")
    }

    fn downloads(&self) -> Vec<(String, u64)> {
        self.user.downloads.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// Lines of headers, their names in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Whether the body came to its proper end.
    is_whole: bool,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let pairs = lines.map(|line| line.split_once(':').unwrap());
        let headers = pairs.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
        let mut answer = Answer { status, headers, body: bytes[end + 4..].to_vec(), is_whole: true };
        if answer.header("transfer-encoding") == "chunked" {
            (answer.body, answer.is_whole) = unchunked(&answer.body);
        } else if let Ok(length) = answer.header("content-length").parse::<usize>() {
            answer.is_whole = length == answer.body.len();
        }
        answer
    }

    /// The value of a header; empty when there is none.
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// What stands between each pair of these tags.
    fn between(&self, start: &str, end: &str) -> Vec<&str> {
        self.text().split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
    }

    fn hrefs(&self) -> Vec<&str> {
        self.between("<D:href>", "</D:href>")
    }

    /// Those of what is in the directory that was asked for.
    fn hrefs_of_entries(&self) -> impl Iterator<Item = &str> {
        self.hrefs().into_iter().skip(1)
    }
}

/// Puts a chunked body together; whether its end is there.
fn unchunked(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = bytes.windows(2).position(|part| part == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        let rest = &bytes[line + 2..];
        if length == 0 {
            return (body, true);
        }
        if rest.len() < length + 2 {
            break;
        }
        body.extend_from_slice(&rest[..length]);
        bytes = &rest[length + 2..];
    }
    (body, false)
}
