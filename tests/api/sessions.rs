//! Sessions: coming in, going out, what other sites can make a browser send, and what is logged of it.

use super::library::{self, C};
use super::server::{PASSWORD, READ, Server};
use crate::fixture;
use serde_json::json;

#[test]
fn other_sites_cannot_change_anything() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let browser = admin.without("x-spelunk-csrf");
    let token = json!({ "name": "stolen", "actions": ["browse"] });

    browser.post("/tokens", &token).refused(403, "denied");
    browser.form("/tokens", "name=stolen&actions=browse").refused(403, "denied");
    browser.send("POST", "/index", None).refused(403, "denied");
    browser.delete("/users/admin").refused(403, "denied");
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", &*server.origin().replace("http", "https")),
        ("origin", &*format!("{}.evil.example", server.origin())),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        admin.with(name, value).post("/tokens", &token).refused(403, "denied");
        let login = json!({ "name": "admin", "password": PASSWORD });
        server.anybody().with(name, value).post("/login", &login).refused(403, "denied");
    }
    // A form cannot send JSON, not even as plain text.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let sent = admin.send("POST", "/tokens", Some((kind, token.to_string().as_bytes())));
        sent.refused(400, "bad-request");
    }
    assert_eq!(admin.get("/tokens").ok().json()["tokens"], json!([]));
    admin
        .with("origin", server.origin())
        .with("sec-fetch-site", "same-origin")
        .post("/tokens", &token)
        .expect(201);
    // Reading is for the browser to keep from others: nothing says that they may have it.
    let read = browser.with("origin", "http://evil.example").get("/clients").ok();
    assert_eq!(read.header("access-control-allow-origin"), "");
    let asked = browser.with("origin", "http://evil.example").with("access-control-request-method", "POST");
    let preflight = asked.send_unchecked("OPTIONS", "/tokens", None);
    assert!(preflight.header("access-control-allow-origin").is_empty() && preflight.status != 200);
    server.stop();
}

#[test]
fn session_is_always_new_and_ends() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let login = json!({ "name": "admin", "password": PASSWORD });

    // A cookie that somebody brings is not taken.
    let brought = "spelunk_session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let answer = server.anybody().with("cookie", brought).post("/login", &login).ok();
    let cookie = answer.header("set-cookie");
    assert!(!cookie.contains("AAAAAAAA"), "{cookie}");
    for word in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(word), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    assert_eq!(answer.header("cache-control"), "no-store");
    server.anybody().with("cookie", brought).get("/me").refused(401, "unauthenticated");

    // Logging in anew ends the session that was.
    let first = answer.session(&server.anybody());
    let second = first.post("/login", &login).ok().session(&server.anybody());
    first.get("/me").refused(401, "unauthenticated");
    second.get("/me").ok();
    let out = second.send("POST", "/logout", None).expect(204);
    assert!(out.header("set-cookie").contains("Max-Age=0"));
    second.get("/me").refused(401, "unauthenticated");
    admin.get("/me").ok();

    // A new password ends all others.
    let alice = server.session(&admin, "alice", &[("*", READ)]);
    let other = server.log_in("alice");
    let change = json!({ "old": PASSWORD, "new": "another long password" });
    alice
        .post("/password", &json!({ "old": "wrong", "new": "another long password" }))
        .refused(403, "denied");
    let renewed = alice.post("/password", &change).ok().session(&server.anybody());
    other.get("/me").refused(401, "unauthenticated");
    alice.get("/me").refused(401, "unauthenticated");
    assert_eq!(renewed.get("/me").ok().json()["name"], "alice");
}

#[test]
fn passwords_can_be_tried_a_few_times_only() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let attempt =
        |name: &str| server.anybody().post("/login", &json!({ "name": name, "password": "wrong password" }));

    let same = attempt("admin").refused(401, "unauthenticated").json();
    assert_eq!(
        attempt("nobody").refused(401, "unauthenticated").json(),
        same,
        "whether there is such a user"
    );
    let mut refused = attempt("admin");
    for _ in 0..20 {
        if refused.status == 429 {
            break;
        }
        refused = attempt("admin");
    }
    let wait: u64 = refused.refused(429, "too-many-attempts").header("retry-after").parse().expect("seconds");
    assert!((1..=120).contains(&wait), "{wait}");
    let login = json!({ "name": "admin", "password": PASSWORD });
    server.anybody().post("/login", &login).refused(429, "too-many-attempts");
    // Nobody's word about where they are counts, but that of a proxy one knows.
    server
        .anybody()
        .with("x-forwarded-for", "192.0.2.7")
        .post("/login", &login)
        .refused(429, "too-many-attempts");
    admin.get("/me").ok();
}

#[test]
fn log_tells_who_did_what() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of(&fixture::plain());
    let (server, admin) = Server::ready(library.path());
    let alice = server.user(&admin, "alice", &[("pc", READ)]);
    server.anybody().post("/login", &json!({ "name": "alice", "password": "wrong password" })).expect(401);
    alice.get(&format!("/file/{C}/hello.txt")).ok();
    alice.with("range", "bytes=0-4").get(&format!("/file/{C}/hello.txt")).expect(206);
    alice.head(&format!("/file/{C}/hello.txt")).ok();
    let zip = alice.get(&format!("/zip?path={C}/docs")).ok().body.len();
    alice.below("/dav").get(&format!("/{C}/docs/a.txt")).ok();

    let page = admin.get("/audit?limit=100").ok().json();
    let told: Vec<String> = page["events"]
        .as_array()
        .expect("events")
        .iter()
        .rev()
        .map(|event| {
            assert!(event["peer"].is_null() || event["peer"] == "127.0.0.1", "{event}");
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            let path = text("path").replace(C, "C");
            format!("{} {} {path} {} {}", text("user"), text("event"), event["bytes"], text("outcome"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "admin setup  0 done".to_owned(),
            "admin user-made  0 done".to_owned(),
            "alice login  0 done".to_owned(),
            "alice token-made  0 done".to_owned(),
            "alice login-failed  0 refused".to_owned(),
            "alice download C/hello.txt 13 done".to_owned(),
            "alice download C/hello.txt 5 done".to_owned(),
            format!("alice archive C/docs {zip} done"),
            "alice download C/docs/a.txt 4 done".to_owned(),
        ]
    );
    let one = admin.get("/audit?user=alice&event=download&limit=1").ok().json();
    let next = one["next"].as_i64().expect("there are more");
    let more = admin.get(&format!("/audit?user=alice&event=download&limit=10&before={next}")).ok().json();
    assert_eq!(more["events"].as_array().map(Vec::len), Some(2));
    assert!(more["next"].is_null());
}
