//! What happened lately, counted up to a bound: nothing here takes longer because the history is long.

use super::{
    RunFilter, Store, StoreError,
    run_list::bounds,
    runs::{run_columns, run_from},
    session::values,
};
use crate::domain::{JobId, Lifecycle, Phase, Run, RunId, RunState, StopCause, Timestamp};

/// Phases that count as gone wrong.
const WRONG: [Phase; 2] = [Phase::Failed, Phase::TimedOut];

/// A run without what its script was given and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunGlance {
    /// The run.
    pub id: RunId,
    /// Where it stands.
    pub state: RunState,
    /// When it was triggered.
    pub created_at: Timestamp,
    /// When its first container started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Store {
    /// How many runs ended in this phase from `from` on and before `to`, counted up to `most`. Of the filter, the
    /// project and the jobs count.
    ///
    /// # Errors
    /// The database failed.
    pub async fn count_ended(
        &self,
        filter: &RunFilter,
        phase: Phase,
        from: Timestamp,
        to: Timestamp,
        most: u32,
    ) -> Result<u64, StoreError> {
        let (whose, mut all) = bounds(filter);
        let at = all.len();
        all.extend(values![phase.as_str(), from, to, most]);
        let sql = format!(
            "SELECT COUNT(*) AS n FROM (SELECT 1 FROM runs WHERE {whose} AND phase = ${} AND finished_at >= ${} \
             AND finished_at < ${} LIMIT ${}) AS ended",
            at + 1,
            at + 2,
            at + 3,
            at + 4
        );
        self.count_built(sql, all).await
    }

    /// How many runs are in this phase now, counted up to `most`. Of the filter, the project and the jobs count.
    ///
    /// # Errors
    /// The database failed.
    pub async fn count_in(&self, filter: &RunFilter, phase: Phase, most: u32) -> Result<u64, StoreError> {
        let (whose, mut all) = bounds(filter);
        let at = all.len();
        all.extend(values![phase.as_str(), most]);
        let sql = format!(
            "SELECT COUNT(*) AS n FROM (SELECT 1 FROM runs WHERE {whose} AND phase = ${} LIMIT ${}) AS live",
            at + 1,
            at + 2
        );
        self.count_built(sql, all).await
    }

    async fn count_built(&self, sql: String, all: Vec<super::session::Value>) -> Result<u64, StoreError> {
        let rows = self.read().await?.all_built(sql, all).await?;
        let count: i64 = rows.first().ok_or_else(|| StoreError::corrupt("count"))?.get("n")?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Runs that failed or timed out since, the latest end first. Of the filter, the project and the jobs count.
    ///
    /// # Errors
    /// The database failed.
    pub async fn went_wrong(&self, filter: &RunFilter, since: Timestamp, limit: u32) -> Result<Vec<Run>, StoreError> {
        let mut session = self.read().await?;
        let mut found = Vec::new();
        for phase in WRONG {
            let (whose, mut all) = bounds(filter);
            let at = all.len();
            all.extend(values![phase.as_str(), since, limit]);
            let sql = format!(
                concat!(
                    "SELECT ",
                    run_columns!(),
                    " FROM runs WHERE {} AND phase = ${} AND finished_at >= ${} ORDER BY finished_at DESC LIMIT ${}"
                ),
                whose,
                at + 1,
                at + 2,
                at + 3
            );
            for row in session.all_built(sql, all).await? {
                found.push(run_from(&row)?);
            }
        }
        found.sort_by_key(|run| std::cmp::Reverse(run.finished_at));
        found.truncate(limit as usize);
        Ok(found)
    }

    /// A job's newest runs at a glance.
    ///
    /// # Errors
    /// The database failed.
    pub async fn newest_runs(&self, job: JobId, limit: u32) -> Result<Vec<RunGlance>, StoreError> {
        let sql = "SELECT id, phase, stop, created_at, started_at, finished_at FROM runs WHERE job_id = $1 \
                   ORDER BY id DESC LIMIT $2";
        let rows = self.read().await?.all(sql, values![job, limit]).await?;
        rows.iter()
            .map(|row| {
                let (phase, stop) = (row.word("phase", Phase::parse)?, row.word_opt("stop", StopCause::parse)?);
                Ok(RunGlance {
                    id: RunId(row.get("id")?),
                    state: Lifecycle { phase, stop, ..Lifecycle::default() }.state(),
                    created_at: row.time("created_at")?,
                    started_at: row.time_opt("started_at")?,
                    finished_at: row.time_opt("finished_at")?,
                })
            })
            .collect()
    }

    /// The first runs that wait for a named limit, in the order of their queues: the job's priority, then age.
    ///
    /// # Errors
    /// The database failed.
    pub async fn queue_of_limit(&self, limit: crate::domain::LimitId, most: u32) -> Result<Vec<Run>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            run_columns!(),
            " FROM runs WHERE job_id = $1 AND phase = 'queued' AND hold_until IS NULL \
             ORDER BY priority DESC, queued_at, id LIMIT $2"
        );
        let mut session = self.read().await?;
        let sql = "SELECT job_id FROM job_limits WHERE limit_id = $1 ORDER BY job_id LIMIT 100";
        let mut queue = Vec::new();
        for row in session.all(sql, values![limit]).await? {
            let job: uuid::Uuid = row.get("job_id")?;
            for row in session.all(SQL, values![job, most]).await? {
                queue.push(run_from(&row)?);
            }
        }
        queue.sort_by_key(|run: &Run| (std::cmp::Reverse(run.priority), run.queued_at, run.id));
        queue.truncate(most as usize);
        Ok(queue)
    }
}
