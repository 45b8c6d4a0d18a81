//! A job's state: a small JSON document in versions.

use serde_json::{Map, Value};

use super::{
    Session, Store, StoreError,
    session::{Row, json_text, values},
};
use crate::domain::{AttemptId, JobId, Run, RunId, Timestamp};

/// How many versions are kept.
const KEPT: i64 = 100;

/// One version of a job's state.
#[derive(Debug, Clone, PartialEq)]
pub struct StateVersion {
    /// From 1.
    pub version: i64,
    /// The document.
    pub document: Map<String, Value>,
    /// The run that committed it; `None` when a person set it.
    pub run: Option<RunId>,
    /// When.
    pub created_at: Timestamp,
    /// Who.
    pub created_by: String,
}

fn version_from(row: &Row) -> Result<StateVersion, StoreError> {
    Ok(StateVersion {
        version: row.get("version")?,
        document: row.json("document")?,
        run: row.get::<Option<uuid::Uuid>>("run_id")?.map(RunId),
        created_at: row.time("created_at")?,
        created_by: row.get("created_by")?,
    })
}

impl Store {
    /// The present and earlier versions of a job's state, the newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn states(&self, job: JobId, before: Option<i64>, limit: u32) -> Result<Vec<StateVersion>, StoreError> {
        let sql = "SELECT version, document, run_id, created_at, created_by FROM job_states \
                   WHERE job_id = $1 AND version < $2 ORDER BY version DESC LIMIT $3";
        let rows = self.read().await?.all(sql, values![job, before.unwrap_or(i64::MAX), limit]).await?;
        rows.iter().map(version_from).collect()
    }

    /// Sets a job's state by hand. `expected` is the version it replaces (0 = none yet); `None` replaces any.
    /// `Err(version)` inside when another version holds.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_state(
        &self,
        job: JobId,
        document: &Map<String, Value>,
        expected: Option<i64>,
        by: &str,
        now: Timestamp,
    ) -> Result<Result<i64, i64>, StoreError> {
        let (text, by) = (json_text(document)?, by.to_owned());
        self.write(move |session| {
            let (text, by) = (text.clone(), by.clone());
            Box::pin(async move {
                session.serialize(lock_of(job)).await?;
                let current = current(session, job).await?;
                if expected.is_some_and(|expected| expected != current) {
                    return Ok(Err(current));
                }
                append(session, job, current + 1, &text, None, &by, now).await?;
                Ok(Ok(current + 1))
            })
        })
        .await
    }
}

/// Commits what an attempt proposes, if the state is still the one that it was given.
pub(super) async fn commit(
    session: &mut Session,
    run: &Run,
    id: AttemptId,
    state: &Map<String, Value>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    session.serialize(lock_of(run.job)).await?;
    let sql = "SELECT state_version FROM attempts WHERE run_id = $1 AND number = $2";
    let row = session.first(sql, values![id.run, id.number]).await?.ok_or_else(|| StoreError::corrupt("attempt"))?;
    let given: i64 = row.get::<Option<i64>>("state_version")?.unwrap_or(0);
    if current(session, run.job).await? != given {
        return Ok(false);
    }
    append(session, run.job, given + 1, &json_text(state)?, Some(run.id), &run.created_by, now).await?;
    Ok(true)
}

async fn current(session: &mut Session, job: JobId) -> Result<i64, StoreError> {
    session.count("SELECT MAX(version) AS n FROM job_states WHERE job_id = $1", values![job]).await
}

async fn append(
    session: &mut Session,
    job: JobId,
    version: i64,
    document: &str,
    run: Option<RunId>,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO job_states (job_id, version, document, run_id, created_at, created_by) \
               VALUES ($1, $2, $3, $4, $5, $6)";
    session.execute(sql, values![job, version, document, run, now, by]).await?;
    let sql = "DELETE FROM job_states WHERE job_id = $1 AND version <= $2";
    session.execute(sql, values![job, version - KEPT]).await.map(|_| ())
}

/// PostgreSQL's advisory lock for one job's state.
fn lock_of(job: JobId) -> i64 {
    let (high, low) = job.0.as_u64_pair();
    (high ^ low).cast_signed()
}
