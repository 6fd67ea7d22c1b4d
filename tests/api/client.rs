//! Asking a server: somebody with their headers, and the answers that they get.

use super::contract;
use serde_json::Value;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Somebody who asks. Paths are those behind `/api/v1`.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    origin: String,
    prefix: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Somebody nobody knows.
    pub fn new(origin: &str) -> Client {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .accept_encoding("")
            .allow_non_standard_methods(true)
            .timeout_global(Some(PATIENCE));
        let agent = config.build().new_agent();
        Client { agent, origin: origin.to_owned(), prefix: "/api/v1".to_owned(), headers: Vec::new() }
    }

    /// The same with a header more.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Client {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The same without a header.
    #[must_use]
    pub fn without(&self, name: &str) -> Client {
        let mut client = self.clone();
        client.headers.retain(|(known, _)| known != name);
        client
    }

    /// The same below another path than `/api/v1`.
    #[must_use]
    pub fn below(&self, prefix: &str) -> Client {
        Client { prefix: prefix.to_owned(), ..self.clone() }
    }

    /// The value of a header that it sends.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).expect("a header")
    }

    /// The whole address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.prefix)
    }

    /// What it says of itself to `curl`.
    pub fn curl_options(&self) -> Vec<String> {
        self.headers.iter().flat_map(|(name, value)| ["-H".to_owned(), format!("{name}: {value}")]).collect()
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    #[track_caller]
    pub fn head(&self, path: &str) -> Answer {
        self.send("HEAD", path, None)
    }

    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None)
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(("application/json", body.to_string().as_bytes())))
    }

    #[track_caller]
    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, Some(("application/json", body.to_string().as_bytes())))
    }

    /// Posts a form.
    #[track_caller]
    pub fn form(&self, path: &str, form: &str) -> Answer {
        self.send("POST", path, Some(("application/x-www-form-urlencoded", form.as_bytes())))
    }

    /// The answer, held against the server's own description.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, body: Option<(&str, &[u8])>) -> Answer {
        let answer = self.send_unchecked(method, path, body);
        contract::check(&self.origin, method, &format!("{}{path}", self.prefix), &answer);
        answer
    }

    /// The answer, whatever it is.
    #[track_caller]
    pub fn send_unchecked(&self, method: &str, path: &str, body: Option<(&str, &[u8])>) -> Answer {
        let mut request = Request::builder().method(method).uri(self.url(path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let response = match body {
            None => self.agent.run(request.body(()).expect("a request")),
            Some((kind, bytes)) => {
                self.agent.run(request.header("content-type", kind).body(bytes).expect("a request"))
            }
        };
        let response = response.unwrap_or_else(|error| panic!("{method} {}: {error}", self.url(path)));
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        let read = std::io::Read::read_to_end(&mut body.as_reader(), &mut bytes);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body: bytes, is_whole: read.is_ok() }
    }
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the body came to the end that was promised.
    pub is_whole: bool,
}

impl Answer {
    /// Looks at the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.is_whole, "the answer was broken off");
        self
    }

    /// Looks that it went well.
    #[track_caller]
    pub fn ok(self) -> Answer {
        self.expect(200)
    }

    /// Looks that it is this problem.
    #[track_caller]
    pub fn refused(self, status: u16, kind: &str) -> Answer {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.text());
        assert_eq!(answer.json()["type"], format!("urn:spelunk:{kind}"), "{}", answer.text());
        assert_eq!(answer.json()["status"], status);
        answer
    }

    /// A header's value; empty when there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// The session that it gives, as a browser sends it back.
    #[track_caller]
    pub fn session(&self, client: &Client) -> Client {
        let cookie = self.header("set-cookie").split(';').next().unwrap_or_default();
        assert!(cookie.contains("spelunk_session="), "{:?}", self.headers);
        client.with("cookie", cookie).with("x-spelunk-csrf", "1")
    }
}
