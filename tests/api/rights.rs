//! Who may do what: nobody before there is an administrator, users and tokens with what they have.

use super::library;
use super::server::{BROWSE, READ, Server};
use crate::fixture;
use serde_json::json;

/// Where the API shows something of a path, whatever it is.
const OF_PATHS: [&str; 8] = [
    "/clients/{client}",
    "/list/{directory}",
    "/node/{path}",
    "/file/{path}",
    "/zip?path={path}",
    "/tar?path={path}",
    "/versions/{path}",
    "/search?q=&in={client}",
];

const OWN: &str = "alice/2026-01-02_0304/C.img/docs/a.txt";
const OTHER: &str = "bob/2026-01-02_0304/D.img/d/1";

fn filled(template: &str, path: &str) -> String {
    let client = path.split('/').next().unwrap_or_default();
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    template.replace("{path}", path).replace("{directory}", directory).replace("{client}", client)
}

#[test]
fn nothing_is_shown_before_there_is_an_administrator() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let server = Server::start::<&str>(library.path(), []);
    let anybody = server.anybody();
    let token = anybody.with("authorization", "Bearer spl_guess");

    for client in [&anybody, &token, &anybody.with("cookie", "spelunk_session=guess")] {
        for template in OF_PATHS {
            client.get(&filled(template, OWN)).refused(503, "setup-needed");
        }
        for path in [
            "",
            "/clients",
            "/list",
            "/search?q=a",
            "/index",
            "/me",
            "/users",
            "/tokens",
            "/shares",
            "/audit",
        ] {
            client.get(path).refused(503, "setup-needed");
        }
    }
    assert_eq!(anybody.below("/dav").get("/").status, 503);
    server.share("guess").get("/list").refused(404, "not-found");
    let login = json!({ "name": "admin", "password": "correct horse battery" });
    anybody.post("/login", &login).refused(503, "setup-needed");

    let secret = server.setup_secret();
    let with = |secret: &str, password: &str| {
        anybody.post("/setup", &json!({ "secret": secret, "name": "admin", "password": password }))
    };
    with("guess", "correct horse battery").refused(401, "unauthenticated");
    with(&secret, "short").refused(400, "bad-request");
    with(&secret, "correct horse battery").ok();
    with(&secret, "correct horse battery").refused(401, "unauthenticated");
    anybody.get("/list").refused(401, "unauthenticated");
    server.stop();
}

#[test]
fn nobody_gets_in_without_showing_who_they_are() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let secret = admin.post("/tokens", &json!({ "name": "t", "actions": ["browse"] })).expect(201).json();
    let secret = secret["secret"].as_str().expect("a secret").to_owned();
    let anybody = server.anybody();
    let basic = |name: &str, secret: &str| {
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{secret}"));
        anybody.with("authorization", &format!("Basic {pair}"))
    };

    let strangers = [
        anybody.clone(),
        anybody.with("authorization", "Bearer spl_guess"),
        anybody.with("authorization", "Bearer "),
        anybody.with("authorization", "Basic !!!"),
        anybody.with("authorization", &format!("Bearer {}", &secret[..secret.len() - 1])),
        anybody.with("cookie", &format!("spelunk_session={secret}")),
        // A wrong word is not made good by a right one.
        admin.with("authorization", "Bearer spl_guess"),
        basic("admin", "correct horse battery"),
        basic("bob", &secret),
    ];
    for stranger in strangers {
        for template in OF_PATHS {
            stranger.get(&filled(template, OWN)).refused(401, "unauthenticated");
        }
        let dav = stranger.below("/dav").get(&format!("/{OWN}"));
        assert_eq!(dav.status, 401);
        assert!(dav.header("www-authenticate").starts_with("Basic "), "WebDAV's clients ask for a password");
    }
    basic("admin", &secret).get(&format!("/node/{OWN}")).ok();
    basic("ADMIN", &secret).get(&format!("/node/{OWN}")).ok();
}

#[test]
fn what_is_others_is_not_there() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let session = server.session(&admin, "alice", &[("alice", READ)]);
    let token = server.token(&session, &json!({}));

    for user in [&session, &token] {
        for template in OF_PATHS {
            user.get(&filled(template, OWN)).ok();
            let there = user.get(&filled(template, OTHER)).refused(404, "not-found");
            let not_there =
                user.get(&filled(template, &OTHER.replace("bob", "carol"))).refused(404, "not-found");
            assert_eq!(
                there.json()["title"],
                not_there.json()["title"],
                "{template}: nothing tells the two apart"
            );
        }
        assert_eq!(user.get("/clients").ok().json()["clients"].as_array().map(Vec::len), Some(1));
        assert_eq!(user.get("/list").ok().json()["total"], 1);
        for path in ["bob", "bob/latest", "bob/latest/D.img", "bob/2026-01-02_0304"] {
            user.get(&format!("/list/{path}")).refused(404, "not-found");
        }
        let dav = user.below("/dav");
        assert_eq!(dav.get(&format!("/{OTHER}")).status, 404);
        assert_eq!(dav.get(&format!("/{OWN}")).ok().body, b"aaaa");
        let root = dav.with("depth", "1").send("PROPFIND", "/", None).expect(207).text();
        assert!(root.contains("/dav/alice") && !root.contains("bob"), "{root}");
    }
    for path in ["/users", "/users/admin", "/audit"] {
        session.get(path).refused(403, "denied");
        token.get(path).refused(403, "denied");
    }
    session
        .post("/users", &json!({ "name": "eve", "password": "correct horse", "admin": true }))
        .refused(403, "denied");
    session.patch("/users/alice", &json!({ "admin": true })).refused(403, "denied");
}

#[test]
fn who_may_only_look_gets_no_content() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let user = server.user(&admin, "alice", &[("alice", BROWSE)]);

    for template in ["/list/alice", "/node/{path}", "/versions/{path}", "/clients/alice"] {
        user.get(&filled(template, OWN)).ok();
    }
    for template in ["/file/{path}", "/zip?path={path}", "/tar?path={path}", "/file/{path}?inline=1"] {
        user.get(&filled(template, OWN)).refused(403, "denied");
        user.head(&filled(template, OWN)).expect(403);
    }
    user.form("/zip", &format!("path={OWN}")).refused(403, "denied");
    assert_eq!(user.below("/dav").get(&format!("/{OWN}")).status, 403);
    server.log_in("alice").post("/shares", &json!({ "path": OWN, "expires_in": 60 })).refused(403, "denied");
}

#[test]
fn tokens_are_good_for_what_they_say_and_no_more_than_their_user() {
    if !fixture::can_be_made() {
        return;
    }
    let library = library::of_two();
    let (server, admin) = Server::ready(library.path());
    let alice = server.session(&admin, "alice", &[("alice", READ)]);
    let token = |limits: serde_json::Value| server.token(&alice, &limits);

    let looks = token(json!({ "actions": ["browse"] }));
    looks.get(&format!("/node/{OWN}")).ok();
    looks.get(&format!("/file/{OWN}")).refused(403, "denied");
    let all = token(json!({ "clients": ["alice", "bob"] }));
    all.get(&format!("/file/{OWN}")).ok();
    all.get(&format!("/file/{OTHER}")).refused(404, "not-found");
    let none = token(json!({ "clients": ["bob"] }));
    none.get(&format!("/node/{OWN}")).refused(404, "not-found");
    let short = token(json!({ "expires_in": 3 }));
    short.get(&format!("/node/{OWN}")).ok();

    // A token manages no users, tokens and links, whoever made it.
    let admins = server.token(&admin, &json!({}));
    admins.get(&format!("/file/{OTHER}")).ok();
    for path in ["/users", "/tokens", "/shares", "/audit"] {
        admins.get(path).refused(403, "denied");
    }
    admins.post("/tokens", &json!({ "name": "more", "actions": ["browse"] })).refused(403, "denied");
    admins.post("/shares", &json!({ "path": OWN, "expires_in": 60 })).refused(403, "denied");

    // Work is had done by whoever may manage all clients, also with a token.
    let reads = server.token(&admin, &json!({ "actions": READ }));
    reads.send("POST", "/index", None).refused(403, "denied");
    all.send("POST", "/index", None).refused(403, "denied");
    let manages = server.token(&admin, &json!({ "actions": ["manage"] }));
    manages.send("POST", "/index", None).expect(202);

    // What is taken away is gone at once.
    let number = alice.get("/tokens").ok().json()["tokens"]
        .as_array()
        .expect("tokens")
        .iter()
        .map(|token| token["id"].as_i64().expect("a number"))
        .min();
    alice.delete(&format!("/tokens/{}", number.expect("a token"))).expect(204);
    looks.get(&format!("/node/{OWN}")).refused(401, "unauthenticated");
    admin.patch("/users/alice", &json!({ "rights": [] })).ok();
    all.get(&format!("/file/{OWN}")).refused(404, "not-found");
    admin.patch("/users/alice", &json!({ "disabled": true })).ok();
    all.get("/me").refused(401, "unauthenticated");
    alice.get("/me").refused(401, "unauthenticated");
    std::thread::sleep(std::time::Duration::from_millis(3100));
    admin.patch("/users/alice", &json!({ "disabled": false })).ok();
    short.get("/me").refused(401, "unauthenticated");
    admin.delete("/users/alice").expect(204);
    all.get("/me").refused(401, "unauthenticated");
}
