//! What nobody means well with: paths that climb, requests that are none, guests that point at the host.

use super::client::Client;
use super::library::{self, C};
use super::raw::{ask, connect, rest, statuses};
use super::server::Server;
use crate::fixture;
use serde_json::json;
use spelunk_testkit::peer::Directory;
use spelunk_testkit::{skip, tool};
use std::fs;
use std::io::Write;

/// What stands in /etc/passwd, and nowhere else.
const PASSWD: &str = "root:x:0:0";

/// Ways to say `..`, and what else might lead out.
const CLIMBING: [&str; 18] = [
    "../../../../../../../../etc/passwd",
    "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2f%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5c..%5c..%5cetc%5cpasswd",
    "..\\..\\..\\..\\etc\\passwd",
    "%252e%252e%252f%252e%252e%252fetc%252fpasswd",
    "..;/..;/..;/..;/etc/passwd",
    "....//....//....//etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "/%2fetc/passwd",
    "%00/etc/passwd",
    "..%00/..%00/etc/passwd",
    "%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    "..%ff/..%ff/etc/passwd",
    "proc/self/root/etc/passwd",
];

/// The header that lets somebody in, as a line.
fn authorization(client: &Client) -> String {
    format!("Authorization: {}", client.header("authorization"))
}

fn get(server: &Server, target: &str, header: &str) -> String {
    let host = server.address();
    ask(
        host,
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{header}\r\nConnection: close\r\n\r\n").as_bytes(),
    )
}

#[test]
fn no_path_leads_to_the_host() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::many_by_links());
    let (server, admin) = Server::ready(library.path());
    let who = authorization(&server.token(&admin, &json!({})));
    let made =
        admin.post("/shares", &json!({ "path": format!("{C}/d"), "expires_in": 600 })).expect(201).json();
    let link = made["link"].as_str().expect("a link").to_owned();

    let mut starts: Vec<String> = ["/", "/dav/", "/static/", "/s/", &link].map(str::to_owned).to_vec();
    for what in ["list", "node", "file", "versions", "clients"] {
        starts.extend([
            format!("/api/v1/{what}/"),
            format!("/api/v1/{what}/{C}/"),
            format!("{link}api/v1/{what}/{C}/d/"),
        ]);
    }
    for what in ["zip?path=", "tar?path=", "search?q=passwd&in=", "index?in="] {
        starts.extend([
            format!("/api/v1/{what}"),
            format!("/api/v1/{what}{C}/"),
            format!("{link}api/v1/{what}{C}/d/"),
        ]);
    }
    starts.extend([format!("/dav/{C}/"), format!("/api/v1/file/{C}/d/1?follow=1&stream=")]);
    for start in &starts {
        for climbing in CLIMBING {
            let answer = get(&server, &format!("{start}{climbing}"), &who);
            assert!(!answer.contains(PASSWD), "{start}{climbing}: {answer}");
            let status = statuses(&answer);
            // Of a name that nothing has, `versions`, `search` and `index` say that.
            let is_absent = answer.contains("\"absent\"") || answer.contains("\"items\":0");
            let is_refused = status.len() == 1 && matches!(status[0], 400..500);
            assert!(is_refused || is_absent, "{start}{climbing}: {answer}");
        }
    }
    // In the form that proxies send.
    let absolute = format!("http://{}/api/v1/file/../../../../../etc/passwd", server.address());
    assert!(matches!(statuses(&get(&server, &absolute, &who))[..], [400..500]));
    server.stop();
}

/// What is in something compressed.
fn unpacked(compressed: &[u8]) -> String {
    let file = Directory::new().expect("a directory");
    let name = file.path().join("a.zst");
    fs::write(&name, compressed).expect("a file");
    let bytes = tool::run("zstd", ["-dc", name.to_str().expect("UTF-8")]).expect("zstd takes it");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn links_of_guests_lead_to_nothing_of_the_host() {
    if !fixture::can_be_made() || !skip::unless_found(&["zstd"]) {
        return;
    }
    let library = library::of(&fixture::many_by_links());
    let (server, admin) = Server::ready(library.path());

    for name in ["absolute", "climbing"] {
        let target = admin.get(&format!("/node/{C}/{name}")).ok().json()["target"].clone();
        assert!(
            target.as_str().is_some_and(|target| target.ends_with("etc/passwd")),
            "as the guest wrote it"
        );
        let asked = ["", "?follow=1", "/?follow=1", "?inline=1&follow=1"]
            .map(|query| format!("/file/{C}/{name}{query}"));
        for path in asked.iter().map(String::as_str).chain([&*format!("/list/{C}/{name}")]) {
            let answer = admin.get(path);
            assert!(answer.status >= 400 && !answer.text().contains(PASSWD), "{path}: {}", answer.text());
        }
        let dav = admin.below("/dav").with("depth", "0");
        for method in ["GET", "HEAD", "PROPFIND"] {
            assert_eq!(dav.send(method, &format!("/{C}/{name}"), None).status, 404, "{method}");
        }
        for kind in ["zip", "tar"] {
            admin.get(&format!("/{kind}?path={C}/{name}&follow=1")).refused(404, "not-found");
        }
        let stored = admin.get(&format!("/zip?path={C}/{name}&compression=store")).ok();
        assert!(!String::from_utf8_lossy(&stored.body).contains(PASSWD));
        let tar = unpacked(&admin.get(&format!("/tar?path={C}/{name}")).ok().body);
        assert!(tar.contains("etc/passwd") && !tar.contains(PASSWD));
    }
    let tar = unpacked(&admin.get(&format!("/tar?path={C}&follow=1")).ok().body);
    assert!(tar.contains("etc/passwd") && !tar.contains(PASSWD));
    server.stop();
}

#[test]
fn nothing_in_a_request_becomes_a_header_of_the_answer() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::hostile());
    let (server, admin) = Server::ready(library.path());
    let who = authorization(&server.token(&admin, &json!({})));
    let injected = "x%0d%0aSet-Cookie:%20injected=1%0d%0aX-Injected:%201";

    for target in [
        format!("/api/v1/file/{C}/{injected}"),
        format!("/api/v1/file/{C}/two%0Alines?stream={injected}"),
        format!("/api/v1/zip?path={C}/{injected}"),
        format!("/api/v1/list/{C}?filter={injected}"),
        format!("/api/v1/list/{C}?sort={injected}"),
        format!("/s/{injected}/api/v1/list"),
        format!("/dav/{C}/{injected}"),
        format!("/dav/{injected}/"),
        format!("/{injected}"),
    ] {
        let answer = get(&server, &target, &who);
        let (head, _) = answer.split_once("\r\n\r\n").expect("headers");
        assert!(!head.to_lowercase().contains("injected"), "{target}: {head}");
    }
}

#[test]
fn requests_that_are_none_are_refused_and_others_served() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let host = server.address();
    let long = "a".repeat(100_000);
    let many: String = (0..500).map(|number| format!("X-{number}: x\r\n")).collect();

    for (request, expected) in [
        ("GET\r\n\r\n".to_owned(), 400),
        ("\0\0\0\0\r\n\r\n".to_owned(), 400),
        ("GET /api/v1 HTTP/9.9\r\nHost: x\r\n\r\n".to_owned(), 400),
        ("GET /api/v1 HTTP/1.1\r\nHost : x\r\n\r\n".to_owned(), 400),
        ("GET /api/v1 HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n".to_owned(), 400),
        ("GET /api/v1 HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n".to_owned(), 400),
        ("GET /api/v1 HTTP/1.1\r\nH\u{e9}: x\r\n\r\n".to_owned(), 400),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 431),
        (format!("GET /api/v1 HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"), 431),
        (format!("GET /api/v1 HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".to_owned(), 400),
    ] {
        let answer = ask(host, request.as_bytes());
        let shown = request.get(..60).unwrap_or(&request).escape_debug();
        assert!(matches!(statuses(&answer)[..], [400..500] | []), "{shown}: {answer}");
        assert!(
            statuses(&answer).first().is_none_or(|status| *status == expected || *status == 414),
            "{shown}: {answer}"
        );
    }
    let method = format!(
        "FROBNICATE /api/v1/list HTTP/1.1\r\nHost: x\r\n{}\r\nConnection: close\r\n\r\n",
        "X-Spelunk-CSRF: 1"
    );
    assert!(matches!(statuses(&ask(host, method.as_bytes()))[..], [401 | 405]));
    for range in
        ["bytes=".to_owned() + &"0-1,".repeat(5000), format!("bytes=-{long}"), "bytes=\u{661}-".to_owned()]
    {
        let range: String = range.chars().take(50_000).collect();
        let who = format!("{}\r\nRange: {range}", authorization(&server.token(&admin, &json!({}))));
        let answer = get(&server, &format!("/api/v1/file/{C}/hello.txt"), &who);
        assert!(matches!(statuses(&answer)[..], [200 | 206 | 400 | 431]), "{answer}");
    }
    assert_eq!(admin.get(&format!("/file/{C}/hello.txt")).ok().body.len(), 13);
    server.stop();
}

#[test]
fn requests_cannot_be_smuggled() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, _admin) = Server::ready(library.path());
    let host = server.address();
    let hidden = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let post = |headers: &str, body: &str| {
        let head = "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
        ask(host, format!("{head}{headers}\r\n\r\n{body}{hidden}").as_bytes())
    };

    // Two honest ones are answered one after the other.
    let first = "GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n";
    assert_eq!(statuses(&ask(host, format!("{first}{hidden}").as_bytes())), [401, 200]);

    for headers in [
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 5",
        "Content-Length: -1",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding : chunked",
    ] {
        let answer = post(headers, "{}");
        assert!(matches!(statuses(&answer)[..], [400] | []), "{headers}: {answer}");
    }
    // RFC 9112, section 6.1: the chunks count, and the connection ends.
    let both = post("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n");
    assert!(matches!(statuses(&both)[..], [400]), "{both}");
    for chunks in ["5;\r\nabc", "g\r\n", "ffffffffffffffffff\r\n", "-1\r\n", "5\nhello"] {
        let answer = post("Transfer-Encoding: chunked", chunks);
        assert!(matches!(statuses(&answer)[..], [400] | []), "{chunks:?}: {answer}");
    }
}

#[test]
fn bodies_have_a_limit() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let host = server.address();

    let form = |bytes: usize| format!("path={C}/docs&x={}", "x".repeat(bytes));
    admin.form("/zip", &form(3 << 20)).ok();
    // Said, and not sent.
    let head = format!("POST /api/v1/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n");
    let said =
        ask(host, format!("{head}Content-Length: 999999999999\r\nConnection: close\r\n\r\n").as_bytes());
    assert_eq!(statuses(&said), [413]);
    assert!(said.contains("application/problem+json") && said.contains("urn:spelunk:limit"), "{said}");
    // More than a form, and more than a login, may have. That one is refused is told while one still sends.
    for (path, kind, body) in [
        ("zip", "application/x-www-form-urlencoded", form(5 << 20)),
        ("login", "application/json", json!({ "name": "x".repeat(2 << 20), "password": "x" }).to_string()),
    ] {
        let head = format!("POST /api/v1/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {kind}\r\n");
        let request = format!("{head}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        let answer = ask(host, request.as_bytes());
        assert!(matches!(statuses(&answer)[..], [400 | 413] | []), "{path}: {answer}");
    }
    // Sent, and not said.
    let mut stream = connect(host);
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).expect("headers");
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65536));
    let sent = (0..1000).take_while(|_| stream.write_all(chunk.as_bytes()).is_ok()).count();
    assert!(sent < 1000, "the server reads on");
    drop(rest(&mut stream));
    let deep = "[".repeat(500_000);
    let nested = admin.send_unchecked("POST", "/tokens", Some(("application/json", deep.as_bytes())));
    nested.refused(400, "bad-request");
    server.stop();
}
