-- Who is signed in at the dashboard. A session is worth what its token is worth, and ends with it.
CREATE TABLE sign_ins (
    -- SHA-256 of what the browser holds.
    hash BLOB NOT NULL PRIMARY KEY,
    token_id BLOB NOT NULL REFERENCES tokens (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sign_ins_expired ON sign_ins (expires_at);

-- What ended when, and how: counted by the hour, and the latest failures.
CREATE INDEX runs_ended ON runs (project_id, phase, finished_at) WHERE finished_at IS NOT NULL;
-- A job's runs that ended in a certain way, however rare that is.
CREATE INDEX runs_job_ended ON runs (job_id, phase, id) WHERE finished_at IS NOT NULL;
