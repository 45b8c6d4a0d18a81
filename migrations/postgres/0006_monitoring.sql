-- Where a run stands in its caller's trace (W3C Trace Context).
ALTER TABLE runs ADD COLUMN traceparent TEXT;

-- Runs that have ended and were not looked at yet: made by the transaction that ends them.
CREATE TABLE unjudged (
    run_id UUID NOT NULL PRIMARY KEY
);

-- The last runs of each job, to know what is usual for it.
CREATE TABLE samples (
    job_id UUID NOT NULL,
    run_id UUID NOT NULL,
    made_at BIGINT NOT NULL,
    succeeded BOOLEAN NOT NULL,
    figures TEXT NOT NULL,
    PRIMARY KEY (job_id, run_id)
);

-- By when each job's next run should have been made, from when its last ones were.
CREATE TABLE expectations (
    job_id UUID NOT NULL PRIMARY KEY REFERENCES jobs (id),
    last_made BIGINT NOT NULL,
    expected_by BIGINT NOT NULL
);
CREATE INDEX expectations_due ON expectations (expected_by);

CREATE TABLE notices (
    id UUID NOT NULL PRIMARY KEY,
    -- Null = it concerns the whole installation.
    project_id UUID REFERENCES projects (id),
    kind TEXT NOT NULL,
    -- What it is about: a job's id, an engine, a limit, a token, the disk.
    subject TEXT NOT NULL,
    job_id UUID,
    job_name TEXT,
    run_id UUID,
    summary TEXT NOT NULL,
    figures TEXT NOT NULL,
    channels TEXT NOT NULL,
    times BIGINT NOT NULL,
    opened_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    acknowledged_at BIGINT,
    acknowledged_by TEXT,
    resolved_at BIGINT,
    resolution TEXT
);
-- One is open for each kind and subject.
CREATE UNIQUE INDEX notices_open ON notices (kind, subject) WHERE resolved_at IS NULL;
CREATE INDEX notices_page ON notices (project_id, id);
CREATE INDEX notices_job ON notices (job_id, id) WHERE job_id IS NOT NULL;
CREATE INDEX notices_over ON notices (resolved_at) WHERE resolved_at IS NOT NULL;
