//! Share links: one path, for whoever has the link, for a time.

use super::error::{Error, Result};
use super::paths;
use super::principal::{Principal, UserId};
use super::rights::Action;
use super::secret;
use super::users;
use crate::library::LATEST;
use crate::server::problem::Problem;
use rusqlite::{Connection, OptionalExtension, Row, params};
use spelunk_tree::Name;

/// How long shares that have ended are listed, in seconds.
const ENDED_KEPT_SECONDS: i64 = 30 * 24 * 3600;
/// Shares of a user that have not ended.
const PER_USER_MAX: u32 = 1000;
/// Seconds that a share lasts at most: a year and a day.
pub const SECONDS_MAX: i64 = 366 * 24 * 3600;

/// A share, without its secret.
#[derive(Clone, Debug)]
pub struct Share {
    /// Its number.
    pub id: i64,
    /// Who made it.
    pub user: String,
    /// What is shared.
    pub path: Vec<Name>,
    /// When it was made.
    pub made: i64,
    /// When it ends.
    pub expires: i64,
}

/// Lets `maker` share `path` for some seconds, and gives the link's secret.
///
/// # Errors
/// As [`Principal::check`] when the maker may not download it; `bad-request` for the library's root, for `latest`,
/// which is another backup tomorrow, and for a time that cannot be.
pub fn make(
    db: &Connection,
    maker: &Principal,
    path: Vec<Name>,
    seconds: i64,
    now: i64,
) -> Result<(Share, String), Problem> {
    if path.is_empty() {
        return Err(Problem::bad_request("The whole library cannot be shared"));
    }
    maker.check(Action::Browse, &path)?;
    maker.check(Action::Download, &path)?;
    if path.get(1).is_some_and(|moment| moment.as_bytes() == LATEST.as_bytes()) {
        return Err(Problem::bad_request("The newest backup is another one tomorrow: share one by its time"));
    }
    if !(1..=SECONDS_MAX).contains(&seconds) {
        return Err(Problem::bad_request(format!("A share lasts 1 to {SECONDS_MAX} seconds")));
    }
    Ok(store(db, maker, path, now, now + seconds)?)
}

fn store(
    db: &Connection,
    maker: &Principal,
    path: Vec<Name>,
    made: i64,
    expires: i64,
) -> Result<(Share, String)> {
    db.execute("DELETE FROM shares WHERE expires < ?1", [made - ENDED_KEPT_SECONDS])?;
    let sql = "SELECT count(*) FROM shares WHERE user = ?1 AND expires > ?2";
    let count: u32 = db.query_row(sql, [maker.user(), made], |row| row.get(0))?;
    if count >= PER_USER_MAX {
        return Err(Error::Conflict("You have as many shares as a user can have: remove one"));
    }
    let secret = secret::make()?;
    let sql = "INSERT INTO shares (hash, user, path, made, expires) VALUES (?1, ?2, ?3, ?4, ?5)";
    db.execute(sql, params![secret::hash(&secret), maker.user(), paths::join(&path), made, expires])?;
    let id = db.last_insert_rowid();
    Ok((Share { id, user: maker.name().to_owned(), path, made, expires }, secret))
}

/// Shares of a user, or of all, the newest first, those that have ended included.
///
/// # Errors
/// `Storage`.
pub fn list(db: &Connection, user: Option<UserId>) -> Result<Vec<Share>> {
    let sql =
        "SELECT shares.id, users.name, path, shares.made, expires FROM shares JOIN users ON users.id = user
        WHERE ?1 IS NULL OR user = ?1 ORDER BY shares.id DESC";
    let mut statement = db.prepare_cached(sql)?;
    let shares: rusqlite::Result<Vec<Share>> = statement.query_map([user], from_row)?.collect();
    Ok(shares?)
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Share> {
    let path: Vec<u8> = row.get(2)?;
    Ok(Share {
        id: row.get(0)?,
        user: row.get(1)?,
        path: paths::split(&path).unwrap_or_default(),
        made: row.get(3)?,
        expires: row.get(4)?,
    })
}

/// Ends a share, of `user` or, without one, of anybody. Answers what was shared.
///
/// # Errors
/// `NotFound`, also for another user's.
pub fn revoke(db: &Connection, user: Option<UserId>, id: i64) -> Result<Vec<u8>> {
    let sql = "DELETE FROM shares WHERE id = ?1 AND (?2 IS NULL OR user = ?2) RETURNING path";
    let path = db.query_row(sql, params![id, user], |row| row.get(0)).optional()?;
    path.ok_or(Error::NotFound("There is no such share"))
}

/// What a link's secret opens. `None` when it is none, has ended, or its maker may no longer download what it leads to.
///
/// # Errors
/// `Storage`.
pub fn find(db: &Connection, secret: &str, now: i64) -> Result<Option<Principal>> {
    let sql = "SELECT user, path FROM shares WHERE hash = ?1 AND expires > ?2";
    let mut statement = db.prepare_cached(sql)?;
    let found: Option<(UserId, Vec<u8>)> = statement
        .query_row(params![secret::hash(secret), now], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((user, path)) = found else { return Ok(None) };
    let path = paths::split(&path)?;
    let Some(user) = users::by_id(db, user)?.filter(|_| !path.is_empty()) else { return Ok(None) };
    let rights = user.effective_rights();
    let link = Principal::share(user.id, user.name, &rights, path.clone());
    Ok(Some(link).filter(|link| link.may(Action::Browse, &path) && link.may(Action::Download, &path)))
}
