//! Tokens: how programs come in, in a user's name, with at most that user's rights.

use super::error::{Error, Result};
use super::principal::UserId;
use super::rights::{Actions, Rights};
use super::secret;
use super::session::USED_STEP_SECONDS;
use super::users::{self, User};
use super::{label, paths};
use rusqlite::{Connection, OptionalExtension, Row, params};
use spelunk_tree::Name;

/// How tokens begin, so that people and scanners of leaked secrets know one.
pub const PREFIX: &str = "spl_";
/// Tokens of a user.
const PER_USER_MAX: u32 = 100;

/// A token, without its secret, which nobody has but whoever it was shown to.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// What its user calls it.
    pub name: String,
    /// What it is good for at most.
    pub actions: Actions,
    /// The clients that it is good for; `None` for all that its user has.
    pub clients: Option<Vec<Name>>,
    /// When it was made.
    pub made: i64,
    /// When it ends.
    pub expires: Option<i64>,
    /// When it was last used, give or take a minute.
    pub used: Option<i64>,
}

/// Makes a token of a user out of `new` (its number is not looked at), and gives its secret.
///
/// # Errors
/// `Bad` for its name, `Conflict` when there are too many.
pub fn make(db: &Connection, user: UserId, new: &Token) -> Result<(Token, String)> {
    label::check(&new.name)?;
    let count: u32 = db.query_row("SELECT count(*) FROM tokens WHERE user = ?1", [user], |row| row.get(0))?;
    if count >= PER_USER_MAX {
        return Err(Error::Conflict("You have as many tokens as a user can have: remove one"));
    }
    let secret = format!("{PREFIX}{}", secret::make()?);
    let clients = new.clients.as_deref().map(paths::join);
    let sql = "INSERT INTO tokens (hash, user, name, actions, clients, made, expires)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let hash = secret::hash(&secret);
    db.execute(sql, params![hash, user, new.name, new.actions.bits(), clients, new.made, new.expires])?;
    Ok((Token { id: db.last_insert_rowid(), ..new.clone() }, secret))
}

const SELECT: &str = "SELECT id, name, actions, clients, made, expires, used, user FROM tokens";

/// A user's tokens, the newest first, those that have ended included.
///
/// # Errors
/// `Storage`.
pub fn of_user(db: &Connection, user: UserId) -> Result<Vec<Token>> {
    let mut statement = db.prepare_cached(&format!("{SELECT} WHERE user = ?1 ORDER BY id DESC"))?;
    let tokens: rusqlite::Result<Vec<Token>> = statement.query_map([user], from_row)?.collect();
    Ok(tokens?)
}

/// Removes a token of a user.
///
/// # Errors
/// `NotFound`, also for another user's.
pub fn remove(db: &Connection, user: UserId, id: i64) -> Result<()> {
    match db.execute("DELETE FROM tokens WHERE id = ?1 AND user = ?2", [id, user])? {
        0 => Err(Error::NotFound("There is no such token")),
        _ => Ok(()),
    }
}

/// Whose token it is and what it is good for now: never more than its user may do now. `None` when it is none, has
/// ended, or its user may not come in.
///
/// # Errors
/// `Storage`.
pub fn find(db: &Connection, secret: &str, now: i64) -> Result<Option<(User, Rights)>> {
    if !secret.starts_with(PREFIX) {
        return Ok(None);
    }
    let hash = secret::hash(secret);
    let mut statement = db.prepare_cached(&format!("{SELECT} WHERE hash = ?1"))?;
    let found =
        statement.query_row([&hash], |row| Ok((from_row(row)?, row.get::<_, UserId>(7)?))).optional()?;
    let Some((token, user)) = found else { return Ok(None) };
    if token.expires.is_some_and(|expires| now >= expires) {
        return Ok(None);
    }
    let Some(user) = users::by_id(db, user)?.filter(|user| !user.is_disabled) else { return Ok(None) };
    if token.used.is_none_or(|used| now - used >= USED_STEP_SECONDS) {
        db.execute("UPDATE tokens SET used = ?2 WHERE id = ?1", [token.id, now])?;
    }
    let rights = user.effective_rights().narrowed(token.actions, token.clients.as_deref());
    Ok(Some((user, rights)))
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<Token> {
    let clients: Option<Vec<u8>> = row.get(3)?;
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        actions: Actions::from_bits(row.get(2)?),
        // What cannot be read is good for no client.
        clients: clients.map(|clients| paths::split(&clients).unwrap_or_default()),
        made: row.get(4)?,
        expires: row.get(5)?,
        used: row.get(6)?,
    })
}
