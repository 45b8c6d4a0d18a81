//! Schedules: which time of each job is the next, and the runs that are made for those that have come.

use super::{
    NewRun, Session, Store, StoreError, TriggerOutcome,
    jobs::{job_columns, job_from, revision_from},
    session::{Dialect, Statement, values},
    trigger::trigger,
};
use crate::domain::{Job, JobId, JobSpec, Occasion, Revision, Run, RunId, Schedule, Timestamp};

/// Who triggers runs that a schedule starts.
pub const SCHEDULER: &str = "haulier";

/// Where a job's schedule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleState {
    /// The first time that was not served yet.
    pub next_time: Option<Timestamp>,
    /// The last time that was served.
    pub last_time: Option<Timestamp>,
    /// The run that was made for it.
    pub last_run: Option<RunId>,
    /// Why none was made.
    pub last_problem: Option<String>,
}

/// A time that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueSchedule {
    /// The job.
    pub job: JobId,
    /// The first time that was not served yet.
    pub time: Timestamp,
}

/// A time that was served.
#[derive(Debug)]
pub struct Served {
    /// The job's name.
    pub job: String,
    /// The time that a run was made for; `None` when it was too late for all that were due.
    pub time: Option<Timestamp>,
    /// What came of triggering it.
    pub outcome: Option<TriggerOutcome>,
}

impl Store {
    /// Schedules whose time has come, the longest due first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn due_schedules(&self, now: Timestamp, limit: u32) -> Result<Vec<DueSchedule>, StoreError> {
        let sql = "SELECT job_id, next_time FROM schedules WHERE due_at IS NOT NULL AND due_at <= $1 \
                   ORDER BY due_at LIMIT $2";
        let rows = self.read().await?.all(sql, values![now, limit]).await?;
        rows.iter()
            .map(|row| Ok(DueSchedule { job: JobId(row.get("job_id")?), time: row.time("next_time")? }))
            .collect()
    }

    /// When the next schedule is due.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_schedule_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT MIN(due_at) AS due_at FROM schedules WHERE due_at IS NOT NULL";
        let row = self.read().await?.first(sql, Vec::new()).await?;
        row.map_or(Ok(None), |row| row.time_opt("due_at"))
    }

    /// Serves a time that has come: makes the run, and moves the schedule on, in one transaction. `None` when somebody
    /// else has served it, or it is not due any more. `default_engine` runs jobs that name none.
    ///
    /// # Errors
    /// The database failed; then nothing has happened.
    pub async fn serve_schedule(
        &self,
        due: DueSchedule,
        default_engine: &str,
        now: Timestamp,
    ) -> Result<Option<Served>, StoreError> {
        let engine = default_engine.to_owned();
        self.write(move |session| {
            let engine = engine.clone();
            Box::pin(async move { serve(session, due, &engine, now).await })
        })
        .await
    }

    /// Where a job's schedule stands; `None` when it has none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn schedule(&self, job: JobId) -> Result<Option<ScheduleState>, StoreError> {
        let sql = "SELECT next_time, last_time, last_run, last_problem FROM schedules WHERE job_id = $1";
        let Some(row) = self.read().await?.first(sql, values![job]).await? else { return Ok(None) };
        Ok(Some(ScheduleState {
            next_time: row.time_opt("next_time")?,
            last_time: row.time_opt("last_time")?,
            last_run: row.get::<Option<uuid::Uuid>>("last_run")?.map(RunId),
            last_problem: row.get("last_problem")?,
        }))
    }
}

async fn serve(
    session: &mut Session,
    due: DueSchedule,
    default_engine: &str,
    now: Timestamp,
) -> Result<Option<Served>, StoreError> {
    const JOB: &str = concat!("SELECT ", job_columns!(), " WHERE jobs.id = $1");
    // On PostgreSQL, nobody may make a new revision meanwhile.
    const UNCHANGING: &str = concat!("SELECT ", job_columns!(), " WHERE jobs.id = $1 FOR SHARE OF jobs");
    let sql = if session.dialect() == Dialect::Sqlite { JOB } else { UNCHANGING };
    let row = session.first(sql, values![due.job]).await?.ok_or_else(|| StoreError::corrupt("schedule"))?;
    let (job, revision) = (job_from(&row)?, revision_from(&row)?);
    // The schedule may have been taken away since it was found due.
    let schedule = revision.spec.schedule.as_ref().and_then(|spec| spec.of_job(job.id));
    let Some(schedule) = schedule else { return Ok(None) };
    let Occasion { serve, next } = schedule.occasion(due.time, now);
    // Whoever moves the time on has the right to the run; on PostgreSQL, others wait here and then see nothing to do.
    let sql = "UPDATE schedules SET next_time = $1, due_at = $2 \
               WHERE job_id = $3 AND next_time = $4 AND due_at <= $5 RETURNING job_id";
    let due_at = next.map(|next| schedule.starts_at(next));
    if session.first(sql, values![next, due_at, due.job, due.time, now]).await?.is_none() {
        return Ok(None);
    }
    let served = |time, outcome| Some(Served { job: job.name.to_string(), time, outcome });
    let Some(time) = serve else { return Ok(served(None, None)) };
    let outcome = trigger(session, &new_run(&job, &revision, default_engine, time, now)).await?;
    let (run, problem) = match &outcome {
        TriggerOutcome::Created { run, .. } => (Some(run.id), None),
        TriggerOutcome::Full(_) => (None, Some("the job was full, and its rule says reject")),
        TriggerOutcome::Gone => (None, Some("the job was archived")),
        TriggerOutcome::Existing(_) | TriggerOutcome::KeyReused(_) | TriggerOutcome::Stale => {
            return Err(StoreError::corrupt("a job that changed while it was read"));
        }
    };
    let sql = "UPDATE schedules SET last_time = $1, last_run = $2, last_problem = $3 WHERE job_id = $4";
    session.execute(sql, values![time, run, problem, due.job]).await?;
    Ok(served(Some(time), Some(outcome)))
}

fn new_run(job: &Job, revision: &Revision, default_engine: &str, time: Timestamp, now: Timestamp) -> NewRun {
    let mut run = Run::of_job(job, &revision.spec, default_engine, SCHEDULER.to_owned(), now);
    run.source.insert("kind".to_owned(), "schedule".to_owned());
    run.source.insert("time".to_owned(), time.to_string());
    NewRun { run, env: None, when_full: revision.spec.when_full, key: None, callback: None, repeats: false }
}

/// Brings a job's schedule in line with its new revision. A time that is due stays due, unless the times are others
/// now.
pub(super) async fn follow(
    session: &mut Session,
    job: JobId,
    revision: u32,
    spec: &JobSpec,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(wanted) = &spec.schedule else {
        return session.execute_all(vec![forgetting(job)]).await;
    };
    let sql = "SELECT spec FROM revisions WHERE job_id = $1 AND number = $2";
    let earlier = session.first(sql, values![job, revision - 1]).await?;
    let earlier: Option<JobSpec> = earlier.map(|row| row.json("spec")).transpose()?;
    let runs = |spec: &JobSpec| spec.enabled && spec.schedule.as_ref().is_some_and(|schedule| !schedule.paused);
    let times = |spec: &JobSpec| {
        spec.schedule
            .as_ref()
            .map(|schedule| (schedule.cron.clone(), schedule.timezone.clone(), schedule.jitter_seconds))
    };
    if earlier.is_some_and(|earlier| runs(&earlier) == runs(spec) && times(&earlier) == times(spec)) {
        return Ok(());
    }
    let schedule = wanted.of_job(job).filter(|_| runs(spec));
    // A clock that was set back must not serve a time again.
    let sql = "SELECT last_time FROM schedules WHERE job_id = $1";
    let last = session.first(sql, values![job]).await?.map_or(Ok(None), |row| row.time_opt("last_time"))?;
    let next = schedule.as_ref().and_then(|schedule| schedule.next_after(last.map_or(now, |last| last.max(now))));
    let due_at = schedule.zip(next).map(|(schedule, next): (Schedule, _)| schedule.starts_at(next));
    let sql = "INSERT INTO schedules (job_id, next_time, due_at) VALUES ($1, $2, $3) \
               ON CONFLICT (job_id) DO UPDATE SET next_time = excluded.next_time, due_at = excluded.due_at";
    session.execute_all(vec![(sql, values![job, next, due_at])]).await
}

/// The job starts by itself no more.
pub(super) fn forgetting(job: JobId) -> Statement {
    ("DELETE FROM schedules WHERE job_id = $1", values![job])
}
