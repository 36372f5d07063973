-- Events that change another one: each is a message of its own in DingTalk, and goes when the other one goes.
CREATE TABLE edit (
    event TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    original TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX edit_original ON edit (original);
