//! Ended runs that were not looked at yet, and what is remembered of those that were.

use super::{
    Session, Store, StoreError,
    runs::{run_columns, run_from},
    session::{Row, Statement, json_text, values},
};
use crate::domain::{JobId, Run, RunId, Sample, Timestamp};

/// How many runs of a job are remembered.
pub(super) const REMEMBERED: u32 = 500;

/// A job whose next run is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation {
    /// The job.
    pub job: JobId,
    /// When the last run was made that was looked at.
    pub last_made: Timestamp,
    /// By when another should have been.
    pub expected_by: Timestamp,
}

impl Store {
    /// Ended runs that were not looked at yet, in the order in which they were made.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unjudged(&self, limit: u32) -> Result<Vec<Run>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            run_columns!(),
            " FROM unjudged JOIN runs ON runs.id = unjudged.run_id ORDER BY unjudged.run_id LIMIT $1"
        );
        self.read().await?.all(SQL, values![limit]).await?.iter().map(run_from).collect()
    }

    /// The last runs of a job, the oldest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn samples(&self, job: JobId) -> Result<Vec<Sample>, StoreError> {
        let sql = "SELECT run_id, made_at, succeeded, figures FROM samples WHERE job_id = $1 \
                   ORDER BY run_id DESC LIMIT $2";
        let rows = self.read().await?.all(sql, values![job, REMEMBERED]).await?;
        rows.iter().rev().map(sample_from).collect()
    }

    /// Jobs that should have been run again by now, the latest first; not those that are archived.
    ///
    /// # Errors
    /// The database failed.
    pub async fn due_expectations(&self, now: Timestamp, limit: u32) -> Result<Vec<Expectation>, StoreError> {
        let sql = "SELECT expectations.job_id, last_made, expected_by FROM expectations \
                   JOIN jobs ON jobs.id = expectations.job_id AND jobs.archived_at IS NULL \
                   WHERE expected_by <= $1 ORDER BY expected_by DESC LIMIT $2";
        let rows = self.read().await?.all(sql, values![now, limit]).await?;
        rows.iter()
            .map(|row| {
                let (last_made, expected_by) = (row.time("last_made")?, row.time("expected_by")?);
                Ok(Expectation { job: JobId(row.get("job_id")?), last_made, expected_by })
            })
            .collect()
    }

    /// When the job's last run was made.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_made(&self, job: JobId) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT created_at FROM runs WHERE job_id = $1 ORDER BY id DESC LIMIT 1";
        self.read().await?.first(sql, values![job]).await?.map(|row| row.time("created_at")).transpose()
    }

    /// Keeps by when a job's next run should be made.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expect(&self, job: JobId, last: Timestamp, by: Option<Timestamp>) -> Result<(), StoreError> {
        self.write(move |session| Box::pin(async move { session.execute_all(expecting(job, last, by)).await })).await
    }
}

fn sample_from(row: &Row) -> Result<Sample, StoreError> {
    Ok(Sample {
        run: RunId(row.get("run_id")?),
        made_at: row.time("made_at")?,
        succeeded: row.get("succeeded")?,
        figures: row.json("figures")?,
    })
}

/// The run has ended: somebody is to look at it.
pub(super) fn to_judge(run: RunId) -> Statement {
    ("INSERT INTO unjudged (run_id) VALUES ($1) ON CONFLICT (run_id) DO NOTHING", values![run])
}

/// Whether it was still to be looked at; from now on it is not.
pub(super) async fn take(session: &mut Session, run: RunId) -> Result<bool, StoreError> {
    let sql = "DELETE FROM unjudged WHERE run_id = $1 RETURNING run_id";
    Ok(session.first(sql, values![run]).await?.is_some())
}

/// Remembers a run, and forgets the oldest beyond what is kept.
pub(super) fn remembering(job: JobId, sample: &Sample) -> Result<Vec<Statement>, StoreError> {
    let figures = json_text(&sample.figures)?;
    Ok(vec![
        (
            "INSERT INTO samples (job_id, run_id, made_at, succeeded, figures) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (job_id, run_id) DO NOTHING",
            values![job, sample.run, sample.made_at, sample.succeeded, figures],
        ),
        (
            "DELETE FROM samples WHERE job_id = $1 AND run_id < (SELECT run_id FROM samples WHERE job_id = $1 \
             ORDER BY run_id DESC LIMIT 1 OFFSET $2)",
            values![job, REMEMBERED - 1],
        ),
    ])
}

/// How many of the job's last runs failed one after the other, counted up to `most`.
pub(super) async fn failures_in_a_row(session: &mut Session, job: JobId, most: u32) -> Result<u32, StoreError> {
    let sql = "SELECT succeeded FROM samples WHERE job_id = $1 ORDER BY run_id DESC LIMIT $2";
    let mut failures = 0;
    for row in session.all(sql, values![job, most]).await? {
        if row.get("succeeded")? {
            break;
        }
        failures += 1;
    }
    Ok(failures)
}

/// No run of the job is expected.
pub(super) fn forgetting_expectation(job: JobId) -> Statement {
    ("DELETE FROM expectations WHERE job_id = $1", values![job])
}

pub(super) fn expecting(job: JobId, last: Timestamp, by: Option<Timestamp>) -> Vec<Statement> {
    vec![match by {
        None => forgetting_expectation(job),
        Some(by) => (
            "INSERT INTO expectations (job_id, last_made, expected_by) VALUES ($1, $2, $3) ON CONFLICT (job_id) \
             DO UPDATE SET last_made = excluded.last_made, expected_by = excluded.expected_by \
             WHERE expectations.last_made <= excluded.last_made",
            values![job, last, by],
        ),
    }]
}
