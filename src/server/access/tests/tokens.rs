//! Tokens, and what is left of all secrets on disk.

use super::site::{PASSWORD, Site};
use crate::server::access::Action;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const DOWNLOADER: &str =
    r#"[{"client": "pc", "actions": ["browse", "download"]}, {"client": "b", "actions": ["browse"]}]"#;

async fn site_with_alice() -> (Site, String, String) {
    let (site, root) = Site::set_up().await;
    let alice = site.user(&root, "alice", serde_json::from_str(DOWNLOADER).unwrap()).await;
    (site, root, alice)
}

#[tokio::test]
async fn a_token_has_what_its_scope_and_its_user_both_have() {
    let (site, root, alice) = site_with_alice().await;
    let make = async |body| site.token(&alice, body).await.text("secret").to_owned();
    let wide = make(json!({"name": "wide", "actions": ["browse", "download", "manage"]})).await;
    let narrow = make(json!({"name": "narrow", "actions": ["browse"], "clients": ["pc", "other"]})).await;
    assert!(wide.starts_with("spl_") && wide.len() == 47);
    let check = |token: &str, action, at| site.token_check(token, action, at);

    assert_eq!(check(&wide, Action::Download, "pc/x"), None);
    assert_eq!(check(&wide, Action::Manage, "pc/x"), Some(StatusCode::FORBIDDEN));
    assert_eq!(check(&wide, Action::Download, "b/x"), Some(StatusCode::FORBIDDEN));
    assert_eq!(check(&wide, Action::Browse, "other"), Some(StatusCode::NOT_FOUND));
    assert_eq!(check(&narrow, Action::Browse, "pc/x"), None);
    assert_eq!(check(&narrow, Action::Download, "pc/x"), Some(StatusCode::FORBIDDEN));
    assert_eq!(check(&narrow, Action::Browse, "b"), Some(StatusCode::NOT_FOUND));
    assert_eq!(
        check(&narrow, Action::Browse, "other"),
        Some(StatusCode::NOT_FOUND),
        "more than the user has"
    );

    // What the user loses, the token loses.
    let less = json!({"rights": [{"client": "pc", "actions": ["browse"]}]});
    site.ask("PATCH", "/api/v1/users/alice").logged_in(&root).json(&less).send().await;
    assert_eq!(check(&wide, Action::Download, "pc/x"), Some(StatusCode::FORBIDDEN));
}

#[tokio::test]
async fn tokens_end_by_time_and_by_hand() {
    let (site, _, alice) = site_with_alice().await;
    let short = site.token(&alice, json!({"name": "short", "actions": ["browse"], "expires_in": 100})).await;
    let long = site.token(&alice, json!({"name": "long", "actions": ["browse"]})).await;
    let status = async |token: &str| site.get("/api/v1/me").bearing(token).send().await.status;

    site.wait(99);
    assert_eq!(status(short.text("secret")).await, StatusCode::OK);
    site.wait(1);
    assert_eq!(status(short.text("secret")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(long.text("secret")).await, StatusCode::OK);
    let path = format!("/api/v1/tokens/{}", long.body["id"]);
    assert_eq!(site.ask("DELETE", &path).logged_in(&alice).send().await.status, StatusCode::NO_CONTENT);
    assert_eq!(status(long.text("secret")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(site.ask("DELETE", &path).logged_in(&alice).send().await.status, StatusCode::NOT_FOUND);
    for seconds in [0, -1, i64::MAX] {
        let body = json!({"name": "bad", "actions": [], "expires_in": seconds});
        assert_eq!(site.token(&alice, body).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_token_is_shown_once_and_listed_for_its_user_alone() {
    let (site, root, alice) = site_with_alice().await;
    let made =
        site.token(&alice, json!({"name": "backup script", "actions": ["browse"], "clients": ["pc"]})).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let list =
        async |cookie: &str| site.get("/api/v1/tokens").logged_in(cookie).send().await.body.to_string();

    let own = list(&alice).await;
    assert!(own.contains("backup script") && !own.contains("\"used\"") && !own.contains(made.text("secret")));
    assert!(!list(&root).await.contains("backup script"));
    site.get("/api/v1/me").bearing(made.text("secret")).send().await;
    assert!(list(&alice).await.contains("\"used\""));
    let path = format!("/api/v1/tokens/{}", made.body["id"]);
    assert_eq!(site.ask("DELETE", &path).logged_in(&root).send().await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn basic_takes_a_token_with_its_users_name_and_no_password() {
    let (site, _, alice) = site_with_alice().await;
    let token = site.token(&alice, json!({"name": "dav", "actions": ["browse"]})).await;
    let dav = async |name: &str, password: &str| {
        let basic = format!("Basic {}", STANDARD.encode(format!("{name}:{password}")));
        site.ask("PROPFIND", "/dav/").with("authorization", &basic).send().await.status
    };

    assert_eq!(dav("alice", token.text("secret")).await, StatusCode::OK);
    assert_eq!(dav("Alice", token.text("secret")).await, StatusCode::OK);
    assert_eq!(dav("root", token.text("secret")).await, StatusCode::UNAUTHORIZED);
    assert_eq!(dav("alice", PASSWORD).await, StatusCode::UNAUTHORIZED);
    // Browsers send it by themselves: another site must not make them.
    let basic = format!("Basic {}", STANDARD.encode(format!("alice:{}", token.text("secret"))));
    let forged = site.post("/api/v1/zip").with("authorization", &basic).with("origin", "http://evil.example");
    assert_eq!(forged.send().await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_bad_token_is_not_made_good_by_a_cookie() {
    let (site, _, alice) = site_with_alice().await;

    let answer = site.get("/api/v1/me").logged_in(&alice).bearing("spl_nonsense").send().await;

    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn no_secret_stands_on_the_disk() {
    let site = Site::new();
    let setup = site.access.setup_secret().unwrap().unwrap();
    let root = site.set_up_as("root").await.cookie();
    let token = site.token(&root, json!({"name": "t", "actions": ["browse"]})).await;
    let share = site.share(&root, "pc/m/C", 60).await;
    let session = root.split('=').nth(1).unwrap();
    site.login("root", "a wrong password").send().await;
    let token = token.text("secret");
    let secrets = [
        PASSWORD,
        "a wrong password",
        &setup,
        session,
        token,
        token.trim_start_matches("spl_"),
        share.text("secret"),
    ];
    site.get("/api/v1/audit").logged_in(&root).send().await;

    let mut seen_bytes = 0;
    for entry in std::fs::read_dir(site.folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        seen_bytes += bytes.len();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret}");
        }
    }
    assert!(seen_bytes > 10_000, "nothing was written yet");
}

#[tokio::test]
async fn more_tokens_and_clients_of_one_than_there_may_be_are_refused() {
    let (site, _, alice) = site_with_alice().await;
    let clients: Vec<String> = (0..1001).map(|number| format!("c{number}")).collect();
    let wide = json!({"name": "wide", "actions": ["browse"], "clients": clients});

    assert_eq!(site.token(&alice, wide).await.status, StatusCode::BAD_REQUEST);
    for number in 0..100 {
        let made = site.token(&alice, json!({"name": format!("t{number}"), "actions": ["browse"]})).await;
        assert_eq!(made.status, StatusCode::CREATED);
    }
    let one_more = site.token(&alice, json!({"name": "more", "actions": ["browse"]})).await;
    assert_eq!(one_more.status, StatusCode::CONFLICT);
}
