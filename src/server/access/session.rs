//! Sessions: what a browser has after a login.

use super::error::Result;
use super::principal::UserId;
use super::secret::{self, Hash};
use super::users::{self, User};
use axum::http::{HeaderMap, HeaderValue, header};
use rusqlite::{Connection, OptionalExtension, params};

/// Sessions of a user. Those that were used longest ago end first.
const PER_USER_MAX: u32 = 50;
/// Seconds between two notes of when something was last used: not every request writes.
pub const USED_STEP_SECONDS: i64 = 60;

/// How long sessions last, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// Without a request.
    pub idle: i64,
    /// Altogether.
    pub most: i64,
}

impl Default for Lifetime {
    /// Half a day, and a week.
    fn default() -> Lifetime {
        Lifetime { idle: 12 * 3600, most: 7 * 24 * 3600 }
    }
}

/// Begins a session of a user, with an id that is always new: one that a client brings is never taken.
///
/// # Errors
/// `Storage`.
pub fn start(db: &Connection, user: UserId, lifetime: Lifetime, now: i64) -> Result<String> {
    db.execute(
        "DELETE FROM sessions WHERE made <= ?1 OR used <= ?2",
        [now - lifetime.most, now - lifetime.idle],
    )?;
    let surplus = "DELETE FROM sessions WHERE hash IN
        (SELECT hash FROM sessions WHERE user = ?1 ORDER BY used DESC LIMIT -1 OFFSET ?2)";
    db.execute(surplus, params![user, PER_USER_MAX - 1])?;
    let id = secret::make()?;
    let sql = "INSERT INTO sessions (hash, user, made, used) VALUES (?1, ?2, ?3, ?3)";
    db.execute(sql, params![secret::hash(&id), user, now])?;
    Ok(id)
}

/// Whose session it is, if it is one and its user may come in. That it was used is noted.
///
/// # Errors
/// `Storage`.
pub fn find(db: &Connection, id: &str, lifetime: Lifetime, now: i64) -> Result<Option<(User, Hash)>> {
    let hash = secret::hash(id);
    let sql = "SELECT user, made, used FROM sessions WHERE hash = ?1";
    let found: Option<(UserId, i64, i64)> = db
        .prepare_cached(sql)?
        .query_row([&hash], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let Some((user, made, used)) = found else { return Ok(None) };
    if now - made >= lifetime.most || now - used >= lifetime.idle {
        end(db, &hash)?;
        return Ok(None);
    }
    if now - used >= USED_STEP_SECONDS {
        db.execute("UPDATE sessions SET used = ?2 WHERE hash = ?1", params![&hash, now])?;
    }
    let user = users::by_id(db, user)?.filter(|user| !user.is_disabled);
    Ok(user.map(|user| (user, hash)))
}

/// Ends a session.
///
/// # Errors
/// `Storage`.
pub fn end(db: &Connection, session: &Hash) -> Result<()> {
    db.execute("DELETE FROM sessions WHERE hash = ?1", [session])?;
    Ok(())
}

/// Ends all sessions of a user.
///
/// # Errors
/// `Storage`.
pub fn end_all(db: &Connection, user: UserId) -> Result<()> {
    db.execute("DELETE FROM sessions WHERE user = ?1", [user])?;
    Ok(())
}

/// What the cookie is called. With TLS, a name that browsers take from this very host over TLS alone.
fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { "__Host-spelunk_session" } else { "spelunk_session" }
}

/// The header that gives a browser its session.
///
/// `SameSite=Strict`: no other site can make a browser send it. A link from a mail still works for who is logged in,
/// though the cookie is not sent along when the link is followed: what it leads to is a static page, whose own requests
/// come from the same site.
pub fn cookie(id: &str, lifetime: Lifetime, is_secure: bool) -> HeaderValue {
    set_cookie(id, lifetime.most, is_secure)
}

/// The header that takes it away again.
pub fn no_cookie(is_secure: bool) -> HeaderValue {
    set_cookie("", 0, is_secure)
}

fn set_cookie(id: &str, seconds: i64, is_secure: bool) -> HeaderValue {
    let name = cookie_name(is_secure);
    let secure = if is_secure { "; Secure" } else { "" };
    let text = format!("{name}={id}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // An id is made of letters that may stand in a header; without it nobody is logged in.
    let mut value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// The session that a request brings.
pub fn from_headers(headers: &HeaderMap, is_secure: bool) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == cookie_name(is_secure)).map(|(_, id)| id).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::access::rights::Rights;
    use crate::server::access::tests::Folder;
    use crate::server::access::{db, users};

    #[test]
    fn more_sessions_than_there_may_be_end_the_oldest() {
        let folder = Folder::new();
        let mut db = db::open(folder.path()).unwrap();
        let new = users::New { name: "alice", password: "hash", is_admin: false, rights: &Rights::default() };
        let user = users::add(&mut db, &new, 0).unwrap().id;
        let lifetime = Lifetime::default();

        let ids: Vec<String> =
            (0..=i64::from(PER_USER_MAX)).map(|now| start(&db, user, lifetime, now).unwrap()).collect();
        let is_there = |id: &str| find(&db, id, lifetime, 100).unwrap().is_some();

        assert!(!is_there(&ids[0]));
        assert!(ids[1..].iter().all(|id| is_there(id)));
    }

    #[test]
    fn cookies_are_kept_from_scripts_and_other_sites() {
        let plain = cookie("abc", Lifetime::default(), false);
        let secure = cookie("abc", Lifetime::default(), true);

        assert_eq!(plain, "spelunk_session=abc; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict");
        assert_eq!(
            secure,
            "__Host-spelunk_session=abc; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict; Secure"
        );
        assert!(no_cookie(true).to_str().unwrap().contains("__Host-spelunk_session=; Path=/; Max-Age=0;"));
    }

    #[test]
    fn the_session_is_found_among_other_cookies_and_only_under_its_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; spelunk_session=one"));
        headers.append(header::COOKIE, HeaderValue::from_static("__Host-spelunk_session=two;c"));

        assert_eq!(from_headers(&headers, false), Some("one"));
        assert_eq!(from_headers(&headers, true), Some("two"));
        headers.insert(header::COOKIE, HeaderValue::from_static("spelunk_session=one"));
        assert_eq!(from_headers(&headers, true), None);
    }
}
