//! What is looked at again and again to tell whether something is wrong: live runs, limits, tokens.

use super::{
    Store, StoreError, admission,
    session::{Row, values},
};
use crate::domain::{JobId, Name, ProjectId, RunId, Timestamp, TokenId};

/// How many live runs are looked at.
const MOST: u32 = 5000;

/// A run that waits or runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveRun {
    /// The run.
    pub run: RunId,
    /// Its project.
    pub project: ProjectId,
    /// Its job.
    pub job: JobId,
    /// The job's name.
    pub job_name: Name,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it joined the queue, or began to run.
    pub since: Timestamp,
}

/// A run that holds a part of a limit for which others wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongHolder {
    /// The limit's name.
    pub limit: String,
    /// The run.
    pub run: LiveRun,
}

/// A token that ends soon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiringToken {
    /// The token.
    pub token: TokenId,
    /// What people call it.
    pub name: String,
    /// Its project; `None` = the whole installation.
    pub project: Option<ProjectId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

fn live_from(row: &Row) -> Result<LiveRun, StoreError> {
    Ok(LiveRun {
        run: RunId(row.get("id")?),
        project: ProjectId(row.get("project_id")?),
        job: JobId(row.get("job_id")?),
        job_name: row.word("job_name", |text| text.parse().ok())?,
        made_at: row.time("created_at")?,
        since: row.time("since")?,
    })
}

impl Store {
    /// Runs whose container runs.
    ///
    /// # Errors
    /// The database failed.
    pub async fn running(&self) -> Result<Vec<LiveRun>, StoreError> {
        let sql = "SELECT id, project_id, job_id, job_name, created_at, started_at AS since FROM runs \
                   WHERE phase IN ('starting', 'running') AND started_at IS NOT NULL LIMIT $1";
        self.read().await?.each(sql, values![MOST], |row| live_from(row).map(Some)).await
    }

    /// The first in the queue of each job.
    ///
    /// # Errors
    /// The database failed.
    pub async fn heads_of_queues(&self) -> Result<Vec<LiveRun>, StoreError> {
        let sql = "SELECT id, project_id, job_id, job_name, created_at, queued_at AS since FROM runs \
                   WHERE phase = 'queued' AND hold_until IS NULL AND job_id = $1 \
                   ORDER BY priority DESC, queued_at, id LIMIT 1";
        let mut session = self.read().await?;
        let mut heads = Vec::new();
        for job in admission::jobs_with_queue(&mut session).await? {
            heads.extend(session.first(sql, values![job]).await?.as_ref().map(live_from).transpose()?);
        }
        Ok(heads)
    }

    /// Runs that hold a named limit since before a moment while others wait for it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn long_holders(&self, before: Timestamp) -> Result<Vec<LongHolder>, StoreError> {
        let sql = "SELECT limits.name AS limit_name, runs.id, runs.project_id, runs.job_id, runs.job_name, \
                   runs.created_at, runs.started_at AS since \
                   FROM slots JOIN limits ON limits.id = slots.limit_id JOIN runs ON runs.id = slots.run_id \
                   WHERE runs.started_at <= $1 AND EXISTS (SELECT 1 FROM job_limits JOIN runs AS waiting \
                   ON waiting.job_id = job_limits.job_id WHERE job_limits.limit_id = limits.id \
                   AND waiting.phase = 'queued' AND waiting.hold_until IS NULL) LIMIT 100";
        let rows = self.read().await?.all(sql, values![before]).await?;
        rows.iter().map(|row| Ok(LongHolder { limit: row.get("limit_name")?, run: live_from(row)? })).collect()
    }

    /// Tokens that end between two moments.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expiring_tokens(&self, from: Timestamp, to: Timestamp) -> Result<Vec<ExpiringToken>, StoreError> {
        let sql = "SELECT id, name, project_id, created_at, expires_at FROM tokens \
                   WHERE expires_at > $1 AND expires_at <= $2 AND revoked_at IS NULL ORDER BY expires_at LIMIT 1000";
        let rows = self.read().await?.all(sql, values![from, to]).await?;
        rows.iter()
            .map(|row| {
                Ok(ExpiringToken {
                    token: TokenId(row.get("id")?),
                    name: row.get("name")?,
                    project: row.get::<Option<uuid::Uuid>>("project_id")?.map(ProjectId),
                    created_at: row.time("created_at")?,
                    expires_at: row.time("expires_at")?,
                })
            })
            .collect()
    }
}
