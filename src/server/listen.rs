//! Listening, and the lifetime of a server.

use super::access::{self, Access};
use super::indexer::Indexer;
use super::problem::Problem;
use super::state::App;
use super::tls::{self, Identity, Tls};
use super::{api, dav, layers, page, shared};
use crate::index::Index;
use crate::library::{Library, Place};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{any, get};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use spelunk_sandbox::OpenOptions;
use spelunk_tree::{Error, Result};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a client may take to send a request's headers, and to begin the next one.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a request's line and headers.
const HEADERS_BYTES_MAX: usize = 64 << 10;

/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 64;

/// How long requests that are under way are served when the server is to end.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Threads that wait for backups: readers, and archives under way.
const BLOCKING_THREADS: usize = 256;

/// What a server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is shown.
    pub places: Vec<Place>,
    /// How images are opened.
    pub options: OpenOptions,
    /// Where to listen; port 0 is any that is free.
    pub listen: SocketAddr,
    /// The directory of its own data: users, index, certificate. Made when it is not there.
    pub data: PathBuf,
    /// Whether names in new backups are put into the index as they appear, or when somebody asks for it.
    pub keeps_index: bool,
    /// Whether and how to speak TLS.
    pub tls: Tls,
    /// Whether a proxy in front speaks TLS.
    pub is_behind_tls: bool,
    /// Proxies whose word about a client's address is taken.
    pub trusted_proxies: Vec<IpAddr>,
}

/// A server that listens, and is not serving yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    identity: Option<Identity>,
}

impl Server {
    /// Opens the library and the server's own data, and listens. From here on clients can connect; they are served
    /// by [`Server::run`].
    ///
    /// # Errors
    /// When a place cannot be read, the data cannot be opened, or the address cannot be had.
    pub fn bind(config: Config) -> Result<Server> {
        make_private(&config.data)?;
        let identity = tls::load(&config.tls, &config.data)?;
        let library = Library::open(&config.places, config.options.clone())?;
        let access = access::Config {
            is_secure: identity.is_some() || config.is_behind_tls,
            trusted_proxies: config.trusted_proxies,
            ..access::Config::default()
        };
        let access = Access::open(&config.data, access)?;
        let index = Index::open(&config.data.join("index.sqlite"))?;
        let indexer = Indexer::start(library.clone(), index.clone(), config.keeps_index)?;
        let doing = || format!("listening at {}", config.listen);
        let listener = TcpListener::bind(config.listen).map_err(|error| Error::from_io(doing(), &error))?;
        let address = listener.local_addr().map_err(|error| Error::from_io(doing(), &error))?;
        Ok(Server { listener, address, app: App::new(library, access, index, indexer), identity })
    }

    /// Where it can be reached.
    pub fn url(&self) -> String {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/", self.address)
    }

    /// Where the first administrator is made, as long as there is none.
    ///
    /// # Errors
    /// When the database of users cannot be read.
    pub fn setup_url(&self) -> Result<Option<String>> {
        let secret = self.app.access.setup_secret().map_err(|error| Error::internal(error.to_string()))?;
        Ok(secret.map(|secret| format!("{}#/setup/{secret}", self.url())))
    }

    /// What users should know of how the libraries are read.
    pub fn notes(&self) -> Vec<String> {
        self.app.library.notes()
    }

    /// The certificate's SHA-256, when there is one.
    pub fn fingerprint(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| &*identity.fingerprint)
    }

    /// Serves until `stop` gets a message, or its sender is gone.
    ///
    /// # Errors
    /// When the system does not let it serve.
    pub fn run(self, stop: tokio::sync::oneshot::Receiver<()>) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("http")
            .build()
            .map_err(|error| Error::from_io("starting threads", &error))?;
        let served = runtime.block_on(self.serve(stop));
        // Archives that are still being written find their clients gone.
        runtime.shutdown_timeout(STOP_GRACE);
        served.map_err(|error| Error::from_io("serving", &error))
    }

    async fn serve(self, stop: tokio::sync::oneshot::Receiver<()>) -> std::io::Result<()> {
        let Server { listener, app, identity, .. } = self;
        let handle = Handle::new();
        let ending = handle.clone();
        tokio::spawn(async move {
            // No sender is as good as a message.
            _ = stop.await;
            ending.graceful_shutdown(Some(STOP_GRACE));
        });
        let router = layers::around(router(&app), identity.is_some());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let mut server =
            axum_server::from_tcp(listener)?.handle(handle).first_request_timeout(HEADERS_TIMEOUT);
        let http = server.http_builder();
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_TIMEOUT)
            .max_buf_size(HEADERS_BYTES_MAX);
        http.http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HEADERS_TIMEOUT)
            .max_concurrent_streams(STREAMS_MAX);
        match identity {
            None => server.serve(service).await,
            Some(identity) => {
                let config = RustlsConfig::from_config(identity.config);
                server.acceptor(RustlsAcceptor::new(config)).serve(service).await
            }
        }
    }
}

/// All that is served. What is not open to everybody has a layer that asks who is there.
fn router(app: &Arc<App>) -> Router {
    let user = from_fn_with_state(app.access.clone(), access::require);
    let dav = Router::new()
        .route("/dav", any(dav::dav))
        .route("/dav/", any(dav::dav))
        .route("/dav/{*path}", any(dav::dav))
        .route_layer(user.clone());
    // Windows asks the root what it speaks, and looks from there on.
    let root = any(dav::dav).layer(user.clone()).get(page::index);
    Router::new()
        .route("/", root)
        .merge(page::router())
        .route("/s/{secret}", get(page::to_share))
        .route("/s/{secret}/", get(page::index))
        .nest("/s/{secret}", page::router())
        .nest("/api/v1", api::router().layer(user))
        .nest("/s/{secret}/api/v1", api::router().layer(from_fn_with_state(app.clone(), shared::require)))
        .merge(api::description())
        .merge(dav)
        .with_state(app.clone())
        .merge(access::router(app.access.clone()))
        .fallback(async || Problem::not_found())
}

/// Makes the directory of the server's own data, which is nobody else's to read.
fn make_private(directory: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let doing = || format!("making {}", directory.display());
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| Error::from_io(doing(), &error))
}
