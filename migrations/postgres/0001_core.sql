-- Times are microseconds since 1970-01-01 UTC, documents are JSON text.

CREATE TABLE settings (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE projects (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    images TEXT NOT NULL,
    data_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE jobs (
    id UUID NOT NULL PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    -- Of the present revision, so that triggering and admission need not read the document.
    max_parallel BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    archived_at BIGINT,
    -- Logs of its runs up to this one have been deleted, because their time was over.
    logs_deleted_to UUID
);
CREATE UNIQUE INDEX jobs_name ON jobs (project_id, name) WHERE archived_at IS NULL;
CREATE INDEX jobs_page ON jobs (project_id, name, id);

CREATE TABLE revisions (
    job_id UUID NOT NULL REFERENCES jobs (id),
    number BIGINT NOT NULL,
    spec TEXT NOT NULL,
    config BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (job_id, number)
);

CREATE TABLE limits (
    id UUID NOT NULL PRIMARY KEY,
    project_id UUID NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    capacity BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (project_id, name)
);

-- The named limits of each job's present revision.
CREATE TABLE job_limits (
    job_id UUID NOT NULL REFERENCES jobs (id),
    limit_id UUID NOT NULL REFERENCES limits (id),
    weight BIGINT NOT NULL,
    PRIMARY KEY (job_id, limit_id)
);
CREATE INDEX job_limits_limit ON job_limits (limit_id);

CREATE TABLE runs (
    id UUID NOT NULL PRIMARY KEY,
    project_id UUID NOT NULL,
    job_id UUID NOT NULL,
    job_name TEXT NOT NULL,
    revision BIGINT NOT NULL,
    engine TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('queued', 'starting', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out')),
    stop TEXT CHECK (stop IN ('cancelled', 'abandoned', 'superseded', 'queue_timeout')),
    stopped_by TEXT,
    attempt BIGINT NOT NULL,
    slice BIGINT NOT NULL,
    own_failures BIGINT NOT NULL,
    infrastructure_failures BIGINT NOT NULL,
    parameters TEXT NOT NULL,
    env BYTEA,
    labels TEXT NOT NULL,
    source TEXT NOT NULL,
    created_by TEXT NOT NULL,
    retry_of UUID,
    priority BIGINT NOT NULL,
    not_before BIGINT,
    -- Not in the queue's order before this moment; NULL = ready.
    hold_until BIGINT,
    requeue_reason TEXT,
    timeout_seconds BIGINT NOT NULL,
    queue_deadline BIGINT,
    abandon_after_seconds BIGINT,
    created_at BIGINT NOT NULL,
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    exit_code BIGINT,
    error TEXT,
    output TEXT,
    metrics TEXT,
    progress TEXT,
    log_bytes BIGINT NOT NULL DEFAULT 0,
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
    project_id UUID NOT NULL,
    label TEXT NOT NULL,
    value TEXT NOT NULL,
    run_id UUID NOT NULL REFERENCES runs (id),
    PRIMARY KEY (project_id, label, value, run_id)
);

-- One row for what each active run holds: of its job's max_parallel (limit_id = the job's id) and of named limits.
CREATE TABLE slots (
    limit_id UUID NOT NULL,
    run_id UUID NOT NULL REFERENCES runs (id),
    weight BIGINT NOT NULL,
    PRIMARY KEY (limit_id, run_id)
);
CREATE INDEX slots_run ON slots (run_id);

CREATE TABLE attempts (
    run_id UUID NOT NULL REFERENCES runs (id),
    number BIGINT NOT NULL,
    slice BIGINT NOT NULL,
    engine TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('intended', 'launched', 'ended')),
    handle TEXT,
    execution TEXT,
    nonce TEXT NOT NULL,
    state_version BIGINT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    exit_code BIGINT,
    error TEXT,
    PRIMARY KEY (run_id, number)
);

CREATE TABLE idempotency (
    job_id UUID NOT NULL,
    key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,
    run_id UUID NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (job_id, key)
);

CREATE TABLE events (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id UUID NOT NULL REFERENCES runs (id),
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    attempt BIGINT,
    detail TEXT NOT NULL
);
CREATE INDEX events_run ON events (run_id, id);

CREATE TABLE job_states (
    job_id UUID NOT NULL REFERENCES jobs (id),
    version BIGINT NOT NULL,
    document TEXT NOT NULL,
    run_id UUID,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (job_id, version)
);

CREATE TABLE secrets (
    project_id UUID NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    value BYTEA NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, name)
);

CREATE TABLE registries (
    project_id UUID NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    server TEXT NOT NULL,
    username TEXT NOT NULL,
    password BYTEA NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (project_id, name)
);

CREATE TABLE tokens (
    id UUID NOT NULL PRIMARY KEY,
    project_id UUID REFERENCES projects (id),
    name TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    jobs TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    project_id UUID,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL
);
CREATE INDEX audit_project ON audit (project_id, id);
