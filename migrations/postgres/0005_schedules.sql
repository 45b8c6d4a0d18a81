-- When jobs start by themselves, from the present revision of each job that has a schedule.
CREATE TABLE schedules (
    job_id UUID NOT NULL PRIMARY KEY REFERENCES jobs (id),
    -- The first time that was not served yet; null when it is paused, or there is none. Who moves it on serves it:
    -- that makes one run for each time.
    next_time BIGINT,
    -- When a run for that time is started: later by the job's own delay.
    due_at BIGINT,
    -- The last time that was served, and what came of it.
    last_time BIGINT,
    last_run UUID,
    last_problem TEXT
);
-- However many schedules there are, nothing is looked at that is not due.
CREATE INDEX schedules_due ON schedules (due_at) WHERE due_at IS NOT NULL;
