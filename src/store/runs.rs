//! Run rows: reading them, and writing what a transition changed.

use indexmap::IndexMap;

use super::{
    Session, Store, StoreError, callbacks, samples,
    session::{Dialect, Row, Statement, json_text, values},
};
use crate::domain::{
    Lifecycle, LogSummary, Name, Phase, ProjectId, Run, RunEventKind, RunId, StopCause, Timestamp, WaitReason,
};

/// All columns of a run that make a [`Run`]; its sealed environment is read apart.
macro_rules! run_columns {
    () => {
        "runs.id, runs.project_id, runs.job_id, runs.job_name, runs.revision, runs.engine, runs.phase, runs.stop, \
         runs.stopped_by, runs.attempt, runs.slice, runs.own_failures, runs.infrastructure_failures, runs.parameters, \
         runs.labels, runs.source, runs.traceparent, runs.created_by, runs.retry_of, runs.priority, runs.not_before, \
         runs.requeue_reason, runs.timeout_seconds, runs.queue_deadline, runs.abandon_after_seconds, runs.created_at, \
         runs.queued_at, runs.started_at, runs.finished_at, runs.exit_code, runs.error, runs.output, runs.metrics, \
         runs.progress, runs.log_bytes, runs.log_complete, runs.log_truncated"
    };
}
pub(super) use run_columns;

pub(super) fn run_from(row: &Row) -> Result<Run, StoreError> {
    let name: String = row.get("job_name")?;
    Ok(Run {
        id: RunId(row.get("id")?),
        project: ProjectId(row.get("project_id")?),
        job: crate::domain::JobId(row.get("job_id")?),
        job_name: name.parse::<Name>().map_err(|_| StoreError::corrupt("job_name"))?,
        revision: row.number("revision")?,
        engine: row.get("engine")?,
        life: Lifecycle {
            phase: row.word("phase", Phase::parse)?,
            stop: row.word_opt("stop", StopCause::parse)?,
            attempt: row.number("attempt")?,
            slice: row.number("slice")?,
            own_failures: row.number("own_failures")?,
            infrastructure_failures: row.number("infrastructure_failures")?,
        },
        stopped_by: row.get("stopped_by")?,
        parameters: row.get("parameters")?,
        labels: row.json("labels")?,
        source: row.json("source")?,
        traceparent: row.word_opt("traceparent", |text| text.parse().ok())?,
        created_by: row.get("created_by")?,
        retry_of: row.get::<Option<uuid::Uuid>>("retry_of")?.map(RunId),
        priority: i32::try_from(row.get::<i64>("priority")?).map_err(|_| StoreError::corrupt("priority"))?,
        not_before: row.time_opt("not_before")?,
        requeue_reason: row.word_opt("requeue_reason", WaitReason::parse)?,
        timeout_seconds: row.number("timeout_seconds")?,
        queue_deadline: row.time_opt("queue_deadline")?,
        abandon_after_seconds: row.number_opt("abandon_after_seconds")?,
        created_at: row.time("created_at")?,
        queued_at: row.time("queued_at")?,
        started_at: row.time_opt("started_at")?,
        finished_at: row.time_opt("finished_at")?,
        exit_code: row.exit_code("exit_code")?,
        error: row.json_opt("error")?,
        output: row.get("output")?,
        metrics: row.json_opt("metrics")?.unwrap_or_default(),
        progress: row.json_opt("progress")?,
        log: LogSummary {
            bytes: u64::try_from(row.get::<i64>("log_bytes")?).map_err(|_| StoreError::corrupt("log_bytes"))?,
            complete: row.get("log_complete")?,
            truncated: row.get("log_truncated")?,
        },
    })
}

pub(super) async fn load(session: &mut Session, run: RunId) -> Result<Option<Run>, StoreError> {
    const SQL: &str = concat!("SELECT ", run_columns!(), " FROM runs WHERE id = $1");
    session.first(SQL, values![run]).await?.as_ref().map(run_from).transpose()
}

/// Loads a run that is about to be changed, so that no other transaction changes it meanwhile.
pub(super) async fn lock(session: &mut Session, run: RunId) -> Result<Option<Run>, StoreError> {
    const SQL: &str = concat!("SELECT ", run_columns!(), " FROM runs WHERE id = $1 FOR UPDATE");
    match session.dialect() {
        Dialect::Sqlite => load(session, run).await,
        Dialect::Postgres => session.first(SQL, values![run]).await?.as_ref().map(run_from).transpose(),
    }
}

/// Stores what a transition changed. Fenced by what it was computed from: `false` when the row has moved on.
pub(super) async fn save(session: &mut Session, before: Lifecycle, run: &Run) -> Result<bool, StoreError> {
    let changed = session
        .first(
            "UPDATE runs SET phase = $1, stop = $2, stopped_by = $3, attempt = $4, slice = $5, own_failures = $6, \
             infrastructure_failures = $7, requeue_reason = $8, hold_until = $9, queue_deadline = $10, \
             queued_at = $11, started_at = $12, finished_at = $13, exit_code = $14, error = $15, output = $16, \
             metrics = $17, progress = $18, log_bytes = $19, log_complete = $20, log_truncated = $21, \
             not_before = $22 WHERE id = $23 AND phase = $24 AND attempt = $25 RETURNING id",
            values![
                run.life.phase.as_str(),
                run.life.stop.map(StopCause::as_str),
                run.stopped_by.clone(),
                run.life.attempt,
                run.life.slice,
                run.life.own_failures,
                run.life.infrastructure_failures,
                run.requeue_reason.map(WaitReason::as_str),
                // A run joins the queue's order when its time has come.
                run.not_before.filter(|time| *time > run.queued_at),
                run.queue_deadline,
                run.queued_at,
                run.started_at,
                run.finished_at,
                run.exit_code,
                run.error.as_ref().map(json_text).transpose()?,
                run.output.clone(),
                (!run.metrics.is_empty()).then(|| json_text(&run.metrics)).transpose()?,
                run.progress.as_ref().map(json_text).transpose()?,
                i64::try_from(run.log.bytes).unwrap_or(i64::MAX),
                run.log.complete,
                run.log.truncated,
                run.not_before,
                run.id,
                before.phase.as_str(),
                before.attempt,
            ],
        )
        .await?;
    if changed.is_some()
        && let Some(ended_at) = run.finished_at
    {
        session.execute_all(vec![callbacks::due_now(run.id, ended_at), samples::to_judge(run.id)]).await?;
    }
    Ok(changed.is_some())
}

/// Frees what the run holds.
pub(super) fn freeing_slots(run: RunId) -> Statement {
    ("DELETE FROM slots WHERE run_id = $1", values![run])
}

pub(super) async fn add_event(
    session: &mut Session,
    run: RunId,
    at: Timestamp,
    kind: RunEventKind,
    attempt: Option<u32>,
    detail: &str,
) -> Result<(), StoreError> {
    session
        .execute(
            "INSERT INTO events (run_id, at, kind, attempt, detail) VALUES ($1, $2, $3, $4, $5)",
            values![run, at, kind.as_str(), attempt, detail],
        )
        .await
        .map(|_| ())
}

/// Makes the run findable by these labels.
pub(super) fn adding_labels(run: &Run, labels: &IndexMap<String, String>, prefix: &str) -> Vec<Statement> {
    let sql = "INSERT INTO run_labels (project_id, label, value, run_id) VALUES ($1, $2, $3, $4)";
    let values =
        |(label, value): (&String, &String)| values![run.project, format!("{prefix}{label}"), value.as_str(), run.id];
    labels.iter().map(|label| (sql, values(label))).collect()
}

impl Store {
    /// A run of a project.
    ///
    /// # Errors
    /// The database failed.
    pub async fn run(&self, project: ProjectId, run: RunId) -> Result<Option<Run>, StoreError> {
        Ok(load(&mut self.read().await?, run).await?.filter(|found| found.project == project))
    }

    /// A run, whichever project it is of.
    ///
    /// # Errors
    /// The database failed.
    pub async fn run_by_id(&self, run: RunId) -> Result<Option<Run>, StoreError> {
        load(&mut self.read().await?, run).await
    }

    /// Whether a run has ended; `None` when there is none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn has_ended(&self, run: RunId) -> Result<Option<bool>, StoreError> {
        Ok(self.run_by_id(run).await?.map(|run| run.life.phase.is_terminal()))
    }

    /// A run's sealed environment, as it was given with the trigger.
    ///
    /// # Errors
    /// The database failed.
    pub async fn run_env(&self, run: RunId) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.read().await?.first("SELECT env FROM runs WHERE id = $1", values![run]).await?;
        row.map_or(Ok(None), |row| row.get("env"))
    }

    /// Keeps what the script told while it runs. Lost reports of a finished run are no harm: its end has the last word.
    ///
    /// # Errors
    /// The database failed.
    pub async fn report_progress(
        &self,
        attempt: crate::domain::AttemptId,
        reports: &crate::domain::Reports,
    ) -> Result<Option<Run>, StoreError> {
        let metrics = json_text(&reports.metrics)?;
        let progress = reports.progress.as_ref().map(json_text).transpose()?;
        self.write(move |session| {
            let (metrics, progress) = (metrics.clone(), progress.clone());
            Box::pin(async move {
                session
                    .execute(
                        "UPDATE runs SET metrics = $1, progress = $2 WHERE id = $3 AND phase = 'running' AND attempt = $4",
                        values![metrics, progress, attempt.run, attempt.number],
                    )
                    .await?;
                load(session, attempt.run).await
            })
        })
        .await
    }

    /// Keeps the size of a run's log, told after its end.
    ///
    /// # Errors
    /// The database failed.
    pub async fn set_log(&self, run: RunId, log: LogSummary) -> Result<Option<Run>, StoreError> {
        self.write(move |session| {
            Box::pin(async move {
                session
                    .execute(
                        "UPDATE runs SET log_bytes = $1, log_complete = $2, log_truncated = $3 WHERE id = $4",
                        values![i64::try_from(log.bytes).unwrap_or(i64::MAX), log.complete, log.truncated, run],
                    )
                    .await?;
                load(session, run).await
            })
        })
        .await
    }

    /// Adds a warning to a run's timeline.
    ///
    /// # Errors
    /// The database failed.
    pub async fn warn(&self, attempt: crate::domain::AttemptId, at: Timestamp, detail: &str) -> Result<(), StoreError> {
        let detail = detail.to_owned();
        self.write(move |session| {
            let detail = detail.clone();
            Box::pin(async move {
                add_event(session, attempt.run, at, RunEventKind::Warning, Some(attempt.number), &detail).await
            })
        })
        .await
    }
}
