//! Setting up, logging in, sessions, and requests that others make a browser send.

use super::site::{PASSWORD, Site};
use crate::server::access::{Access, Config, Lifetime};
use axum::http::{StatusCode, header};
use serde_json::json;

#[tokio::test]
async fn before_setting_up_nothing_is_open() {
    let site = Site::new();

    for path in ["/api/v1/me", "/api/v1/users", "/api/v1/clients", "/api/v1/audit", "/dav/"] {
        let answer = site.get(path).send().await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.text("type"), "urn:spelunk:setup-needed");
    }
    assert_eq!(site.login("root", PASSWORD).send().await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(site.get("/api/v1/me").bearing("spl_x").send().await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_setup_link_makes_one_administrator_and_is_dead_after() {
    let site = Site::new();
    let secret = site.access.setup_secret().unwrap().unwrap();
    let setup = |secret: &str, name: &str, password: &str| {
        let body = json!({"secret": secret, "name": name, "password": password});
        site.post("/api/v1/setup").json(&body).send()
    };

    assert_eq!(setup("", "root", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(setup(&secret[1..], "root", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(setup(&secret, "root", "short").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(setup(&secret, "ro\r\not", PASSWORD).await.status, StatusCode::BAD_REQUEST);
    let made = setup(&secret, "root", PASSWORD).await;
    assert_eq!((made.status, made.body["admin"].as_bool()), (StatusCode::OK, Some(true)));
    assert_eq!(site.me(&made.cookie()).await, StatusCode::OK);

    assert_eq!(setup(&secret, "other", PASSWORD).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.access.setup_secret().unwrap(), None);
    // Nor is there a link after the next start.
    let again = Access::open(site.folder.path(), Config::default()).unwrap();
    assert_eq!(again.setup_secret().unwrap(), None);
}

#[tokio::test]
async fn each_start_has_another_setup_link() {
    let site = Site::new();
    let again = Access::open(site.folder.path(), Config::default()).unwrap();

    assert_ne!(site.access.setup_secret().unwrap(), again.setup_secret().unwrap());
}

#[tokio::test]
async fn a_session_id_that_the_client_brings_is_never_taken() {
    let (site, _) = Site::set_up().await;
    let planted = format!("spelunk_session={}", "A".repeat(43));

    let login = site.login("root", PASSWORD).with("cookie", &planted).send().await;

    assert_eq!(login.status, StatusCode::OK);
    assert_ne!(login.cookie(), planted);
    assert_eq!(site.me(&planted).await, StatusCode::UNAUTHORIZED);
    assert_eq!(site.me(&login.cookie()).await, StatusCode::OK);
}

#[tokio::test]
async fn a_login_rotates_the_session_and_a_logout_ends_it() {
    let (site, first) = Site::set_up().await;

    let second = site.login("root", PASSWORD).with("cookie", &first).send().await.cookie();
    assert_ne!(first, second);
    assert_eq!(site.me(&first).await, StatusCode::UNAUTHORIZED);

    let logout = site.post("/api/v1/logout").logged_in(&second).send().await;
    assert_eq!(logout.status, StatusCode::NO_CONTENT);
    assert_eq!(logout.cookie(), "spelunk_session=");
    assert_eq!(site.me(&second).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_new_password_ends_all_sessions_but_goes_on_under_a_new_id() {
    let (site, here) = Site::set_up().await;
    let elsewhere = site.login("root", PASSWORD).send().await.cookie();
    let change = |old: &str, new: &str| {
        let body = json!({"old": old, "new": new});
        site.post("/api/v1/password").logged_in(&here).json(&body).send()
    };

    assert_eq!(change("wrong password", "another password").await.status, StatusCode::FORBIDDEN);
    assert_eq!(change(PASSWORD, "short").await.status, StatusCode::BAD_REQUEST);
    let changed = change(PASSWORD, "another password").await;

    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(site.me(&changed.cookie()).await, StatusCode::OK);
    for old in [&here, &elsewhere] {
        assert_eq!(site.me(old).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(site.login("root", PASSWORD).send().await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.login("root", "another password").send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn sessions_end_when_idle_and_after_their_whole_time() {
    let lifetime = Lifetime { idle: 100, most: 250 };
    let site = Site::with(Config { lifetime, ..Config::default() });
    let cookie = site.set_up_as("root").await.cookie();

    // Used in time, again and again: the use is noted each minute.
    for _ in 0..3 {
        site.wait(80);
        assert_eq!(site.me(&cookie).await, StatusCode::OK);
    }
    site.wait(10);
    assert_eq!(site.me(&cookie).await, StatusCode::UNAUTHORIZED, "after 250 seconds");

    let cookie = site.login("root", PASSWORD).send().await.cookie();
    site.wait(100);
    assert_eq!(site.me(&cookie).await, StatusCode::UNAUTHORIZED, "idle");
}

#[tokio::test]
async fn with_tls_only_the_host_cookie_is_given_and_taken() {
    let site = Site::with(Config { is_secure: true, ..Config::default() });

    let answer = site.set_up_as("root").await;

    let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-spelunk_session=") && cookie.contains("; Secure"), "{cookie}");
    assert!(
        cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict") && !cookie.contains("Domain")
    );
    assert_eq!(site.me(&answer.cookie()).await, StatusCode::OK);
    let plain = answer.cookie().replace("__Host-", "");
    assert_eq!(site.me(&plain).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn other_sites_can_make_a_browser_do_nothing() {
    let (site, cookie) = Site::set_up().await;
    let logout = || site.post("/api/v1/logout").with("cookie", &cookie);

    assert_eq!(logout().send().await.status, StatusCode::FORBIDDEN);
    assert_eq!(logout().with("origin", "http://backup.example").send().await.status, StatusCode::FORBIDDEN);
    let marked = || logout().with("x-spelunk-csrf", "1");
    assert_eq!(marked().with("origin", "http://evil.example").send().await.status, StatusCode::FORBIDDEN);
    assert_eq!(marked().with("sec-fetch-site", "cross-site").send().await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.me(&cookie).await, StatusCode::OK);
    // Nor log anybody in.
    let login = || site.login("root", PASSWORD);
    assert_eq!(login().with("origin", "http://evil.example").send().await.status, StatusCode::FORBIDDEN);
    let form = site.post("/api/v1/login").with("content-type", "text/plain").send().await;
    assert_eq!(form.status, StatusCode::BAD_REQUEST);

    assert_eq!(marked().with("origin", "http://backup.example").send().await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_form_of_the_page_itself_may_start_a_download() {
    let (site, cookie) = Site::set_up().await;
    let form = |path| site.post(path).with("cookie", &cookie);

    assert_eq!(
        form("/api/v1/zip").with("origin", "http://backup.example").send().await.status,
        StatusCode::OK
    );
    assert_eq!(form("/api/v1/zip").with("sec-fetch-site", "same-origin").send().await.status, StatusCode::OK);
    assert_eq!(form("/api/v1/zip").send().await.status, StatusCode::FORBIDDEN);
    assert_eq!(form("/api/v1/zip").with("origin", "null").send().await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        form("/api/v1/zip").with("origin", "http://evil.example").send().await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        form("/dav/").with("origin", "http://backup.example").send().await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn guessing_is_slowed_and_locks_out_only_who_guesses() {
    let (site, _) = Site::set_up().await;
    let mut answers = Vec::new();
    for _ in 0..11 {
        answers.push(site.login("root", "wrong password").from("6.6.6.6").send().await);
    }

    assert!(answers[..10].iter().all(|answer| answer.status == StatusCode::UNAUTHORIZED));
    assert_eq!(answers[10].status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answers[10].headers[header::RETRY_AFTER], "60");
    // Not even the right password helps there; elsewhere it does.
    assert_eq!(
        site.login("root", PASSWORD).from("6.6.6.6").send().await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(site.login("root", PASSWORD).send().await.status, StatusCode::OK);
    site.wait(60);
    assert_eq!(site.login("root", PASSWORD).from("6.6.6.6").send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn names_that_are_not_there_are_answered_as_wrong_passwords() {
    let (site, _) = Site::set_up().await;

    let wrong = site.login("root", "wrong password").send().await;
    let nobody = site.login("nobody", "wrong password").send().await;
    let impossible = site.login("a\r\nSet-Cookie: x=y", "wrong password").send().await;

    for answer in [&nobody, &impossible] {
        assert_eq!((answer.status, &answer.body), (wrong.status, &wrong.body));
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
    }
}

#[tokio::test]
async fn only_webdav_asks_browsers_for_a_password() {
    let (site, _) = Site::set_up().await;

    let dav = site.ask("PROPFIND", "/dav/").send().await;
    let api = site.get("/api/v1/clients").send().await;

    assert_eq!((dav.status, api.status), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    let challenge = dav.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
    assert!(challenge.starts_with("Basic realm=\"Spelunk\""), "{challenge}");
    assert!(!api.headers.contains_key(header::WWW_AUTHENTICATE));
}

#[tokio::test]
async fn the_log_says_from_where_and_believes_only_a_named_proxy() {
    let proxy = "10.0.0.1".parse().unwrap();
    let site = Site::with(Config { trusted_proxies: vec![proxy], ..Config::default() });
    let root = site.set_up_as("root").await.cookie();
    site.login("root", PASSWORD).with("x-forwarded-for", "6.6.6.6, 1.2.3.4").send().await;
    site.login("root", PASSWORD).from("10.0.0.9").with("x-forwarded-for", "6.6.6.6").send().await;

    let log = site.get("/api/v1/audit?event=login").logged_in(&root).send().await;

    assert_eq!((log.body["events"][0]["peer"].as_str(), log.body["events"][1]["peer"].as_str()), {
        (Some("10.0.0.9"), Some("1.2.3.4"))
    });
}

#[tokio::test]
async fn no_answer_is_kept_by_caches() {
    let (site, root) = Site::set_up().await;
    for answer in [site.get("/api/v1/me").logged_in(&root).send().await, site.get("/api/v1/me").send().await]
    {
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
}
