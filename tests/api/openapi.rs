//! The description of the API: whether it is one, whether it is whole, and whether answers are as it says.
//!
//! All answers in all tests are held against it (see [`contract`]); here are those that no other test gets.

use super::client::Client;
use super::contract::{self, Contract};
use super::library::{self, C};
use super::server::{PASSWORD, Server};
use crate::fixture;
use regex_lite::Regex;
use serde_json::{Value, json};
use spelunk_testkit::peer::Directory;
use spelunk_testkit::{cache, skip, tool};
use std::collections::BTreeSet;
use std::fs;

fn served() -> (Directory, Server, Client, &'static Contract) {
    let library = Directory::new().expect("a directory");
    if fixture::can_be_made() {
        library::add(&library, "pc/C.img", fixture::plain().path().as_ref(), library::FIRST);
    }
    let (server, admin) = Server::ready(library.path());
    let contract = contract::contract(server.origin());
    (library, server, admin, contract)
}

/// Method and path of everything that is described.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().expect("paths");
    let methods = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").keys();
        methods.map(move |method| (method.clone(), path.clone()))
    });
    methods.collect()
}

#[test]
fn description_is_valid() {
    let (_library, server, _admin, contract) = served();
    let document = &contract.document;
    assert_eq!(document["openapi"], "3.1.0");

    // What every reader of such documents relies on.
    let text = document.to_string();
    let reference = Regex::new(r##""\$ref":"#([^"]+)""##).expect("a regular expression");
    for found in reference.captures_iter(&text) {
        assert!(document.pointer(&found[1]).is_some(), "nothing is at {}", &found[1]);
    }
    let mut names = BTreeSet::new();
    for (method, path) in operations(document) {
        let operation = &document["paths"][&path][&method];
        assert!(names.insert(operation["operationId"].as_str().expect("a name")), "{method} {path}");
        let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let in_path: Vec<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .filter_map(|it| it["name"].as_str())
            .collect();
        let in_template = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        assert_eq!(in_path, in_template.collect::<Vec<_>>(), "{method} {path}");
        for response in operation["responses"].as_object().expect("responses").values() {
            assert!(response["description"].is_string(), "{method} {path}");
        }
    }

    let file = server.data.path().join("openapi.json");
    fs::write(&file, text).expect("a file");
    if tool::run("python3", ["-c", "import openapi_spec_validator"]).is_err() {
        return skip::because("openapi-spec-validator is not installed");
    }
    let arguments = ["-m", "openapi_spec_validator", file.to_str().expect("UTF-8")];
    tool::run("python3", arguments).expect("a description in OpenAPI 3.1");
}

#[test]
fn every_route_is_described_and_every_described_path_answers() {
    let (_library, _server, admin, contract) = served();
    let described = operations(&contract.document);
    let route =
        Regex::new(r#"\.route\(\s*"([^"]+)",\s*((?:[^()]|\([^()]*\))*)\)"#).expect("a regular expression");
    let method = Regex::new(r"\b(get|post|put|patch|delete)\(").expect("a regular expression");

    let mut routes = BTreeSet::new();
    for source in ["src/server/api/mod.rs", "src/server/access/routes/mod.rs"] {
        let text = fs::read_to_string(cache::workspace().join(source)).expect("a source");
        for found in route.captures_iter(&text) {
            let path = found[1].replace("{*", "{");
            let path = if path.starts_with("/api/v1") { path } else { format!("/api/v1{path}") };
            // The same with a slash at its end.
            let path = path.trim_end_matches('/').to_owned();
            routes.extend(method.captures_iter(&found[2]).map(|method| (method[1].to_owned(), path.clone())));
        }
    }

    assert!(routes.len() > 25, "{routes:?}");
    assert_eq!(described, routes);
    for (method, path) in &described {
        let path = path.trim_start_matches("/api/v1").replace("{path}", C).replace("{client}", "pc");
        let path = path.replace("{id}", "0").replace("{name}", "nobody");
        let answer = match method.as_str() {
            "post" | "patch" => admin.send(&method.to_uppercase(), &path, Some(("text/plain", b"nonsense"))),
            _ => admin.send(&method.to_uppercase(), &path, None),
        };
        assert!(answer.status != 405 && answer.status < 500, "{method} {path}: {}", answer.text());
        if answer.status == 404 {
            assert!(answer.text().contains("urn:spelunk:not-found"), "{method} {path}: {}", answer.text());
        }
    }
}

#[test]
fn other_methods_and_paths_are_problems() {
    let (_library, _server, admin, contract) = served();
    let described = operations(&contract.document);

    for (_, path) in &described {
        let asked = path.trim_start_matches("/api/v1").replace("{path}", C).replace(['{', '}'], "");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if !described.contains(&(method.to_lowercase(), path.clone())) {
                let body = (!matches!(method, "GET" | "DELETE")).then_some(("text/plain", &b"x"[..]));
                admin.send(method, &asked, body).refused(405, "method");
            }
        }
    }
    for path in ["/nothing", "/list2", "/zip/x", "/openapi.json/x", "/users/a/b"] {
        admin.get(path).refused(404, "not-found");
    }
    admin.below("").get("/nothing").refused(404, "not-found");
}

#[test]
fn every_operation_answers_as_described_when_all_is_well() {
    if !fixture::can_be_made() {
        return;
    }
    let (_library, server, admin, contract) = served();
    let spare = server.session(&admin, "spare", &[("*", &["browse", "download", "manage"])]);

    for path in [
        "",
        "/openapi.json",
        "/clients",
        "/clients/pc",
        "/list",
        "/search?q=",
        "/index",
        "/me",
        "/users",
        "/users/spare",
        "/audit",
    ] {
        admin.get(path).ok();
    }
    for what in ["list", "node", "versions"] {
        admin.get(&format!("/{what}/{C}/docs")).ok();
    }
    admin.get(&format!("/file/{C}/hello.txt")).ok();
    admin.with("range", "bytes=1-2").get(&format!("/file/{C}/hello.txt")).expect(206);
    for what in ["zip", "tar"] {
        admin.get(&format!("/{what}?path={C}")).ok();
        admin.form(&format!("/{what}"), &format!("path={C}")).ok();
    }
    let stored = format!("/zip?path={C}&compression=store");
    admin.with("range", "bytes=1-2").get(&stored).expect(206);
    admin.with("range", "bytes=1-2").form("/zip", &format!("path={C}&compression=store")).expect(206);
    admin.send("POST", "/index", None).expect(202);
    let rights = json!([{ "client": "pc", "actions": ["browse"] }]);
    admin.patch("/users/spare", &json!({ "rights": rights })).ok();
    let token = json!({ "name": "t", "actions": ["browse"], "clients": ["pc"], "expires_in": 60 });
    let token = spare.post("/tokens", &token).expect(201).json()["id"].clone();
    spare.get("/tokens").ok();
    spare.delete(&format!("/tokens/{token}")).expect(204);
    let share =
        admin.post("/shares", &json!({ "path": C, "expires_in": 60 })).expect(201).json()["id"].clone();
    admin.get("/shares").ok();
    admin.delete(&format!("/shares/{share}")).expect(204);
    let password = json!({ "old": PASSWORD, "new": "another long password" });
    let spare = spare.post("/password", &password).ok().session(&server.anybody());
    spare.send("POST", "/logout", None).expect(204);
    admin.delete("/users/spare").expect(204);

    // Setting up and logging in came before; but for 304, nothing that is described has not been seen.
    let seen = contract.seen();
    for (method, path) in operations(&contract.document) {
        let responses =
            contract.document["paths"][&path][&method]["responses"].as_object().expect("responses");
        for status in responses.keys().filter_map(|status| status.parse::<u16>().ok()).filter(|it| *it < 300)
        {
            assert!(
                seen.contains(&(method.clone(), path.clone(), status)),
                "{method} {path} {status} was not seen"
            );
        }
    }
}
