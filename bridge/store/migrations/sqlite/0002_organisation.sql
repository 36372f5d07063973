-- People who left the organisation, and when.
CREATE TABLE departed (
    person TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID;

-- What the address book said last, and what is shown of it.
CREATE TABLE profile (
    person TEXT NOT NULL PRIMARY KEY,
    asked_at INTEGER NOT NULL,
    source TEXT,
    avatar TEXT
) WITHOUT ROWID;
