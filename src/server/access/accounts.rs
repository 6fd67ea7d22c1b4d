//! Users from the command line, on the machine itself: also while the server runs, which looks at the database for every
//! request.

use super::audit::{self, Event, What};
use super::clock::Clock;
use super::error::{Error, Result};
use super::rights::Rights;
use super::users::{self, Change, New, User};
use super::{db, password};
use rusqlite::Connection;
use std::path::Path;

/// The users of a server, by its data directory.
pub struct Accounts {
    db: Connection,
}

impl Accounts {
    /// Opens the database in a server's data directory; makes both where they are missing.
    ///
    /// # Errors
    /// As [`super::Access::open`].
    pub fn open(data_directory: &Path) -> spelunk_tree::Result<Accounts> {
        Ok(Accounts { db: db::open(data_directory)? })
    }

    /// Makes a user.
    ///
    /// # Errors
    /// For a name or password that cannot be, or a name that is taken.
    pub fn add(&mut self, name: &str, password: &str, is_admin: bool, rights: &Rights) -> Result<()> {
        users::check_name(name)?;
        let hash = checked_hash(password)?;
        let user = users::add(&mut self.db, &New { name, password: &hash, is_admin, rights }, now())?;
        self.log(What::UserMade, &user.name)
    }

    /// Gives a user a new password, and ends their sessions.
    ///
    /// # Errors
    /// When there is no such user, or the password cannot be.
    pub fn set_password(&mut self, name: &str, password: &str) -> Result<()> {
        let password = Some(checked_hash(password)?);
        let user = users::change(&mut self.db, name, &Change { password, ..Change::default() })?;
        self.log(What::UserChanged, &user.name)
    }

    /// Whether there is a user of this name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn has(&self, name: &str) -> Result<bool> {
        Ok(users::by_name(&self.db, name)?.is_some())
    }

    /// All users, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn all(&self) -> Result<Vec<User>> {
        users::all(&self.db)
    }

    /// Removes a user with their sessions, tokens and shares.
    ///
    /// # Errors
    /// When there is no such user, or nobody would be left to manage users.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        users::remove(&mut self.db, name)?;
        self.log(What::UserRemoved, name)
    }

    fn log(&self, what: What, about: &str) -> Result<()> {
        audit::insert(&self.db, &Event::new(what, "", None).about(about), now()).map_err(Error::from)
    }
}

fn checked_hash(text: &str) -> Result<String> {
    password::check(text)?;
    password::hash(text)
}

fn now() -> i64 {
    Clock::system().now()
}
