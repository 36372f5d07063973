-- The tables of migrations/sqlite, column by column, and one more. Keys and names are compared byte by byte.

-- Who works on this database: a new holder raises the epoch, and every transaction of the holder writes its own number
-- where the epoch is still its own. So a process that was replaced writes nothing, and one whose connection broke
-- during COMMIT sees whether it happened.
CREATE TABLE holder (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    epoch BIGINT NOT NULL,
    commits BIGINT NOT NULL
) WITH (fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
INSERT INTO holder (id, epoch, commits) VALUES (1, 0, 0);

-- Whose database this is, and a sealed probe of the key.
CREATE TABLE meta (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Keys of what was accepted, so that what comes again is recognised.
CREATE TABLE seen (
    key TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at BIGINT NOT NULL
);
CREATE INDEX seen_at ON seen (at);

-- What came in and is not handled. state: 0 pending, 1 held, 2 parked.
CREATE TABLE inbox (
    seq BIGINT NOT NULL PRIMARY KEY,
    key TEXT COLLATE "C" NOT NULL,
    lane TEXT COLLATE "C" NOT NULL,
    source BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    state BIGINT NOT NULL DEFAULT 0,
    code TEXT COLLATE "C",
    body BYTEA NOT NULL
);
CREATE INDEX inbox_lane ON inbox (lane, state, seq);

-- What is to be sent and not settled. state: as OutboxState.
CREATE TABLE outbox (
    seq BIGINT NOT NULL PRIMARY KEY,
    lane TEXT COLLATE "C" NOT NULL,
    network BIGINT NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    cause TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    state BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    at BIGINT,
    code TEXT COLLATE "C",
    op BYTEA NOT NULL
);
CREATE INDEX outbox_lane ON outbox (lane, seq);

-- Which event is which message. remote_kind: 0 message, 1 query key, 2 none.
CREATE TABLE message (
    event TEXT COLLATE "C" NOT NULL,
    part BIGINT NOT NULL,
    room TEXT COLLATE "C" NOT NULL,
    chat TEXT COLLATE "C" NOT NULL,
    remote_kind BIGINT NOT NULL,
    remote TEXT COLLATE "C",
    direction BIGINT NOT NULL,
    sender TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (event, part)
);
CREATE INDEX message_remote ON message (remote, chat) WHERE remote IS NOT NULL;

CREATE TABLE chat (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind BIGINT NOT NULL,
    title TEXT COLLATE "C",
    state TEXT COLLATE "C" NOT NULL,
    room TEXT COLLATE "C" UNIQUE,
    robot TEXT COLLATE "C",
    peer TEXT COLLATE "C",
    announced BOOLEAN NOT NULL,
    first_seen BIGINT NOT NULL,
    last_message BIGINT NOT NULL,
    synced_to TEXT COLLATE "C"
);

CREATE TABLE person (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    mxid TEXT COLLATE "C" NOT NULL UNIQUE,
    name TEXT COLLATE "C" NOT NULL,
    sender_id TEXT COLLATE "C",
    registered BOOLEAN NOT NULL,
    device BOOLEAN NOT NULL,
    shown_name TEXT COLLATE "C",
    updated_at BIGINT NOT NULL
);
CREATE INDEX person_sender ON person (sender_id) WHERE sender_id IS NOT NULL;
-- Names from outside may be longer than an ordered index takes.
CREATE INDEX person_name ON person USING hash (name);

CREATE TABLE membership (
    mxid TEXT COLLATE "C" NOT NULL,
    room TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (mxid, room)
);

-- The latest reply address of a chat; sealed.
CREATE TABLE session (
    chat TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    webhook BYTEA NOT NULL,
    expires_at BIGINT NOT NULL
);

-- The linked app, at most one; the secret is sealed.
CREATE TABLE link (
    id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    app_key TEXT COLLATE "C" NOT NULL,
    app_secret BYTEA NOT NULL,
    agent_id TEXT COLLATE "C" NOT NULL,
    corp TEXT COLLATE "C",
    organisation TEXT COLLATE "C" NOT NULL,
    linked_by TEXT COLLATE "C" NOT NULL,
    linked_at BIGINT NOT NULL,
    room TEXT COLLATE "C",
    source BIGINT NOT NULL
);

-- Small values by name; sealed.
CREATE TABLE setting (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);
