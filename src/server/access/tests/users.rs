//! Users and the log, as administrators see them.

use super::site::{PASSWORD, Site};
use axum::http::StatusCode;
use serde_json::{Value, json};

#[tokio::test]
async fn users_are_made_changed_and_removed() {
    let (site, root) = Site::set_up().await;
    let rights =
        json!([{"client": "*", "actions": ["browse"]}, {"client": "%2A%FF", "actions": ["download"]}]);
    let alice = site.user(&root, "alice", rights.clone()).await;

    let me = site.get("/api/v1/me").with("cookie", &alice).send().await;
    assert_eq!((me.text("name"), me.text("kind"), &me.body["rights"]), ("alice", "session", &rights));
    let list = site.get("/api/v1/users").logged_in(&root).send().await;
    let names: Vec<&Value> =
        list.body["users"].as_array().unwrap().iter().map(|user| &user["name"]).collect();
    assert_eq!(names, ["alice", "root"]);

    let change = json!({"rights": [], "admin": true});
    let changed = site.ask("PATCH", "/api/v1/users/ALICE").logged_in(&root).json(&change).send().await;
    assert_eq!((changed.status, &changed.body["admin"]), (StatusCode::OK, &json!(true)));
    let removed = site.ask("DELETE", "/api/v1/users/alice").logged_in(&root).send().await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    assert_eq!(site.me(&alice).await, StatusCode::UNAUTHORIZED);
    assert_eq!(site.get("/api/v1/users/alice").logged_in(&root).send().await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_administrators_manage_users_and_read_the_log() {
    let (site, root) = Site::set_up().await;
    let alice = site
        .user(&root, "alice", json!([{"client": "*", "actions": ["browse", "download", "manage"]}]))
        .await;
    let body = json!({"name": "x", "password": PASSWORD, "admin": true});

    for (method, path) in [
        ("GET", "/api/v1/users"),
        ("POST", "/api/v1/users"),
        ("GET", "/api/v1/users/root"),
        ("PATCH", "/api/v1/users/alice"),
        ("DELETE", "/api/v1/users/root"),
        ("GET", "/api/v1/audit"),
    ] {
        let mut ask = site.ask(method, path).logged_in(&alice);
        if method == "POST" {
            ask = ask.json(&body);
        } else if method == "PATCH" {
            ask = ask.json(&json!({"admin": true}));
        }
        assert_eq!(ask.send().await.status, StatusCode::FORBIDDEN, "{method} {path}");
        let nobody = site.ask(method, path).json(&body).send().await;
        assert_eq!(nobody.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}

#[tokio::test]
async fn an_administrators_token_makes_no_users() {
    let (site, root) = Site::set_up().await;
    let token = site.token(&root, json!({"name": "t", "actions": ["browse", "download", "manage"]})).await;
    let ask = |method, path| site.ask(method, path).bearing(token.text("secret"));

    let body = json!({"name": "x", "password": PASSWORD, "admin": true});
    assert_eq!(ask("GET", "/api/v1/me").send().await.text("kind"), "token");
    assert_eq!(ask("POST", "/api/v1/users").json(&body).send().await.status, StatusCode::FORBIDDEN);
    for path in ["/api/v1/users", "/api/v1/audit", "/api/v1/tokens", "/api/v1/shares"] {
        assert_eq!(ask("GET", path).send().await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let more = json!({"name": "more", "actions": ["browse"]});
    assert_eq!(ask("POST", "/api/v1/tokens").json(&more).send().await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn two_administrators_may_go_one_by_one_but_not_both() {
    let (site, root) = Site::set_up().await;
    let gone = || site.ask("DELETE", "/api/v1/users/root").logged_in(&root).send();
    assert_eq!(gone().await.status, StatusCode::CONFLICT);
    for change in [json!({"admin": false}), json!({"disabled": true})] {
        let refused = site.ask("PATCH", "/api/v1/users/root").logged_in(&root).json(&change).send().await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{change}");
    }
    assert_eq!(site.me(&root).await, StatusCode::OK, "a change that was refused ends no session");

    let second = json!({"name": "second", "password": PASSWORD, "admin": true});
    site.post("/api/v1/users").logged_in(&root).json(&second).send().await;
    assert_eq!(gone().await.status, StatusCode::NO_CONTENT);
    let second = site.login("second", PASSWORD).send().await.cookie();
    let last = site.ask("DELETE", "/api/v1/users/second").logged_in(&second).send().await;
    assert_eq!(last.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn whoever_is_disabled_is_out_at_once_and_stays_out() {
    let (site, root) = Site::set_up().await;
    let rights = json!([{"client": "*", "actions": ["browse", "download"]}]);
    let alice = site.user(&root, "alice", rights).await;
    let token = site.token(&alice, json!({"name": "t", "actions": ["browse"]})).await;
    let set = |disabled: bool| {
        let body = json!({"disabled": disabled});
        site.ask("PATCH", "/api/v1/users/alice").logged_in(&root).json(&body).send()
    };

    set(true).await;
    assert_eq!(site.me(&alice).await, StatusCode::UNAUTHORIZED);
    let by_token = || site.get("/api/v1/me").bearing(token.text("secret")).send();
    assert_eq!(by_token().await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.login("alice", PASSWORD).send().await.status, StatusCode::UNAUTHORIZED);

    set(false).await;
    assert_eq!(site.me(&alice).await, StatusCode::UNAUTHORIZED, "an old session does not come back");
    assert_eq!(by_token().await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_password_from_the_administrator_ends_the_users_sessions() {
    let (site, root) = Site::set_up().await;
    let alice = site.user(&root, "alice", json!([])).await;

    let change = json!({"password": "quite another one"});
    site.ask("PATCH", "/api/v1/users/alice").logged_in(&root).json(&change).send().await;

    assert_eq!(site.me(&alice).await, StatusCode::UNAUTHORIZED);
    assert_eq!(site.login("alice", "quite another one").send().await.status, StatusCode::OK);
}

#[tokio::test]
async fn bad_bodies_are_problems_that_do_not_quote_a_password() {
    let (site, root) = Site::set_up().await;
    let post = |body: Value| site.post("/api/v1/users").logged_in(&root).json(&body).send();

    for body in [
        json!({"name": "a b", "password": PASSWORD}),
        json!({"name": "x\r\nSet-Cookie: a=b", "password": PASSWORD}),
        json!({"name": "x", "password": ["secret-in-a-list"]}),
        json!({"name": "x", "password": PASSWORD, "is_admin": true}),
        json!({"name": "x", "password": PASSWORD, "rights": [{"client": "..", "actions": []}]}),
        json!({"name": "x", "password": PASSWORD, "rights": [{"client": "a%2Fb", "actions": []}]}),
    ] {
        let answer = post(body.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert!(!answer.body.to_string().contains("secret-in-a-list"));
    }
    assert_eq!(post(json!({"name": "ROOT", "password": PASSWORD})).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn the_log_tells_who_did_what_page_by_page() {
    let (site, root) = Site::set_up().await;
    let alice = site.user(&root, "alice", json!([{"client": "*", "actions": ["browse", "download"]}])).await;
    site.login("alice", "wrong password").send().await;
    site.share(&alice, "pc/m/%22%3E%3Cscript%3E%FF", 60).await;
    let read = |query: &str| site.get(&format!("/api/v1/audit{query}")).logged_in(&root).send();
    let kinds = |page: &Value| -> Vec<String> {
        let events = page["events"].as_array().unwrap().iter();
        events.map(|event| event["event"].as_str().unwrap().to_owned()).collect()
    };

    let all = read("").await;
    assert_eq!(kinds(&all.body), ["share-made", "login-failed", "login", "user-made", "setup"]);
    assert_eq!(all.body["events"][0]["path"], "pc/m/%22%3E%3Cscript%3E%FF");
    assert_eq!(all.body["events"][1]["outcome"], "refused");
    assert_eq!(all.body["events"][3]["about"], "alice");
    let first = read("?limit=2").await;
    let next = first.body["next"].as_i64().unwrap();
    let second = read(&format!("?limit=3&before={next}")).await;
    assert_eq!(kinds(&second.body), ["login", "user-made", "setup"]);
    assert!(second.body["next"].is_null());
    assert_eq!(kinds(&read("?user=alice&event=login").await.body), ["login"]);
    assert_eq!(read("?event=nonsense").await.status, StatusCode::BAD_REQUEST);
}
