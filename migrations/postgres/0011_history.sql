-- Of millions of runs, this may take longer than any other statement is given.
SET LOCAL statement_timeout = 0;
-- Runs whose time is over are deleted, and what belongs to them is found by them. Besides, deleting a run makes the
-- database look for labels that refer to it: without an index, along all of them.
CREATE INDEX run_labels_run ON run_labels (run_id);
CREATE INDEX idempotency_run ON idempotency (run_id);
