-- Times are seconds since 1970. Numbers are never given twice: a share or session of a user who is gone must not
-- become another's.

CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password TEXT NOT NULL,                     -- PHC string
    is_admin INTEGER NOT NULL,
    is_disabled INTEGER NOT NULL DEFAULT 0,
    made INTEGER NOT NULL
) STRICT;

CREATE TABLE rights (
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    client BLOB NOT NULL,                       -- empty: all clients
    actions INTEGER NOT NULL,                   -- bits of Actions
    PRIMARY KEY (user, client)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash BLOB PRIMARY KEY,                      -- SHA-256 of what is in the cookie
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    made INTEGER NOT NULL,
    used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user);

CREATE TABLE tokens (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,                  -- SHA-256 of the token
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    name TEXT NOT NULL,
    actions INTEGER NOT NULL,
    clients BLOB,                               -- names with '/' between them; NULL: all
    made INTEGER NOT NULL,
    expires INTEGER,
    used INTEGER
) STRICT;
CREATE INDEX tokens_by_user ON tokens (user);

CREATE TABLE shares (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,                  -- SHA-256 of what is in the link
    user INTEGER NOT NULL REFERENCES users ON DELETE CASCADE,
    path BLOB NOT NULL,                         -- names with '/' between them
    made INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX shares_by_user ON shares (user);

-- Users by name: what they did stays when they are gone.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time INTEGER NOT NULL,
    event TEXT NOT NULL,
    user TEXT NOT NULL,
    peer TEXT,
    about TEXT NOT NULL,
    path BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    outcome TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (time);
CREATE INDEX audit_by_user ON audit (user, id);
CREATE INDEX audit_by_event ON audit (event, id);
