-- Who is to be told the end of a run, and how often it was tried. Made with the run; due from the transaction that
-- ends it.
CREATE TABLE callbacks (
    run_id BLOB NOT NULL PRIMARY KEY REFERENCES runs (id),
    project_id BLOB NOT NULL REFERENCES projects (id),
    -- Names the delivery to its receiver, the same in every try.
    delivery_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('signed', 'adf')),
    -- Sealed: such addresses carry passwords.
    url BLOB NOT NULL,
    -- What of it may be shown.
    target TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    -- When it is tried next; null before the run's end, and when nothing is left to do.
    due_at INTEGER,
    last_status INTEGER,
    last_error TEXT,
    ended_at INTEGER,
    delivered_at INTEGER,
    given_up_at INTEGER
);
CREATE INDEX callbacks_due ON callbacks (due_at) WHERE due_at IS NOT NULL;
