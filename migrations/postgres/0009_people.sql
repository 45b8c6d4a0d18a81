-- Whom an OpenID Connect issuer has named, signed in at the dashboard.
CREATE TABLE person_sessions (
    -- SHA-256 of what the browser holds.
    hash BYTEA NOT NULL PRIMARY KEY,
    -- What the sign-in's request is remembered by: it leads to one session alone.
    request BYTEA NOT NULL UNIQUE,
    -- A digest of the settings that let the person in: under others, the session is over.
    settings BYTEA NOT NULL,
    name TEXT NOT NULL,
    subject TEXT NOT NULL,
    access TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE INDEX person_sessions_expired ON person_sessions (expires_at);
