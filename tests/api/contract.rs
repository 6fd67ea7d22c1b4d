//! The server's description of itself, and whether its answers are as described.

use super::client::{Answer, Client};
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Where all kinds of problems stand.
const MANUAL: &str = include_str!("../../docs/api.md");

/// The description; that of every server is the same.
pub struct Contract {
    /// As it was served.
    pub document: Value,
    /// With schemas that allow nothing that they do not name.
    strict: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
    /// Method, path and status of all answers so far.
    seen: Mutex<BTreeSet<(String, String, u16)>>,
}

/// The description, as the server at `origin` gives it, if no other has.
pub fn contract(origin: &str) -> &'static Contract {
    static CONTRACT: OnceLock<Contract> = OnceLock::new();
    CONTRACT.get_or_init(|| {
        let answer = Client::new(origin).send_unchecked("GET", "/openapi.json", None);
        let document = answer.ok().json();
        let mut strict = document.clone();
        close(&mut strict, false);
        Contract { document, strict, validators: Mutex::default(), seen: Mutex::default() }
    })
}

/// Lets every schema that is referred to allow nothing that it does not name. Parts of a whole (`allOf`) are left
/// open: the whole is closed.
fn close(value: &mut Value, is_part: bool) {
    match value {
        Value::Object(fields) => {
            for (name, field) in &mut *fields {
                close(field, name == "allOf" || is_part && name == "anyOf");
            }
            if fields.contains_key("$ref") && !is_part {
                fields.insert("unevaluatedProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, is_part)),
        _ => {}
    }
}

/// Holds an answer of the API against the description.
#[track_caller]
pub fn check(origin: &str, method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap_or_default();
    let Some(at) = path.find("/api/v1").filter(|at| *at == 0 || path.starts_with("/s/")) else { return };
    contract(origin).check(method, &path[at..], answer);
}

impl Contract {
    #[track_caller]
    fn check(&self, method: &str, path: &str, answer: &Answer) {
        let about = || format!("{method} {path}: {} {}", answer.status, answer.text());
        let operation_method = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
        let template = self.template(path);
        let operation =
            template.as_ref().and_then(|template| self.strict["paths"][template].get(&operation_method));
        let Some((template, operation)) = template.as_ref().zip(operation) else {
            assert!(matches!(answer.status, 400..500 | 503), "nobody describes {}", about());
            return self.validate(&json!({ "$ref": "#/components/schemas/Problem" }), answer, &about());
        };
        let responses = &operation["responses"];
        let class = format!("{}XX", answer.status / 100);
        let described = [&*answer.status.to_string(), &class, "default"];
        let response = described.into_iter().find_map(|status| responses.get(status));
        let response = response.unwrap_or_else(|| panic!("nobody describes {}", about()));
        let seen = (operation_method, template.clone(), answer.status);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(seen);
        let Some(content) = response["content"].as_object().filter(|_| method != "HEAD") else {
            assert!(answer.body.is_empty(), "a body that nobody describes: {}", about());
            return;
        };
        let kind = answer.header("content-type");
        // A file is of any kind.
        let media = content.get(kind).or_else(|| content.get("*/*"));
        let media = media.unwrap_or_else(|| panic!("nobody describes {kind} of {}", about()));
        let is_json = matches!(kind, "application/json" | "application/problem+json");
        if let Some(schema) = media.get("schema").filter(|_| is_json) {
            self.validate(schema, answer, &about());
        }
    }

    #[track_caller]
    fn validate(&self, schema: &Value, answer: &Answer, about: &str) {
        if answer.body.is_empty() && answer.header("content-length") != "0" {
            // Of HEAD.
            return;
        }
        let validator = {
            let mut validators = self.validators.lock().unwrap_or_else(PoisonError::into_inner);
            let make = || {
                let mut root = schema.clone();
                root["components"] = self.strict["components"].clone();
                let options = jsonschema::options().with_draft(Draft::Draft202012).offline();
                Arc::new(options.build(&root).unwrap_or_else(|error| panic!("{schema}: {error}")))
            };
            validators.entry(schema.to_string()).or_insert_with(make).clone()
        };
        let errors: Vec<String> = validator
            .iter_errors(&answer.json())
            .take(5)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{about}\n{errors:#?}");
        let told = answer.json();
        if let Some(kind) = told["type"].as_str().and_then(|kind| kind.strip_prefix("urn:spelunk:")) {
            assert!(MANUAL.contains(&format!("`{kind}`")), "the manual has no {kind}: {about}");
        }
    }

    /// The described path that a path is one of: `{path}` stands for any number of names, others for one.
    fn template(&self, path: &str) -> Option<String> {
        let paths = self.document["paths"].as_object().expect("paths").keys();
        let fits = |template: &&String| match template.strip_suffix("{path}") {
            Some(start) => path.starts_with(start),
            None => {
                let (template, path) = (template.split('/'), path.split('/'));
                template.clone().count() == path.clone().count()
                    && template.zip(path).all(|(a, b)| a == b || a.starts_with('{'))
            }
        };
        paths.filter(fits).min_by_key(|template| template.contains('{')).cloned()
    }

    /// The operations and statuses that were answered so far.
    pub fn seen(&self) -> BTreeSet<(String, String, u16)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
