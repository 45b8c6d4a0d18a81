-- How many runs an engine may have at once, from the configuration of the service that started last.
CREATE TABLE engine_capacities (
    engine TEXT NOT NULL PRIMARY KEY,
    max_running INTEGER NOT NULL CHECK (max_running > 0)
);

-- What each engine has to do now: counted by admission where the engine has a capacity, and shown.
CREATE INDEX runs_on_engine ON runs (engine, phase) WHERE phase IN ('queued', 'starting', 'running');
