//! A long history, made by SQL alone.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

/// How many runs one transaction makes.
const BATCH: u32 = 50_000;
/// Of twenty jobs.
const JOBS: u32 = 20;
/// How far apart runs were made.
pub const EVERY: std::time::Duration = std::time::Duration::from_secs(20);
/// How many notices are over.
const OVER: u32 = 20_000;

/// Fills a SQLite database with finished runs, three a minute until now, each with an attempt and each tenth with a
/// label. Their ids are made from their times, as real ones are. Their logs are kept, so that no service begins with
/// deleting them.
pub async fn fill(url: &str, runs: u32) {
    let mut connection = SqliteConnection::connect(url).await.expect("the database opens");
    for pragma in ["PRAGMA synchronous = OFF", "PRAGMA cache_size = -262144", "PRAGMA foreign_keys = OFF"] {
        sqlx::raw_sql(pragma).execute(&mut connection).await.expect("a setting");
    }
    for number in 0..JOBS {
        let job = format!("x'018bcfe5680070008000{number:012x}'");
        let spec = format!(r#"{{"name":"history-{number}","image":"sim/ok","log_retention_days":3650}}"#);
        let sql = format!(
            "INSERT INTO jobs (id, project_id, name, revision, max_parallel, created_at, updated_at) \
             SELECT {job}, id, 'history-{number}', 1, NULL, created_at, created_at FROM projects; \
             INSERT INTO revisions (job_id, number, spec, config, created_at, created_by) \
             SELECT {job}, 1, '{spec}', x'00', 0, 'bench'"
        );
        run(&mut connection, sql).await;
    }
    for first in (0..runs).step_by(BATCH as usize) {
        let last = (first + BATCH).min(runs) - 1;
        run(&mut connection, batch(first, last, runs)).await;
    }
    run(&mut connection, notices()).await;
    sqlx::raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.expect("a checkpoint");
    connection.close().await.expect("the database closes");
}

async fn run(connection: &mut SqliteConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(format!("BEGIN; {sql}; COMMIT"))).execute(connection).await.expect("the SQL is right");
}

fn batch(first: u32, last: u32, runs: u32) -> String {
    let every = EVERY.as_secs();
    let made = format!(
        "CREATE TEMP TABLE made AS WITH RECURSIVE n (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM n \
         WHERE n < {last}), t AS (SELECT n, (unixepoch() - ({runs} - n) * {every}) * 1000 AS ms FROM n) SELECT n, \
         unhex(printf('%012x7%03x8%03x%012x', ms, n % 4096, n / 4096 % 4096, n)) AS id, ms * 1000 AS at, \
         unhex(printf('018bcfe5680070008000%012x', n % {JOBS})) AS job, (SELECT id FROM projects) AS project FROM t"
    );
    let runs = "INSERT INTO runs (id, project_id, job_id, job_name, revision, engine, phase, attempt, slice, \
         own_failures, infrastructure_failures, parameters, labels, source, created_by, priority, timeout_seconds, \
         created_at, queued_at, started_at, finished_at, exit_code, error, log_bytes, log_complete) \
         SELECT id, project, job, 'history-' || (n % 20), 1, 'simulated', \
         CASE WHEN n % 25 = 0 THEN 'failed' WHEN n % 101 = 0 THEN 'cancelled' ELSE 'succeeded' END, 1, 1, \
         n % 25 = 0, 0, '{\"day\":\"2026-01-01\"}', '{\"team\":\"sales\"}', '{\"kind\":\"adf\"}', 'orchestrator', 0, \
         3600, at, at, at + 400000, at + 9000000 + n % 1000 * 1000, n % 25 = 0, CASE WHEN n % 25 = 0 THEN \
         '{\"code\":\"exit_code\",\"message\":\"the script ended with exit code 1\",\"retryable\":true}' END, \
         4096, TRUE FROM made";
    let attempts = "INSERT INTO attempts (run_id, number, slice, engine, phase, handle, nonce, created_at, started_at, \
         ended_at, exit_code) SELECT id, 1, 1, 'simulated', 'ended', lower(hex(id)), printf('%024x', n), at, \
         at + 400000, at + 9000000, n % 25 = 0 FROM made";
    let labels = "INSERT INTO run_labels (project_id, label, value, run_id) \
         SELECT project, 'team', 'sales', id FROM made WHERE n % 10 = 0";
    format!("{made}; {runs}; {attempts}; {labels}; DROP TABLE made")
}

/// 20,000 notices of the last three months that are over, and one open for each job.
fn notices() -> String {
    let columns = "(id, project_id, kind, subject, job_id, job_name, summary, figures, channels, times, opened_at, \
                   seen_at, resolved_at, resolution)";
    let summary = "'took 90 s; usual are 9 s to 10 s'";
    format!(
        "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < {OVER} + {JOBS} - 1), t AS \
         (SELECT n, (unixepoch() - ({OVER} + {JOBS} - n) * 388) * 1000 AS ms FROM n) INSERT INTO notices {columns} \
         SELECT unhex(printf('%012x7%03x8%03x%012x', ms, n % 4096, n / 4096 % 4096, n)), (SELECT id FROM projects), \
         'slow', printf('job:%d', n % {JOBS}), unhex(printf('018bcfe5680070008000%012x', n % {JOBS})), \
         'history-' || (n % {JOBS}), {summary}, '{{\"value\":90.0}}', '[]', 1, ms * 1000, ms * 1000, \
         CASE WHEN n < {OVER} THEN ms * 1000 + 1 END, CASE WHEN n < {OVER} THEN 'a run took as long as usual' END FROM t"
    )
}
