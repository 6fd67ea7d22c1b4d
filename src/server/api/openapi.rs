//! The description of the API for machines.

use super::{archive, clients, file, index, list, node, search, service, versions};
use crate::server::access;
use crate::server::problem::{PROBLEM, Problem};
use axum::Json;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(title = "Spelunk", description = "Backups as folders"),
    paths(
        service::service,
        openapi,
        clients::clients,
        clients::client,
        list::root,
        list::list,
        node::node,
        file::file,
        archive::zip,
        archive::tar,
        search::search,
        versions::versions,
        index::status,
        index::build
    ),
    // Those that stand in parameters alone are not found by themselves.
    components(schemas(Problem, list::Sort, list::Order, access::What))
)]
struct Library;

/// What can be posted as a form, too.
const FORMS: [&str; 2] = ["/api/v1/zip", "/api/v1/tar"];

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let mut all = Library::openapi();
    all.merge(access::openapi());
    let mut document = serde_json::to_value(&all).unwrap_or_default();
    for path in FORMS {
        document["paths"][path]["post"] = form(&document["paths"][path]["get"]);
    }
    put_right(&mut document);
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation["operationId"] = operation_id(method, path).into();
            if let Some(responses) = operation["responses"].as_object_mut() {
                tell_problems(responses);
            }
        }
    }
    document
});

/// What a generated client may call an operation: `get_users_name`.
fn operation_id(method: &str, path: &str) -> String {
    let path = path.trim_start_matches("/api/v1").split(|c: char| !c.is_alphanumeric());
    let words = path.filter(|word| !word.is_empty());
    [method].into_iter().chain(words).collect::<Vec<_>>().join("_")
}

/// The same as `get`, with its parameters as a form.
fn form(get: &Value) -> Value {
    let mut post = get.clone();
    let parameters = get["parameters"].as_array().into_iter().flatten();
    let field =
        |parameter: &Value| Some((parameter["name"].as_str()?.to_owned(), parameter["schema"].clone()));
    let fields: Map<String, Value> = parameters.filter_map(field).collect();
    let schema = json!({ "type": "object", "properties": fields, "required": ["path"] });
    post["requestBody"] = json!({ "content": { "application/x-www-form-urlencoded": { "schema": schema } } });
    post["parameters"] = json!([]);
    post
}

/// Says what the derived schemas say wrongly: of a part that may be missing they demand that the whole be null, and
/// unsigned numbers of 32 bits are not in the range of signed ones.
fn put_right(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(put_right);
            for part in fields.get_mut("allOf").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(kind) = part["oneOf"].get(0).cloned() {
                    *part = json!({ "anyOf": [kind, { "type": "object" }] });
                }
            }
            if fields.get("format").is_some_and(|format| format == "int32") && fields.contains_key("minimum")
            {
                fields.insert("format".to_owned(), "int64".into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(put_right),
        _ => {}
    }
}

/// Problems have a media type of their own, and any request can come to one.
fn tell_problems(responses: &mut Map<String, Value>) {
    let problem = json!({ "$ref": "#/components/schemas/Problem" });
    let content = json!({ PROBLEM: { "schema": problem } });
    for (status, response) in &mut *responses {
        let is_problem = response["content"]["application/json"]["schema"] == problem;
        if is_problem {
            response["content"] = content.clone();
        }
        if let Some(response) = response.as_object_mut() {
            // It must be there, and the status says it all.
            response.entry("description").or_insert_with(|| status.clone().into());
        }
    }
    responses.insert("default".to_owned(), json!({ "description": "a problem", "content": content }));
}

/// This description, OpenAPI 3.1.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "service",
    responses((status = 200, description = "the description", content_type = "application/json")))]
pub async fn openapi() -> Json<&'static Value> {
    Json(&DESCRIPTION)
}
