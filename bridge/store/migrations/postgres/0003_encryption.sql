-- What the bot's device for encrypted rooms knows. value is sealed, bound to name.
CREATE TABLE crypto (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind TEXT COLLATE "C" NOT NULL,
    belongs TEXT COLLATE "C" NOT NULL,
    tag TEXT COLLATE "C" NOT NULL,
    value BYTEA NOT NULL
);
CREATE INDEX crypto_belongs ON crypto (kind, belongs);
CREATE INDEX crypto_tag ON crypto (kind, tag) WHERE tag <> '';
