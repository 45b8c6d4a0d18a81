//! What is kept no longer: logs whose job keeps them for so many days, runs that ended long ago, old entries of the audit
//! log. Everything here is found by an index, in batches: nothing walks the history to find that there is nothing to do.

use std::collections::HashSet;

use super::{
    Session, Store, StoreError,
    session::{Dialect, Value, values},
};
use crate::domain::{JobId, JobSpec, Phase, ProjectId, RunId, Timestamp};

/// Tables whose rows go with the run that they name.
///
/// Others name runs and stay: versions of a job's state, its schedule, notices and what is remembered for them are
/// bounded by themselves, and may say that there was such a run. Slots belong to live runs alone.
const BELONGINGS: [&str; 6] = ["run_labels", "attempts", "events", "callbacks", "idempotency", "unjudged"];

/// Runs of a project that ended in a phase before a moment. Who is still to be told of a run's end is told first.
const EXPIRED: &str = "SELECT id FROM runs WHERE project_id = $1 AND phase = $2 AND finished_at IS NOT NULL \
                       AND finished_at < $3 AND NOT EXISTS (SELECT 1 FROM callbacks WHERE callbacks.run_id = runs.id \
                       AND callbacks.due_at IS NOT NULL) ORDER BY finished_at LIMIT $4";

/// How many audit entries one transaction deletes at the most.
const ENTRIES: u32 = 500;

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

    /// Runs of a project that ended before a moment and of which nobody is still to be told, at most `limit`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expired_runs(
        &self,
        project: ProjectId,
        end: Timestamp,
        limit: usize,
    ) -> Result<Vec<RunId>, StoreError> {
        let mut session = self.read().await?;
        let mut expired = Vec::new();
        // Each phase has its range of an index, in the order of ends.
        for phase in Phase::ALL.into_iter().filter(|phase| phase.is_terminal()) {
            let left = i64::try_from(limit - expired.len()).unwrap_or(i64::MAX);
            for row in session.all(EXPIRED, values![project, phase.as_str(), end, left]).await? {
                expired.push(RunId(row.get("id")?));
            }
        }
        Ok(expired)
    }

    /// Deletes those of the runs that ended before a moment and of which nobody is still to be told, with all that
    /// belongs to them; which they were. A hundred or so at a time: others want to write too.
    ///
    /// # Errors
    /// The database failed; then none is deleted.
    pub async fn delete_runs(&self, runs: Vec<RunId>, end: Timestamp) -> Result<Vec<RunId>, StoreError> {
        if runs.is_empty() {
            return Ok(runs);
        }
        self.write(move |session| {
            let runs = runs.clone();
            Box::pin(async move { delete(session, &runs, end).await })
        })
        .await
    }

    /// Those of the runs that there are not, or no more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn missing_runs(&self, runs: &[RunId]) -> Result<Vec<RunId>, StoreError> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT id FROM runs WHERE id IN ({})", places(1, runs.len()));
        let rows = self.read().await?.all_built(sql, ids(runs)).await?;
        let there = rows.iter().map(|row| row.get("id").map(RunId)).collect::<Result<HashSet<_>, _>>()?;
        Ok(runs.iter().filter(|run| !there.contains(run)).copied().collect())
    }

    /// Deletes audit entries that were made before a moment, a batch of the oldest; how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_audit(&self, before: Timestamp) -> Result<u64, StoreError> {
        // There is mostly nothing to do, and a write is dear. Entries are numbered as time goes by.
        let any = "SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT $1) AS oldest WHERE at < $2 LIMIT 1";
        if self.read().await?.first(any, values![ENTRIES, before]).await?.is_none() {
            return Ok(0);
        }
        let sql = "DELETE FROM audit WHERE id IN (SELECT id FROM (SELECT id, at FROM audit ORDER BY id LIMIT $1) \
                   AS oldest WHERE at < $2)";
        self.write(move |session| Box::pin(async move { session.execute(sql, values![ENTRIES, before]).await })).await
    }
}

async fn delete(session: &mut Session, runs: &[RunId], end: Timestamp) -> Result<Vec<RunId>, StoreError> {
    if session.dialect() == Dialect::Postgres {
        // First the lock and then the question: whoever asks for a callback meanwhile comes before or after.
        let sql = format!("SELECT id FROM runs WHERE id IN ({}) ORDER BY id FOR UPDATE", places(1, runs.len()));
        session.all_built(sql, ids(runs)).await?;
    }
    let sql = format!(
        "SELECT id FROM runs WHERE id IN ({}) AND finished_at < $1 AND NOT EXISTS (SELECT 1 FROM callbacks \
         WHERE callbacks.run_id = runs.id AND callbacks.due_at IS NOT NULL)",
        places(2, runs.len())
    );
    let all = std::iter::once(end.into()).chain(ids(runs)).collect();
    let rows = session.all_built(sql, all).await?;
    let expired = rows.iter().map(|row| row.get("id").map(RunId)).collect::<Result<Vec<_>, _>>()?;
    if expired.is_empty() {
        return Ok(expired);
    }
    let places = places(1, expired.len());
    for table in BELONGINGS {
        session.all_built(format!("DELETE FROM {table} WHERE run_id IN ({places})"), ids(&expired)).await?;
    }
    session.all_built(format!("DELETE FROM runs WHERE id IN ({places})"), ids(&expired)).await?;
    Ok(expired)
}

/// `$first, …` for so many values.
fn places(first: usize, many: usize) -> String {
    let places: Vec<_> = (first..first + many).map(|number| format!("${number}")).collect();
    places.join(", ")
}

fn ids(runs: &[RunId]) -> Vec<Value> {
    runs.iter().map(|run| Value::from(*run)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::TestDatabase;

    async fn opened() -> (TestDatabase, Store) {
        let database = TestDatabase::sqlite();
        let store = Store::open(&database.url().into()).await.unwrap();
        (database, store)
    }

    async fn texts(store: &Store, sql: String, values: Vec<Value>, column: &str) -> Vec<String> {
        let rows = store.read().await.unwrap().all_built(sql, values).await.unwrap();
        rows.iter().map(|row| row.get(column).unwrap()).collect()
    }

    #[tokio::test]
    async fn nothing_walks_the_history() {
        let (_database, store) = opened().await;
        let (project, end) = (ProjectId::generate(), Timestamp::from_micros(0));
        let values = values![project, "succeeded", end, 1_i64];
        let plan = texts(&store, format!("EXPLAIN QUERY PLAN {EXPIRED}"), values, "detail").await;
        let expired =
            "SEARCH runs USING INDEX runs_ended (project_id=? AND phase=? AND finished_at>? AND finished_at<?)";
        assert_eq!(plan[0], expired, "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("SCAN") || step.contains("TEMP B-TREE")), "{plan:?}");
        for table in BELONGINGS {
            let sql = format!("EXPLAIN QUERY PLAN DELETE FROM {table} WHERE run_id IN ($1, $2)");
            let plan = texts(&store, sql, ids(&[RunId::generate(), RunId::generate()]), "detail").await;
            assert!(plan.iter().all(|step| step.starts_with("SEARCH") && step.contains("(run_id=?)")), "{plan:?}");
        }
    }

    /// Deleting a run makes SQLite look for rows that refer to it, of which no plan tells.
    #[tokio::test]
    async fn who_refers_to_runs_has_an_index_for_it() {
        let (_database, store) = opened().await;
        let sql = "SELECT tables.name FROM sqlite_schema AS tables JOIN pragma_foreign_key_list(tables.name) AS key \
                   WHERE tables.type = 'table' AND key.\"table\" = 'runs' AND NOT EXISTS (SELECT 1 FROM \
                   pragma_index_list(tables.name) AS i JOIN pragma_index_info(i.name) AS c WHERE c.seqno = 0 \
                   AND c.name = key.\"from\")";
        assert_eq!(texts(&store, sql.to_owned(), Vec::new(), "name").await, [""; 0]);
    }

    /// Whoever adds a table that names runs decides here what becomes of its rows.
    #[tokio::test]
    async fn every_table_that_names_runs_is_known() {
        let (_database, store) = opened().await;
        let sql = "SELECT tables.name FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS c \
                   WHERE tables.type = 'table' AND c.name LIKE '%run%' AND c.name <> 'max_running' \
                   AND tables.name <> 'runs' ORDER BY 1";
        let mut known = BELONGINGS.to_vec();
        known.extend(["job_states", "notices", "samples", "schedules", "slots"]);
        known.sort_unstable();
        assert_eq!(texts(&store, sql.to_owned(), Vec::new(), "name").await, known);
    }
}
