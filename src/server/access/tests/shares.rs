//! Share links.

use super::site::Site;
use crate::server::access::Action;
use axum::http::StatusCode;
use serde_json::json;

async fn site_with_alice() -> (Site, String, String) {
    let (site, root) = Site::set_up().await;
    let rights = json!([
        {"client": "pc", "actions": ["browse", "download", "manage"]},
        {"client": "b", "actions": ["browse"]},
    ]);
    let alice = site.user(&root, "alice", rights).await;
    (site, root, alice)
}

const NOT_FOUND: Option<StatusCode> = Some(StatusCode::NOT_FOUND);

#[tokio::test]
async fn a_share_opens_its_path_alone() {
    let (site, _, alice) = site_with_alice().await;
    let made = site.share(&alice, "pc/2026-11-23_0243/C/docs", 60).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let secret = made.text("secret");
    assert_eq!(made.text("link"), format!("/s/{secret}/"));
    let check = |action, at| site.share_check(secret, action, at);

    assert_eq!(check(Action::Download, "pc/2026-11-23_0243/C/docs/a.txt"), None);
    assert_eq!(check(Action::Manage, "pc/2026-11-23_0243/C/docs"), Some(StatusCode::FORBIDDEN));
    assert_eq!(check(Action::Browse, "pc/2026-11-23_0243/C"), Some(StatusCode::FORBIDDEN));
    assert_eq!(check(Action::Browse, "pc/2026-11-23_0243/C/docs2"), NOT_FOUND);
    assert_eq!(check(Action::Browse, "pc/2026-11-24_0243/C/docs"), NOT_FOUND);
    assert_eq!(check(Action::Browse, "b"), NOT_FOUND);
    for wrong in ["", "x", &secret[1..], &format!("{secret}a")] {
        assert!(site.access.share(wrong).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn only_what_may_be_downloaded_can_be_shared() {
    let (site, _, alice) = site_with_alice().await;

    assert_eq!(site.share(&alice, "b/m/C", 60).await.status, StatusCode::FORBIDDEN);
    assert_eq!(site.share(&alice, "other/m/C", 60).await.status, StatusCode::NOT_FOUND);
    for bad in ["", "/", "pc/../b", "pc/%2e%2e/b", "pc/latest/C", "pc/%00"] {
        assert_eq!(site.share(&alice, bad, 60).await.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    for seconds in [0, -5, 400 * 24 * 3600, i64::MAX] {
        assert_eq!(site.share(&alice, "pc/m", seconds).await.status, StatusCode::BAD_REQUEST, "{seconds}");
    }
    let endless = site.post("/api/v1/shares").logged_in(&alice).json(&json!({"path": "pc/m"})).send().await;
    assert_eq!(endless.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_share_ends_by_time() {
    let (site, _, alice) = site_with_alice().await;
    let made = site.share(&alice, "pc/m/C", 60).await;

    site.wait(59);
    assert_eq!(site.share_check(made.text("secret"), Action::Download, "pc/m/C"), None);
    site.wait(1);
    assert_eq!(site.share_check(made.text("secret"), Action::Download, "pc/m/C"), NOT_FOUND);
}

#[tokio::test]
async fn a_share_ends_with_its_makers_right() {
    let (site, root, alice) = site_with_alice().await;
    let made = site.share(&alice, "pc/m/C", 60).await;
    let check = || site.share_check(made.text("secret"), Action::Browse, "pc/m/C");
    let change = async |body| {
        let answer = site.ask("PATCH", "/api/v1/users/alice").logged_in(&root).json(&body).send().await;
        assert_eq!(answer.status, StatusCode::OK);
    };
    assert_eq!(check(), None);

    change(json!({"disabled": true})).await;
    assert_eq!(check(), NOT_FOUND);
    change(json!({"disabled": false, "rights": [{"client": "pc", "actions": ["browse"]}]})).await;
    assert_eq!(check(), NOT_FOUND);
    change(json!({"rights": [{"client": "*", "actions": ["browse", "download"]}]})).await;
    assert_eq!(check(), None);
    site.ask("DELETE", "/api/v1/users/alice").logged_in(&root).send().await;
    assert_eq!(check(), NOT_FOUND);
}

#[tokio::test]
async fn shares_are_listed_and_revoked_by_their_maker_and_administrators() {
    let (site, root, alice) = site_with_alice().await;
    let bob = site.user(&root, "bob", json!([{"client": "*", "actions": ["browse", "download"]}])).await;
    let by_alice = site.share(&alice, "pc/m/C", 60).await;
    let by_bob = site.share(&bob, "pc/m/%FF", 60).await;
    let list = async |cookie: &str| site.get("/api/v1/shares").logged_in(cookie).send().await.body;
    let revoke = async |cookie: &str, id: &serde_json::Value| {
        site.ask("DELETE", &format!("/api/v1/shares/{id}")).logged_in(cookie).send().await.status
    };

    assert_eq!(list(&alice).await["shares"].as_array().unwrap().len(), 1);
    assert_eq!(list(&root).await["shares"][0]["path"], "pc/m/%FF");
    assert_eq!(list(&root).await["shares"][1]["user"], "alice");
    assert!(!list(&root).await.to_string().contains(by_bob.text("secret")));
    assert_eq!(revoke(&bob, &by_alice.body["id"]).await, StatusCode::NOT_FOUND);
    assert_eq!(revoke(&alice, &by_alice.body["id"]).await, StatusCode::NO_CONTENT);
    assert_eq!(revoke(&root, &by_bob.body["id"]).await, StatusCode::NO_CONTENT);
    assert!(site.access.share(by_alice.text("secret")).is_err());
    assert!(site.access.share(by_bob.text("secret")).is_err());
}
