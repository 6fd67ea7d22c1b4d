//! A server with users, as its clients see it, and a clock that the test sets.

use super::Folder;
use crate::server::access::{Access, Action, Clock, Config, Principal, require, router};
use crate::server::problem::Problem;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};
use serde_json::Value;
use spelunk_tree::Name;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tower::ServiceExt;

/// The administrator's password, and everybody else's.
pub const PASSWORD: &str = "correct horse battery";

/// When the tests begin.
const START: i64 = 1_800_000_000;

/// A server.
pub struct Site {
    /// Where its data are.
    pub folder: Folder,
    /// What it knows.
    pub access: Arc<Access>,
    router: Router,
    now: Arc<AtomicI64>,
}

/// What the server answered.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; null when it is none of JSON.
    pub body: Value,
}

impl Answer {
    /// The cookie that it gives, as a client sends it back.
    pub fn cookie(&self) -> String {
        let cookie = self.headers.get(header::SET_COOKIE).expect("a cookie").to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// A text of its body.
    pub fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.body))
    }
}

/// A request, in the making.
pub struct Ask<'a> {
    site: &'a Site,
    request: axum::http::request::Builder,
    body: Body,
    from: SocketAddr,
}

impl Ask<'_> {
    /// With a header.
    pub fn with(self, name: &str, value: &str) -> Self {
        Ask { request: self.request.header(name, value), ..self }
    }

    /// With a cookie, as the page's own script asks.
    pub fn logged_in(self, cookie: &str) -> Self {
        self.with("cookie", cookie).with("x-spelunk-csrf", "1")
    }

    /// With a token.
    pub fn bearing(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// With a body.
    pub fn json(self, body: &Value) -> Self {
        Ask { body: Body::from(body.to_string()), ..self.with("content-type", "application/json") }
    }

    /// From another address.
    pub fn from(self, address: &str) -> Self {
        Ask { from: SocketAddr::new(address.parse().unwrap(), 4711), ..self }
    }

    /// Sends it.
    pub async fn send(self) -> Answer {
        let mut request: Request<Body> = self.request.body(self.body).unwrap();
        request.extensions_mut().insert(ConnectInfo(self.from));
        let response = self.site.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Answer { status, headers, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
    }
}

impl Site {
    /// A server that was just installed.
    pub fn new() -> Site {
        Site::with(Config::default())
    }

    /// One with a configuration; its clock is the test's.
    pub fn with(config: Config) -> Site {
        let folder = Folder::new();
        let now = Arc::new(AtomicI64::new(START));
        let access =
            Access::open(folder.path(), Config { clock: Clock::set_by(now.clone()), ..config }).unwrap();
        let guard = from_fn_with_state(access.clone(), require);
        // What stands for the rest of the server: the name of whoever gets in.
        let who = async |principal: Principal| principal.name().to_owned();
        let rest = Router::new()
            .route("/api/v1/zip", any(who))
            .route("/api/v1/clients", get(who))
            .route("/dav/", any(who))
            .route_layer(guard);
        Site { router: router(access.clone()).merge(rest), folder, access, now }
    }

    /// One with an administrator, who is logged in with the cookie.
    pub async fn set_up() -> (Site, String) {
        let site = Site::new();
        let cookie = site.set_up_as("root").await.cookie();
        (site, cookie)
    }

    /// Makes the administrator.
    pub async fn set_up_as(&self, name: &str) -> Answer {
        let secret = self.access.setup_secret().unwrap().unwrap();
        let body = serde_json::json!({"secret": secret, "name": name, "password": PASSWORD});
        self.post("/api/v1/setup").json(&body).send().await
    }

    /// Makes a user with rights, and logs in.
    pub async fn user(&self, root: &str, name: &str, rights: Value) -> String {
        let body = serde_json::json!({"name": name, "password": PASSWORD, "rights": rights});
        let made = self.post("/api/v1/users").logged_in(root).json(&body).send().await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        self.login(name, PASSWORD).send().await.cookie()
    }

    /// Makes a token.
    pub async fn token(&self, cookie: &str, body: Value) -> Answer {
        self.post("/api/v1/tokens").logged_in(cookie).json(&body).send().await
    }

    /// Makes a share.
    pub async fn share(&self, cookie: &str, path: &str, seconds: i64) -> Answer {
        let body = serde_json::json!({"path": path, "expires_in": seconds});
        self.post("/api/v1/shares").logged_in(cookie).json(&body).send().await
    }

    /// A login.
    pub fn login(&self, name: &str, password: &str) -> Ask<'_> {
        let body = serde_json::json!({"name": name, "password": password});
        self.post("/api/v1/login").json(&body)
    }

    /// A request.
    pub fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = Request::builder().method(method).uri(path).header("host", "backup.example");
        Ask { site: self, request, body: Body::empty(), from: ([10, 0, 0, 1], 4711).into() }
    }

    /// A request that reads.
    pub fn get(&self, path: &str) -> Ask<'_> {
        self.ask("GET", path)
    }

    /// A request that does.
    pub fn post(&self, path: &str) -> Ask<'_> {
        self.ask("POST", path)
    }

    /// The status of `GET /me` with a cookie.
    pub async fn me(&self, cookie: &str) -> StatusCode {
        self.get("/api/v1/me").with("cookie", cookie).send().await.status
    }

    /// Lets time pass.
    pub fn wait(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// What a token may do at a path: the status of the refusal, if it is one.
    pub fn token_check(&self, token: &str, action: Action, at: &str) -> Option<StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        let csrf = crate::server::access::csrf::Csrf::Header;
        let principal = self.access.authenticate(&headers, &Method::GET, csrf);
        check(principal, action, at)
    }

    /// The same of a share's secret.
    pub fn share_check(&self, secret: &str, action: Action, at: &str) -> Option<StatusCode> {
        check(self.access.share(secret), action, at)
    }
}

fn check(principal: Result<Principal, Problem>, action: Action, at: &str) -> Option<StatusCode> {
    let checked = principal.and_then(|principal| principal.check(action, &path(at)));
    checked.err().map(|problem| problem.status())
}

/// A path of names without odd characters.
pub fn path(text: &str) -> Vec<Name> {
    text.split('/').map(|name| Name::new(name.as_bytes()).unwrap()).collect()
}
