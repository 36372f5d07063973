-- Events that change another one: each is a message of its own in DingTalk, and goes when the other one goes.
CREATE TABLE edit (
    event TEXT NOT NULL PRIMARY KEY,
    original TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX edit_original ON edit (original);
