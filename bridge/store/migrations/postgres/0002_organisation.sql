-- People who left the organisation, and when.
CREATE TABLE departed (
    person TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);

-- What the address book said last, and what is shown of it.
CREATE TABLE profile (
    person TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    asked_at BIGINT NOT NULL,
    source TEXT COLLATE "C",
    avatar TEXT COLLATE "C"
);
