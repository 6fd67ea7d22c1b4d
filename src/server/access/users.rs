//! Users, as they are stored.

use super::error::{Error, Result};
use super::principal::UserId;
use super::rights::{Actions, Rights};
use super::session;
use crate::escape::is_hostile;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use spelunk_tree::Name;

/// Characters of a user's name.
const NAME_CHARACTERS_MAX: usize = 64;
/// Users that there can be.
const USERS_MAX: u32 = 10_000;
/// Clients for which a user has rights of their own.
const CLIENTS_MAX: usize = 10_000;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Their number.
    pub id: UserId,
    /// Their name, in their spelling.
    pub name: String,
    /// Whether they manage the others, and may do everything.
    pub is_admin: bool,
    /// Whether they may not come in at present.
    pub is_disabled: bool,
    /// What they may do, unless they may do everything.
    pub rights: Rights,
    /// When they were made.
    pub made: i64,
}

impl User {
    /// What they may do now.
    pub fn effective_rights(&self) -> Rights {
        match self {
            User { is_disabled: true, .. } => Rights::default(),
            User { is_admin: true, .. } => Rights::all(),
            User { rights, .. } => rights.clone(),
        }
    }
}

/// What a user is made of.
pub struct New<'a> {
    /// Their name.
    pub name: &'a str,
    /// The hash of their password.
    pub password: &'a str,
    /// Whether they manage the others.
    pub is_admin: bool,
    /// What they may do.
    pub rights: &'a Rights,
}

/// What becomes different of a user.
#[derive(Default)]
pub struct Change {
    /// The hash of a new password.
    pub password: Option<String>,
    /// Whether they manage the others.
    pub is_admin: Option<bool>,
    /// Whether they may not come in.
    pub is_disabled: Option<bool>,
    /// What they may do.
    pub rights: Option<Rights>,
}

/// Refuses what cannot be a user's name. It stands in headers, logs and terminals: letters and digits of any script,
/// and few signs; no `:`, with which Basic authentication ends a name.
///
/// # Errors
/// `Bad`.
pub fn check_name(name: &str) -> Result<()> {
    let is_good = |c: char| (c.is_alphanumeric() || ".-_@+".contains(c)) && !is_hostile(c);
    if name.is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || !name.chars().all(is_good) {
        return Err(Error::Bad(format!(
            "A user's name has 1 to {NAME_CHARACTERS_MAX} letters, digits and characters of .-_@+"
        )));
    }
    Ok(())
}

/// The user called `name`, in any spelling.
pub fn by_name(db: &Connection, name: &str) -> Result<Option<User>> {
    one(db, "name = ?1", name)
}

/// The user with a number.
pub fn by_id(db: &Connection, id: UserId) -> Result<Option<User>> {
    one(db, "id = ?1", id)
}

/// All users, by name.
pub fn all(db: &Connection) -> Result<Vec<User>> {
    let mut statement = db.prepare_cached(&format!("{SELECT} ORDER BY name"))?;
    let users: rusqlite::Result<Vec<User>> = statement.query_map([], from_row)?.collect();
    users?.into_iter().map(|user| with_rights(db, user)).collect()
}

/// The hash of a user's password.
pub fn password(db: &Connection, id: UserId) -> Result<Option<String>> {
    let mut statement = db.prepare_cached("SELECT password FROM users WHERE id = ?1")?;
    Ok(statement.query_row([id], |row| row.get(0)).optional()?)
}

/// Whether anybody can manage users. Once somebody can, there always is somebody.
pub fn has_admin(db: &Connection) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE is_admin AND NOT is_disabled)";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Makes the first administrator.
///
/// # Errors
/// `Conflict` when there is one; as [`add`].
pub fn add_first(db: &mut Connection, new: &New<'_>, now: i64) -> Result<User> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if has_admin(&transaction)? {
        return Err(Error::Conflict("There is an administrator already"));
    }
    let user = insert(&transaction, new, now)?;
    transaction.commit()?;
    Ok(user)
}

/// Makes a user.
///
/// # Errors
/// `Bad` for the name, `Conflict` when it is taken.
pub fn add(db: &mut Connection, new: &New<'_>, now: i64) -> Result<User> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let user = insert(&transaction, new, now)?;
    transaction.commit()?;
    Ok(user)
}

fn insert(db: &Connection, new: &New<'_>, now: i64) -> Result<User> {
    check_name(new.name)?;
    if by_name(db, new.name)?.is_some() {
        return Err(Error::Conflict("There is a user of this name"));
    }
    let count: u32 = db.query_row("SELECT count(*) FROM users", [], |row| row.get(0))?;
    if count >= USERS_MAX {
        return Err(Error::Conflict("There are as many users as there can be"));
    }
    let sql = "INSERT INTO users (name, password, is_admin, made) VALUES (?1, ?2, ?3, ?4)";
    db.execute(sql, params![new.name, new.password, new.is_admin, now])?;
    let id = db.last_insert_rowid();
    set_rights(db, id, new.rights)?;
    by_id(db, id)?.ok_or(Error::Internal("a user was not stored"))
}

/// Changes a user. Where somebody else could know the old password, or they may not come in any more, all their sessions
/// end.
///
/// # Errors
/// `NotFound`; `Conflict` when nobody would be left to manage users.
pub fn change(db: &mut Connection, name: &str, change: &Change) -> Result<User> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let user = by_name(&transaction, name)?.ok_or(NO_SUCH_USER)?;
    let is_admin = change.is_admin.unwrap_or(user.is_admin);
    let is_disabled = change.is_disabled.unwrap_or(user.is_disabled);
    let sql =
        "UPDATE users SET is_admin = ?2, is_disabled = ?3, password = coalesce(?4, password) WHERE id = ?1";
    transaction.execute(sql, params![user.id, is_admin, is_disabled, change.password])?;
    if let Some(rights) = &change.rights {
        transaction.execute("DELETE FROM rights WHERE user = ?1", [user.id])?;
        set_rights(&transaction, user.id, rights)?;
    }
    if user.is_admin && !has_admin(&transaction)? {
        return Err(LAST_ADMINISTRATOR);
    }
    if change.password.is_some() || is_disabled {
        session::end_all(&transaction, user.id)?;
    }
    let changed = by_id(&transaction, user.id)?.ok_or(NO_SUCH_USER)?;
    transaction.commit()?;
    Ok(changed)
}

/// Removes a user, with their sessions, tokens and shares.
///
/// # Errors
/// As [`change`].
pub fn remove(db: &mut Connection, name: &str) -> Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let user = by_name(&transaction, name)?.ok_or(NO_SUCH_USER)?;
    transaction.execute("DELETE FROM users WHERE id = ?1", [user.id])?;
    if user.is_admin && !has_admin(&transaction)? {
        return Err(LAST_ADMINISTRATOR);
    }
    Ok(transaction.commit()?)
}

const NO_SUCH_USER: Error = Error::NotFound("There is no such user");
const LAST_ADMINISTRATOR: Error = Error::Conflict("Somebody must be left who manages users");

const SELECT: &str = "SELECT id, name, is_admin, is_disabled, made FROM users";

fn one(db: &Connection, condition: &str, value: impl rusqlite::ToSql) -> Result<Option<User>> {
    let mut statement = db.prepare_cached(&format!("{SELECT} WHERE {condition}"))?;
    let user = statement.query_row([value], from_row).optional()?;
    user.map(|user| with_rights(db, user)).transpose()
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        name: row.get(1)?,
        is_admin: row.get(2)?,
        is_disabled: row.get(3)?,
        made: row.get(4)?,
        rights: Rights::default(),
    })
}

fn with_rights(db: &Connection, mut user: User) -> Result<User> {
    let mut statement = db.prepare_cached("SELECT client, actions FROM rights WHERE user = ?1")?;
    let mut rows = statement.query([user.id])?;
    while let Some(row) = rows.next()? {
        let (client, actions): (Vec<u8>, u8) = (row.get(0)?, row.get(1)?);
        let actions = Actions::from_bits(actions);
        if client.is_empty() {
            user.rights.every = actions;
        } else if let Ok(client) = Name::new(client) {
            user.rights.clients.insert(client, actions);
        }
    }
    Ok(user)
}

fn set_rights(db: &Connection, user: UserId, rights: &Rights) -> Result<()> {
    if rights.clients.len() > CLIENTS_MAX {
        return Err(Error::Bad(format!("A user has rights for at most {CLIENTS_MAX} single clients")));
    }
    let every = [(&b""[..], rights.every)];
    let single = rights.clients.iter().map(|(client, actions)| (client.as_bytes(), *actions));
    let mut statement =
        db.prepare_cached("INSERT INTO rights (user, client, actions) VALUES (?1, ?2, ?3)")?;
    for (client, actions) in every.into_iter().chain(single).filter(|(_, actions)| !actions.is_empty()) {
        statement.execute(params![user, client, actions.bits()])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::access::Action;
    use crate::server::access::db;
    use crate::server::access::tests::Folder;
    use std::collections::BTreeMap;

    fn admin(name: &str) -> New<'_> {
        static NONE: Rights = Rights { every: Actions::NONE, clients: BTreeMap::new() };
        New { name, password: "hash", is_admin: true, rights: &NONE }
    }

    #[test]
    fn names_that_could_forge_a_header_or_a_log_are_refused() {
        for bad in
            ["", "a b", "a:b", "a\r\nSet-Cookie: x", "a/b", "\"><script>", "a\0", "\u{202e}a", "a\u{200b}"]
        {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        for good in ["alice", "jörg", "a.b-c_d@example.org", "李雷", "x+y"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        assert!(check_name(&"a".repeat(NAME_CHARACTERS_MAX + 1)).is_err());
    }

    #[test]
    fn rights_are_stored_with_names_that_are_no_text() {
        let folder = Folder::new();
        let mut db = db::open(folder.path()).unwrap();
        let odd = Name::new(&b"\xff*\r\n"[..]).unwrap();
        let rights = Rights {
            every: Actions::from_iter([Action::Browse]),
            clients: BTreeMap::from([(odd, Actions::ALL)]),
        };
        let new = New { name: "Alice", password: "hash", is_admin: false, rights: &rights };

        let stored = add(&mut db, &new, 7).unwrap();

        assert_eq!((stored.rights, stored.made), (rights, 7));
        assert_eq!(by_name(&db, "aLICE").unwrap().map(|user| user.name), Some("Alice".to_owned()));
        assert!(matches!(add(&mut db, &admin("alice"), 8), Err(Error::Conflict(_))));
    }

    #[test]
    fn more_users_and_rights_than_there_may_be_are_refused() {
        let folder = Folder::new();
        let mut db = db::open(folder.path()).unwrap();
        let client = |number: usize| Name::new(format!("c{number}").into_bytes()).unwrap();
        let rights = |count: usize| Rights {
            every: Actions::NONE,
            clients: (0..count).map(|number| (client(number), Actions::ALL)).collect(),
        };
        fn new(rights: &Rights) -> New<'_> {
            New { name: "alice", password: "hash", is_admin: false, rights }
        }

        let (too_many, most) = (rights(CLIENTS_MAX + 1), rights(CLIENTS_MAX));
        assert!(matches!(add(&mut db, &new(&too_many), 0), Err(Error::Bad(_))));
        add(&mut db, &new(&most), 0).unwrap();
        let many = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                    INSERT INTO users (name, password, is_admin, made) SELECT 'u' || i, 'hash', 0, 0 FROM n";
        db.execute(many, [USERS_MAX - 1]).unwrap();
        assert!(matches!(add(&mut db, &admin("bob"), 0), Err(Error::Conflict(_))));
    }

    #[test]
    fn one_administrator_is_always_left() {
        let folder = Folder::new();
        let mut db = db::open(folder.path()).unwrap();
        add_first(&mut db, &admin("one"), 0).unwrap();
        assert!(matches!(add_first(&mut db, &admin("other"), 0), Err(Error::Conflict(_))));
        let demoted = || Change { is_admin: Some(false), ..Change::default() };
        let disabled = || Change { is_disabled: Some(true), ..Change::default() };

        for refused in [change(&mut db, "one", &demoted()), change(&mut db, "one", &disabled())] {
            assert!(matches!(refused, Err(Error::Conflict(_))));
        }
        assert!(matches!(remove(&mut db, "one"), Err(Error::Conflict(_))));
        add(&mut db, &admin("two"), 0).unwrap();
        change(&mut db, "two", &disabled()).unwrap();
        assert!(matches!(remove(&mut db, "one"), Err(Error::Conflict(_))), "the other one cannot come in");
        change(&mut db, "two", &Change { is_disabled: Some(false), ..Change::default() }).unwrap();
        remove(&mut db, "one").unwrap();
        assert!(has_admin(&db).unwrap());
    }
}
