-- Whose database this is (text), and a sealed probe of the key (blob).
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Keys of what was accepted, so that what comes again is recognised.
CREATE TABLE seen (
    key TEXT NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX seen_at ON seen (at);

-- What came in and is not handled. state: 0 pending, 1 held, 2 parked.
CREATE TABLE inbox (
    seq INTEGER NOT NULL PRIMARY KEY,
    key TEXT NOT NULL,
    lane TEXT NOT NULL,
    source INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    code TEXT,
    body BLOB NOT NULL
);
CREATE INDEX inbox_lane ON inbox (lane, state, seq);

-- What is to be sent and not settled. state: as OutboxState.
CREATE TABLE outbox (
    seq INTEGER NOT NULL PRIMARY KEY,
    lane TEXT NOT NULL,
    network INTEGER NOT NULL,
    key TEXT NOT NULL,
    cause TEXT,
    created_at INTEGER NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    at INTEGER,
    code TEXT,
    op BLOB NOT NULL
);
CREATE INDEX outbox_lane ON outbox (lane, seq);

-- Which event is which message. remote_kind: 0 message, 1 query key, 2 none.
CREATE TABLE message (
    event TEXT NOT NULL,
    part INTEGER NOT NULL,
    room TEXT NOT NULL,
    chat TEXT NOT NULL,
    remote_kind INTEGER NOT NULL,
    remote TEXT,
    direction INTEGER NOT NULL,
    sender TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (event, part)
) WITHOUT ROWID;
CREATE INDEX message_remote ON message (remote, chat) WHERE remote IS NOT NULL;

CREATE TABLE chat (
    id TEXT NOT NULL PRIMARY KEY,
    kind INTEGER NOT NULL,
    title TEXT,
    state TEXT NOT NULL,
    room TEXT UNIQUE,
    robot TEXT,
    peer TEXT,
    announced INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_message INTEGER NOT NULL,
    synced_to TEXT
) WITHOUT ROWID;

CREATE TABLE person (
    id TEXT NOT NULL PRIMARY KEY,
    mxid TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    sender_id TEXT,
    registered INTEGER NOT NULL,
    device INTEGER NOT NULL,
    shown_name TEXT,
    updated_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX person_sender ON person (sender_id) WHERE sender_id IS NOT NULL;
CREATE INDEX person_name ON person (name);

CREATE TABLE membership (
    mxid TEXT NOT NULL,
    room TEXT NOT NULL,
    PRIMARY KEY (mxid, room)
) WITHOUT ROWID;

-- The latest reply address of a chat; sealed.
CREATE TABLE session (
    chat TEXT NOT NULL PRIMARY KEY,
    webhook BLOB NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

-- The linked app, at most one; the secret is sealed.
CREATE TABLE link (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    app_key TEXT NOT NULL,
    app_secret BLOB NOT NULL,
    agent_id TEXT NOT NULL,
    corp TEXT,
    organisation TEXT NOT NULL,
    linked_by TEXT NOT NULL,
    linked_at INTEGER NOT NULL,
    room TEXT,
    source INTEGER NOT NULL
);

-- Small values by name; sealed.
CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;
