-- What the bot's device for encrypted rooms knows. value is sealed, bound to name.
CREATE TABLE crypto (
    name TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    belongs TEXT NOT NULL,
    tag TEXT NOT NULL,
    value BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX crypto_belongs ON crypto (kind, belongs);
CREATE INDEX crypto_tag ON crypto (kind, tag) WHERE tag <> '';
