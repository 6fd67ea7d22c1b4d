//! Who may see what: users, sessions, tokens, share links, and the log of what they did.
//!
//! ```text
//! request ─> require ─> Access::authenticate ─> Principal ─> the handler asks: Principal::check(action, path)
//!             └─ /s/SECRET: Access::share ─────────┘
//! ```
//!
//! Nothing is open: until there is an administrator, all that works is the link for setting up, which the server prints
//! and which changes with every start. Rights are looked up for every request, so what is taken away is gone at once.
//! `docs/access.md` is the manual.

mod accounts;
mod audit;
mod authenticate;
mod clock;
mod csrf;
mod db;
mod error;
mod label;
mod limiter;
mod password;
mod paths;
mod peer;
mod principal;
mod rights;
mod routes;
mod secret;
mod session;
mod share;
mod token;
mod users;

pub use accounts::Accounts;
pub use audit::{Event, Kept, Outcome, What};
pub use authenticate::{Peer, require};
pub use clock::Clock;
pub use error::Error;
pub use principal::{Kind, Principal};
pub use rights::{Action, Actions, Rights};
pub use routes::{openapi, router};
pub use session::Lifetime;
pub use users::User;

use super::problem::Problem;
use axum::http::HeaderMap;
use limiter::Limiter;
use password::Passwords;
use rusqlite::Connection;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What the server's owner decides.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whether browsers reach the server over TLS, its own or a proxy's.
    pub is_secure: bool,
    /// Proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Vec<IpAddr>,
    /// How long a login lasts.
    pub lifetime: Lifetime,
    /// How much of the log is kept.
    pub kept: Kept,
    /// What time it is.
    pub clock: Clock,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            is_secure: false,
            trusted_proxies: Vec::new(),
            lifetime: Lifetime::default(),
            kept: Kept::default(),
            clock: Clock::system(),
        }
    }
}

/// All that is known of users.
pub struct Access {
    db: Mutex<Connection>,
    config: Config,
    passwords: Passwords,
    limiter: Limiter,
    /// The secret of the link for setting up, until it was used.
    setup: Mutex<Option<String>>,
    /// Whether an administrator was seen: then there always is one.
    is_set_up: AtomicBool,
    log: audit::Log,
}

impl Access {
    /// Opens the database in the server's data directory; makes both where they are missing.
    ///
    /// # Errors
    /// When it cannot be read or written, others could write to it, or it is of a newer Spelunk.
    pub fn open(data_directory: &Path, config: Config) -> spelunk_tree::Result<Arc<Access>> {
        let failed = |error: Error| spelunk_tree::Error::internal(error.to_string());
        Ok(Arc::new(Access {
            db: Mutex::new(db::open(data_directory)?),
            passwords: Passwords::new().map_err(failed)?,
            limiter: Limiter::default(),
            setup: Mutex::new(Some(secret::make()?)),
            is_set_up: AtomicBool::new(false),
            log: audit::Log::start(data_directory, config.kept)?,
            config,
        }))
    }

    /// The secret with which the first administrator is made: to be shown to whoever started the server, as the link
    /// `/#/setup/SECRET`. `None` when there is an administrator.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn setup_secret(&self) -> Result<Option<String>, Error> {
        let is_set_up = self.is_set_up()?;
        let secret = self.setup.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(secret.filter(|_| !is_set_up))
    }

    /// What a share link opens: its secret is the part of the path after `/s/`.
    ///
    /// # Errors
    /// `not-found` when it is none, has ended or was revoked, or its maker may no longer download what it leads to.
    pub fn share(&self, secret: &str) -> Result<Principal, Problem> {
        let now = self.now();
        self.with(|db| share::find(db, secret, now))?.ok_or_else(Problem::not_found)
    }

    /// The address of whoever asks over a connection from `connection`.
    pub fn peer(&self, headers: &HeaderMap, connection: IpAddr) -> IpAddr {
        peer::address(headers, connection, &self.config.trusted_proxies)
    }

    /// Logs what somebody did. Cheap; it waits only while the disk cannot keep up.
    pub fn audit(&self, event: Event) {
        self.log.add(event, self.now());
    }

    /// Does something that may wait for the disk, beside the threads that serve requests.
    ///
    /// # Errors
    /// What `work` answers.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Access) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let access = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&access)).await;
        done.unwrap_or_else(|_| Err(Error::Internal("A fault of Spelunk's own").into()))
    }

    /// Whether anybody can manage users.
    fn is_set_up(&self) -> Result<bool, Error> {
        if self.is_set_up.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let is_set_up = self.with(|db| users::has_admin(db))?;
        self.is_set_up.store(is_set_up, Ordering::Relaxed);
        Ok(is_set_up)
    }

    /// Does something with the database.
    fn with<T, E>(&self, work: impl FnOnce(&mut Connection) -> Result<T, E>) -> Result<T, E> {
        // A panic amid a transaction rolled it back.
        work(&mut self.db.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> i64 {
        self.config.clock.now()
    }
}

#[cfg(test)]
mod tests;
