-- Where notices are sent.
CREATE TABLE channels (
    id UUID NOT NULL PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    spec TEXT NOT NULL,
    -- Sealed: the address, or the mail server's password.
    secret BYTEA NOT NULL,
    -- What of the address may be shown.
    target TEXT NOT NULL,
    updated_at BIGINT NOT NULL,
    -- When what waits for it is sent; null when nothing does.
    due_at BIGINT,
    tries BIGINT NOT NULL DEFAULT 0,
    -- Up to which message the present tries go, and since when.
    batch_to BIGINT,
    batch_since BIGINT,
    last_error TEXT,
    failed_at BIGINT,
    delivered_at BIGINT,
    UNIQUE (project_id, name)
);
CREATE INDEX channels_due ON channels (due_at) WHERE due_at IS NOT NULL;

-- What is still to be sent to each channel: made by the transaction that changes the notice.
CREATE TABLE messages (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel_id UUID NOT NULL REFERENCES channels (id),
    notice_id UUID NOT NULL,
    change TEXT NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX messages_channel ON messages (channel_id, id);
