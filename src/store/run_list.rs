//! Listing runs: filters and a keyset cursor, the newest first.

use super::{
    Session, Store, StoreError,
    runs::{run_columns, run_from},
    session::{Value, values},
};
use crate::domain::{JobId, JobSpec, ProjectId, Run, RunId, RunState, Timestamp};

/// Which runs are meant. What is left out does not matter.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of this project.
    pub project: Option<ProjectId>,
    /// Of these jobs; empty = all.
    pub jobs: Vec<JobId>,
    /// In one of these states; empty = all.
    pub states: Vec<RunState>,
    /// With all of these labels.
    pub labels: Vec<(String, String)>,
    /// With all of these in their source.
    pub source: Vec<(String, String)>,
    /// Triggered at or after.
    pub since: Option<Timestamp>,
    /// Triggered before.
    pub until: Option<Timestamp>,
    /// Live ones alone that nobody asked to end yet.
    pub unstopped: bool,
}

/// A page of runs.
#[derive(Debug)]
pub struct RunPage {
    /// The runs, the newest first.
    pub runs: Vec<Run>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<RunId>,
}

impl Store {
    /// Runs that match, the newest first, those made before `before`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn runs(&self, filter: &RunFilter, before: Option<RunId>, limit: u32) -> Result<RunPage, StoreError> {
        let mut session = self.read().await?;
        let mut runs = select(&mut session, filter, before, limit + 1).await?;
        let more = runs.len() > limit as usize;
        runs.truncate(limit as usize);
        let next = more.then(|| runs.last().map(|run| run.id)).flatten();
        Ok(RunPage { runs, next })
    }
}

impl Store {
    /// For how many days each job keeps its logs, and up to which run they have been deleted. Archived jobs too.
    ///
    /// # Errors
    /// The database failed.
    pub async fn log_retentions(&self) -> Result<Vec<(JobId, u32, Option<RunId>)>, StoreError> {
        let sql = "SELECT jobs.id, jobs.logs_deleted_to, revisions.spec FROM jobs \
                   JOIN revisions ON revisions.job_id = jobs.id AND revisions.number = jobs.revision";
        let rows = self.read().await?.all(sql, Vec::new()).await?;
        rows.iter()
            .map(|row| {
                let deleted = row.get::<Option<uuid::Uuid>>("logs_deleted_to")?.map(RunId);
                Ok((JobId(row.get("id")?), row.json::<JobSpec>("spec")?.log_retention_days, deleted))
            })
            .collect()
    }

    /// Keeps up to which run a job's logs have been deleted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn logs_deleted_to(&self, job: JobId, run: RunId) -> Result<(), StoreError> {
        self.write(move |session| {
            Box::pin(async move {
                let sql = "UPDATE jobs SET logs_deleted_to = $1 WHERE id = $2";
                session.execute(sql, values![run, job]).await.map(|_| ())
            })
        })
        .await
    }

    /// Runs of a job that ended before a moment, in the order in which they were made, those made after `after`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn ended_before(
        &self,
        job: JobId,
        after: Option<RunId>,
        end: Timestamp,
        limit: u32,
    ) -> Result<Vec<RunId>, StoreError> {
        let after = after.unwrap_or(RunId(uuid::Uuid::nil()));
        let mut session = self.read().await?;
        // The next run decides whether there is anything to do: a job's younger runs are never walked.
        let sql = "SELECT created_at FROM runs WHERE job_id = $1 AND id > $2 ORDER BY id LIMIT 1";
        let next = session.first(sql, values![job, after]).await?.map(|row| row.time("created_at")).transpose()?;
        if next.is_none_or(|made| made >= end) {
            return Ok(Vec::new());
        }
        let sql = "SELECT id FROM (SELECT id, created_at, finished_at FROM runs WHERE job_id = $1 AND id > $2 \
                   ORDER BY id LIMIT $4) AS oldest WHERE created_at < $3 AND finished_at < $3 ORDER BY id";
        let rows = session.all(sql, values![job, after, end, limit]).await?;
        rows.iter().map(|row| row.get("id").map(RunId)).collect()
    }
}

pub(super) async fn select(
    session: &mut Session,
    filter: &RunFilter,
    before: Option<RunId>,
    limit: u32,
) -> Result<Vec<Run>, StoreError> {
    let (sql, values) = statement(filter, before, limit);
    session.all_built(sql, values).await?.iter().map(run_from).collect()
}

fn statement(filter: &RunFilter, before: Option<RunId>, limit: u32) -> (String, Vec<Value>) {
    let mut sql = concat!("SELECT ", run_columns!(), " FROM runs WHERE TRUE").to_owned();
    let mut all: Vec<Value> = Vec::new();
    let mut bind = |value: Value| {
        all.push(value);
        format!("${}", all.len())
    };
    if let Some(project) = filter.project {
        sql += &format!(" AND runs.project_id = {}", bind(project.into()));
    }
    if !filter.jobs.is_empty() {
        let jobs: Vec<_> = filter.jobs.iter().map(|job| bind((*job).into())).collect();
        sql += &format!(" AND runs.job_id IN ({})", jobs.join(", "));
    }
    if !filter.states.is_empty() {
        let states: Vec<_> = filter.states.iter().map(|state| condition(*state)).collect();
        sql += &format!(" AND ({})", states.join(" OR "));
    }
    for (label, value, prefix) in labels(filter) {
        let project = filter.project.map_or_else(|| "runs.project_id".to_owned(), |project| bind(project.into()));
        let (label, value) = (bind(format!("{prefix}{label}").into()), bind(value.into()));
        sql += &format!(
            " AND runs.id IN (SELECT run_id FROM run_labels WHERE run_labels.project_id = {project} \
             AND label = {label} AND value = {value})"
        );
    }
    if filter.unstopped {
        sql += " AND runs.phase IN ('queued', 'starting', 'running') AND runs.stop IS NULL";
    }
    if let Some(since) = filter.since {
        sql += &format!(" AND runs.created_at >= {}", bind(since.into()));
    }
    if let Some(until) = filter.until {
        sql += &format!(" AND runs.created_at < {}", bind(until.into()));
    }
    if let Some(before) = before {
        sql += &format!(" AND runs.id < {}", bind(before.into()));
    }
    sql += &format!(" ORDER BY runs.id DESC LIMIT {}", bind(limit.into()));
    (sql, all)
}

fn labels(filter: &RunFilter) -> Vec<(&str, &str, &'static str)> {
    let labels = filter.labels.iter().map(|(label, value)| (label.as_str(), value.as_str(), ""));
    let source = filter.source.iter().map(|(label, value)| (label.as_str(), value.as_str(), "source:"));
    labels.chain(source).collect()
}

/// The inverse of `RunState::of`.
const fn condition(state: RunState) -> &'static str {
    match state {
        RunState::Queued => "(runs.phase = 'queued' AND runs.stop IS NULL)",
        RunState::Starting => "(runs.phase = 'starting' AND runs.stop IS NULL)",
        RunState::Running => "(runs.phase = 'running' AND runs.stop IS NULL)",
        RunState::Cancelling => "(runs.phase IN ('queued', 'starting', 'running') AND runs.stop IS NOT NULL)",
        RunState::Succeeded => "runs.phase = 'succeeded'",
        RunState::Failed => "runs.phase = 'failed'",
        RunState::Cancelled => "runs.phase = 'cancelled'",
        RunState::TimedOut => "runs.phase = 'timed_out'",
    }
}
