-- Where notices are sent.
CREATE TABLE channels (
    id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    -- Sealed: the address, or the mail server's password.
    secret BLOB NOT NULL,
    -- What of the address may be shown.
    target TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    -- When what waits for it is sent; null when nothing does.
    due_at INTEGER,
    tries INTEGER NOT NULL DEFAULT 0,
    -- Up to which message the present tries go, and since when.
    batch_to INTEGER,
    batch_since INTEGER,
    last_error TEXT,
    failed_at INTEGER,
    delivered_at INTEGER,
    UNIQUE (project_id, name)
);
CREATE INDEX channels_due ON channels (due_at) WHERE due_at IS NOT NULL;

-- What is still to be sent to each channel: made by the transaction that changes the notice.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY,
    channel_id BLOB NOT NULL REFERENCES channels (id),
    notice_id BLOB NOT NULL,
    change TEXT NOT NULL,
    at INTEGER NOT NULL
);
CREATE INDEX messages_channel ON messages (channel_id, id);
