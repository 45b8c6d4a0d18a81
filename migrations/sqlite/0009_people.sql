-- Whom an OpenID Connect issuer has named, signed in at the dashboard.
CREATE TABLE person_sessions (
    -- SHA-256 of what the browser holds.
    hash BLOB NOT NULL PRIMARY KEY,
    -- What the sign-in's request is remembered by: it leads to one session alone.
    request BLOB NOT NULL UNIQUE,
    -- A digest of the settings that let the person in: under others, the session is over.
    settings BLOB NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    access TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER
) WITHOUT ROWID;
CREATE INDEX person_sessions_expired ON person_sessions (expires_at);
