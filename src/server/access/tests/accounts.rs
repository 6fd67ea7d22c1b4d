//! The command line's way, beside a server that runs.

use super::site::{PASSWORD, Site};
use crate::server::access::{Accounts, Error, Rights, openapi};
use axum::http::StatusCode;

#[tokio::test]
async fn users_from_the_command_line_are_there_for_the_server_that_runs() {
    let (site, root) = Site::set_up().await;
    let mut accounts = Accounts::open(site.folder.path()).unwrap();

    accounts.add("alice", PASSWORD, false, &Rights::default()).unwrap();
    let alice = site.login("alice", PASSWORD).send().await.cookie();
    assert_eq!(site.me(&alice).await, StatusCode::OK);
    accounts.set_password("alice", "quite another one").unwrap();
    assert_eq!(site.me(&alice).await, StatusCode::UNAUTHORIZED);
    accounts.remove("alice").unwrap();
    assert_eq!(site.login("alice", "quite another one").send().await.status, StatusCode::UNAUTHORIZED);

    assert!(matches!(accounts.remove("root"), Err(Error::Conflict(_))));
    assert!(matches!(accounts.add("x", "short", false, &Rights::default()), Err(Error::Bad(_))));
    let log = site.get("/api/v1/audit").logged_in(&root).send().await;
    assert_eq!(log.body["events"][1]["event"], "user-removed");
}

#[tokio::test]
async fn an_administrator_from_the_command_line_closes_the_setup_link() {
    let site = Site::new();
    let secret = site.access.setup_secret().unwrap().unwrap();
    let mut accounts = Accounts::open(site.folder.path()).unwrap();
    accounts.add("root", PASSWORD, true, &Rights::default()).unwrap();

    let body = serde_json::json!({"secret": secret, "name": "mallory", "password": PASSWORD});
    let late = site.post("/api/v1/setup").json(&body).send().await;

    assert_eq!(late.status, StatusCode::UNAUTHORIZED);
    assert_eq!(site.access.setup_secret().unwrap(), None);
}

#[test]
fn every_route_is_described() {
    let description = serde_json::to_value(openapi()).unwrap();
    let paths = description["paths"].as_object().unwrap();

    let count: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
    assert_eq!(count, 17);
    assert!(description["components"]["schemas"]["UserChange"].is_object());
}
