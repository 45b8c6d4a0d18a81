-- Times are microseconds since 1970-01-01 UTC, ids are the 16 bytes of a UUID, documents are JSON text.

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE projects (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    images TEXT NOT NULL,
    data_key BLOB NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    -- Of the present revision, so that triggering and admission need not read the document.
    max_parallel INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    archived_at INTEGER,
    -- Logs of its runs up to this one have been deleted, because their time was over.
    logs_deleted_to BLOB
);
CREATE UNIQUE INDEX jobs_name ON jobs (project_id, name) WHERE archived_at IS NULL;
CREATE INDEX jobs_page ON jobs (project_id, name, id);

CREATE TABLE revisions (
    job_id BLOB NOT NULL REFERENCES jobs (id),
    number INTEGER NOT NULL,
    spec TEXT NOT NULL,
    config BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (job_id, number)
);

CREATE TABLE limits (
    id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    capacity INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (project_id, name)
);

-- The named limits of each job's present revision.
CREATE TABLE job_limits (
    job_id BLOB NOT NULL REFERENCES jobs (id),
    limit_id BLOB NOT NULL REFERENCES limits (id),
    weight INTEGER NOT NULL,
    PRIMARY KEY (job_id, limit_id)
);
CREATE INDEX job_limits_limit ON job_limits (limit_id);

CREATE TABLE runs (
    id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB NOT NULL,
    job_id BLOB NOT NULL,
    job_name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    engine TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('queued', 'starting', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out')),
    stop TEXT CHECK (stop IN ('cancelled', 'abandoned', 'superseded', 'queue_timeout')),
    stopped_by TEXT,
    attempt INTEGER NOT NULL,
    slice INTEGER NOT NULL,
    own_failures INTEGER NOT NULL,
    infrastructure_failures INTEGER NOT NULL,
    parameters TEXT NOT NULL,
    env BLOB,
    labels TEXT NOT NULL,
    source TEXT NOT NULL,
    created_by TEXT NOT NULL,
    retry_of BLOB,
    priority INTEGER NOT NULL,
    not_before INTEGER,
    -- Not in the queue's order before this moment; NULL = ready.
    hold_until INTEGER,
    requeue_reason TEXT,
    timeout_seconds INTEGER NOT NULL,
    queue_deadline INTEGER,
    abandon_after_seconds INTEGER,
    created_at INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    exit_code INTEGER,
    error TEXT,
    output TEXT,
    metrics TEXT,
    progress TEXT,
    log_bytes INTEGER NOT NULL DEFAULT 0,
    log_complete BOOLEAN NOT NULL DEFAULT FALSE,
    log_truncated BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX runs_page ON runs (project_id, id);
CREATE INDEX runs_job ON runs (job_id, id);
CREATE INDEX runs_phase ON runs (project_id, phase, id);
-- Hot paths look at live runs alone, however long the history is.
CREATE INDEX runs_ready ON runs (job_id, priority DESC, queued_at, id) WHERE phase = 'queued' AND hold_until IS NULL;
CREATE INDEX runs_held ON runs (hold_until) WHERE phase = 'queued' AND hold_until IS NOT NULL;
CREATE INDEX runs_queue_deadline ON runs (queue_deadline) WHERE phase = 'queued' AND queue_deadline IS NOT NULL;
CREATE INDEX runs_active ON runs (job_id, id) WHERE phase IN ('starting', 'running');
CREATE INDEX runs_leased ON runs (id) WHERE phase IN ('queued', 'starting', 'running') AND abandon_after_seconds IS NOT NULL;

CREATE TABLE run_labels (
    project_id BLOB NOT NULL,
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    run_id BLOB NOT NULL REFERENCES runs (id),
    PRIMARY KEY (project_id, label, value, run_id)
) WITHOUT ROWID;

-- One row for what each active run holds: of its job's max_parallel (limit_id = the job's id) and of named limits.
CREATE TABLE slots (
    limit_id BLOB NOT NULL,
    run_id BLOB NOT NULL REFERENCES runs (id),
    weight INTEGER NOT NULL,
    PRIMARY KEY (limit_id, run_id)
) WITHOUT ROWID;
CREATE INDEX slots_run ON slots (run_id);

CREATE TABLE attempts (
    run_id BLOB NOT NULL REFERENCES runs (id),
    number INTEGER NOT NULL,
    slice INTEGER NOT NULL,
    engine TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('intended', 'launched', 'ended')),
    handle TEXT,
    execution TEXT,
    nonce TEXT NOT NULL,
    state_version INTEGER,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    ended_at INTEGER,
    exit_code INTEGER,
    error TEXT,
    PRIMARY KEY (run_id, number)
) WITHOUT ROWID;

CREATE TABLE idempotency (
    job_id BLOB NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    run_id BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (job_id, key)
) WITHOUT ROWID;

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    run_id BLOB NOT NULL REFERENCES runs (id),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    attempt INTEGER,
    detail TEXT NOT NULL
);
CREATE INDEX events_run ON events (run_id, id);

CREATE TABLE job_states (
    job_id BLOB NOT NULL REFERENCES jobs (id),
    version INTEGER NOT NULL,
    document TEXT NOT NULL,
    run_id BLOB,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (job_id, version)
);

CREATE TABLE secrets (
    project_id BLOB NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (project_id, name)
);

CREATE TABLE registries (
    project_id BLOB NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    server TEXT NOT NULL,
    username TEXT NOT NULL,
    password BLOB NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (project_id, name)
);

CREATE TABLE tokens (
    id BLOB NOT NULL PRIMARY KEY,
    project_id BLOB REFERENCES projects (id),
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    jobs TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    project_id BLOB,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL
);
CREATE INDEX audit_project ON audit (project_id, id);
