-- An item's name of a client, over all its backups.
CREATE TABLE volume (
    id INTEGER PRIMARY KEY,
    client BLOB NOT NULL,
    item BLOB NOT NULL,
    UNIQUE (client, item)
) STRICT;

-- What is indexed. `minute` is the backup's moment; `key` names the item to its source, and is another one when
-- another image lies there.
CREATE TABLE backup (
    volume INTEGER NOT NULL,
    minute INTEGER NOT NULL,
    key TEXT NOT NULL,
    entries INTEGER NOT NULL,
    damaged INTEGER NOT NULL,
    PRIMARY KEY (volume, minute)
) STRICT, WITHOUT ROWID;

-- Paths, once each. A volume's root has a number and no row.
CREATE TABLE directory (
    id INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL,
    name BLOB NOT NULL,
    UNIQUE (parent, name)
) STRICT;

-- Entries of a directory (src/index/block.rs). Of all of them: the smallest and the largest size, the oldest and the
-- newest second of change; so most blocks that cannot match are not read.
CREATE TABLE block (
    id INTEGER PRIMARY KEY,
    directory INTEGER NOT NULL,
    size_min INTEGER NOT NULL,
    size_max INTEGER NOT NULL,
    second_min INTEGER,
    second_max INTEGER,
    rows BLOB NOT NULL
) STRICT;
CREATE INDEX block_directory ON block (directory);

-- The folded names of each block, an edge before and behind each. The text itself is made of the block when it is
-- needed.
CREATE VIRTUAL TABLE trigram USING fts5 (
    names, content = '', columnsize = 0, detail = none, tokenize = 'trigram case_sensitive 1'
);
