//! Attempts: from the stored intent to the stored result.

use super::{
    Admitted, Session, Store, StoreError,
    admission::admit,
    jobs::revision_from,
    runs::{add_event, freeing_slots, load, lock, run_columns, run_from, save},
    session::{Row, json_text, values},
    states,
};
use crate::domain::{
    Attempt, AttemptId, AttemptPhase, AttemptResult, Conclusion, ErrorCode, LogSummary, Reports, Revision, Run,
    RunError, RunEventKind, RunId, Timestamp,
};

/// An attempt whose result is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAttempt {
    /// Which.
    pub id: AttemptId,
    /// The engine that has it, or is to have it.
    pub engine: String,
    /// Whether its run is to end.
    pub stop: bool,
}

/// All that is needed to launch an attempt.
#[derive(Debug)]
pub struct LaunchPlan {
    /// The run.
    pub run: Run,
    /// The attempt.
    pub attempt: Attempt,
    /// The revision the run is pinned to.
    pub revision: Revision,
    /// The revision's configuration, sealed.
    pub config: Vec<u8>,
    /// The run's own environment, sealed.
    pub env: Option<Vec<u8>>,
    /// The job's state when the attempt was admitted, as JSON text.
    pub state: Option<String>,
}

/// What followed from an attempt's end.
#[derive(Debug)]
pub struct Concluded {
    /// The run as it is now.
    pub run: Run,
    /// Attempts to launch, of runs that got the places.
    pub admitted: Vec<Admitted>,
}

fn attempt_from(row: &Row, run: RunId) -> Result<Attempt, StoreError> {
    Ok(Attempt {
        id: AttemptId { run, number: row.number("number")? },
        slice: row.number("slice")?,
        engine: row.get("engine")?,
        phase: row.word("phase", AttemptPhase::parse)?,
        handle: row.get("handle")?,
        execution: row.get("execution")?,
        nonce: row.get("nonce")?,
        created_at: row.time("created_at")?,
        started_at: row.time_opt("started_at")?,
        ended_at: row.time_opt("ended_at")?,
        exit_code: row.exit_code("exit_code")?,
        error: row.json_opt("error")?,
    })
}

macro_rules! attempt_columns {
    () => {
        "number, slice, engine, phase, handle, execution, nonce, created_at, started_at, ended_at, exit_code, error"
    };
}

const ATTEMPT: &str = concat!("SELECT ", attempt_columns!(), " FROM attempts WHERE run_id = $1 AND number = $2");

impl Store {
    /// All attempts of a run, the first first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn attempts(&self, run: RunId) -> Result<Vec<Attempt>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", attempt_columns!(), " FROM attempts WHERE run_id = $1 ORDER BY number LIMIT 10000");
        let rows = self.read().await?.all(SQL, values![run]).await?;
        rows.iter().map(|row| attempt_from(row, run)).collect()
    }

    /// Those attempts whose result is missing that are to be kept: there may be very many, of which a service that runs
    /// knows most.
    ///
    /// # Errors
    /// The database failed.
    pub async fn live_attempts(&self, keep: impl Fn(&LiveAttempt) -> bool) -> Result<Vec<LiveAttempt>, StoreError> {
        let sql = "SELECT runs.id, runs.attempt, runs.stop IS NOT NULL AS stop, attempts.engine \
                   FROM runs JOIN attempts ON attempts.run_id = runs.id AND attempts.number = runs.attempt \
                   WHERE runs.phase IN ('starting', 'running')";
        let live = |row: &Row| {
            let id = AttemptId { run: RunId(row.get("id")?), number: row.number("attempt")? };
            let live = LiveAttempt { id, engine: row.get("engine")?, stop: row.get("stop")? };
            Ok(keep(&live).then_some(live))
        };
        let mut live = self.read().await?.each(sql, values![], live).await?;
        // Not by the database: to save the sort, SQLite would walk all runs in the order of their ids.
        live.sort_by_key(|live| live.id.run);
        Ok(live)
    }

    /// What to launch; `None` when the attempt is no longer its run's present one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn launch_plan(&self, id: AttemptId) -> Result<Option<LaunchPlan>, StoreError> {
        let mut session = self.read().await?;
        const RUN: &str = concat!("SELECT ", run_columns!(), ", runs.env FROM runs WHERE id = $1");
        const WITH_STATE: &str = concat!(
            "SELECT ",
            attempt_columns!(),
            ", (SELECT document FROM job_states WHERE job_id = $3 AND version = state_version) AS state \
             FROM attempts WHERE run_id = $1 AND number = $2"
        );
        let Some(row) = session.first(RUN, values![id.run]).await? else { return Ok(None) };
        let (run, env) = (run_from(&row)?, row.get("env")?);
        if run.life.attempt != id.number || run.life.phase.is_terminal() {
            return Ok(None);
        }
        let row = session.first(WITH_STATE, values![id.run, id.number, run.job]).await?;
        let Some(row) = row else { return Ok(None) };
        let (attempt, state) = (attempt_from(&row, id.run)?, row.get("state")?);
        let sql = "SELECT job_id, number, spec, config, created_at, created_by FROM revisions \
                   WHERE job_id = $1 AND number = $2";
        let row = session.first(sql, values![run.job, run.revision]).await?;
        let row = row.ok_or_else(|| StoreError::corrupt("revision"))?;
        Ok(Some(LaunchPlan { revision: revision_from(&row)?, config: row.get("config")?, run, attempt, env, state }))
    }

    /// The engine has the workload, and it runs. `None` when the attempt is no longer its run's present one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn launched(
        &self,
        id: AttemptId,
        handle: &str,
        started_at: Timestamp,
    ) -> Result<Option<Run>, StoreError> {
        let handle = handle.to_owned();
        self.write(move |session| {
            let handle = handle.clone();
            Box::pin(async move {
                let Some(mut run) = lock(session, id.run).await? else { return Ok(None) };
                let before = run.life;
                let Ok(life) = before.launched(id.number) else { return Ok(None) };
                run.life = life;
                run.started_at = run.started_at.or(Some(started_at));
                if !save(session, before, &run).await? {
                    return Ok(None);
                }
                session
                    .execute(
                        "UPDATE attempts SET phase = 'launched', handle = $1, started_at = COALESCE(started_at, $2) \
                         WHERE run_id = $3 AND number = $4 AND phase <> 'ended'",
                        values![handle, started_at, id.run, id.number],
                    )
                    .await?;
                Ok(Some(run))
            })
        })
        .await
    }

    /// Keeps which execution was seen; the one that was kept before, if it was another.
    ///
    /// # Errors
    /// The database failed.
    pub async fn note_execution(&self, id: AttemptId, execution: &str) -> Result<Option<String>, StoreError> {
        let execution = execution.to_owned();
        self.write(move |session| {
            let execution = execution.clone();
            Box::pin(async move {
                let row = session.first(ATTEMPT, values![id.run, id.number]).await?;
                let earlier: Option<String> = row.map_or(Ok(None), |row| row.get("execution"))?;
                if earlier.is_none() {
                    session
                        .execute(
                            "UPDATE attempts SET execution = $1 WHERE run_id = $2 AND number = $3",
                            values![execution, id.run, id.number],
                        )
                        .await?;
                    return Ok(None);
                }
                Ok(earlier.filter(|earlier| *earlier != execution))
            })
        })
        .await
    }

    /// Stores an attempt's result and what follows for its run, the job's state included; frees its slots and hands
    /// them out again. `None` when the attempt is no longer its run's present one: its result is not wanted.
    ///
    /// # Errors
    /// The database failed; then nothing of it holds.
    pub async fn conclude(
        &self,
        id: AttemptId,
        result: AttemptResult,
        reports: Reports,
        log: LogSummary,
        ended_at: Timestamp,
    ) -> Result<Option<Concluded>, StoreError> {
        let inputs = std::sync::Arc::new((result, reports));
        self.write(move |session| {
            let inputs = std::sync::Arc::clone(&inputs);
            Box::pin(async move { conclude(session, id, &inputs.0, &inputs.1, log, ended_at).await })
        })
        .await
    }
}

async fn conclude(
    session: &mut Session,
    id: AttemptId,
    result: &AttemptResult,
    reports: &Reports,
    log: LogSummary,
    now: Timestamp,
) -> Result<Option<Concluded>, StoreError> {
    let Some(mut run) = lock(session, id.run).await? else { return Ok(None) };
    let before = run.life;
    let spec = policy_of(session, &run).await?;
    let Ok((mut life, mut conclusion)) = before.conclude(id.number, result, &spec.retry, spec.max_slices) else {
        return Ok(None);
    };
    let mut result = result.clone();
    if commits_state(&conclusion)
        && let Some(state) = &reports.state
        && !states::commit(session, &run, id, state, now).await?
    {
        result.verdict = Err(RunError::new(
            ErrorCode::StateConflict,
            "the job's state was changed by someone else while the script ran, so nothing of it was kept",
        ));
        let Ok(again) = before.conclude(id.number, &result, &spec.retry, spec.max_slices) else { return Ok(None) };
        (life, conclusion) = again;
    }
    run.life = life;
    run.exit_code = result.exit_code;
    run.log = log;
    run.metrics.clone_from(&reports.metrics);
    run.progress = reports.progress.clone().or(run.progress);
    if let Some(output) = &reports.output {
        run.output = Some(json_text(output)?);
    }
    let error = result.verdict.as_ref().err().map(json_text).transpose()?;
    let ending = (
        "UPDATE attempts SET phase = 'ended', ended_at = $1, exit_code = $2, error = $3 \
         WHERE run_id = $4 AND number = $5",
        values![now, result.exit_code, error, id.run, id.number],
    );
    session.execute_all(vec![ending, freeing_slots(run.id)]).await?;
    match conclusion {
        Conclusion::End(error) => {
            run.finished_at = Some(now);
            run.error = error;
        }
        Conclusion::Again { after, reason, completed_slice } => {
            run.queued_at = now;
            run.not_before = (!after.is_zero()).then(|| now.plus(after));
            run.requeue_reason = Some(reason);
            let (kind, detail) = match &result.verdict {
                Err(error) => (RunEventKind::Retrying, format!("in {} s, after: {}", after.as_secs(), error.message)),
                Ok(_) => (RunEventKind::Continued, format!("slice {} follows", life.slice)),
            };
            debug_assert_eq!(completed_slice, kind == RunEventKind::Continued);
            add_event(session, run.id, now, kind, Some(id.number), &detail).await?;
        }
    }
    if !save(session, before, &run).await? {
        return Err(StoreError::corrupt("a run that changed while it was locked"));
    }
    let admitted = admit(session, None, now).await?;
    if admitted.iter().any(|one| one.attempt.run == run.id) {
        run = load(session, id.run).await?.unwrap_or(run);
    }
    Ok(Some(Concluded { run, admitted }))
}

const fn commits_state(conclusion: &Conclusion) -> bool {
    matches!(conclusion, Conclusion::End(None) | Conclusion::Again { completed_slice: true, .. })
}

async fn policy_of(session: &mut Session, run: &Run) -> Result<crate::domain::JobSpec, StoreError> {
    let sql = "SELECT spec FROM revisions WHERE job_id = $1 AND number = $2";
    let row = session.first(sql, values![run.job, run.revision]).await?;
    row.ok_or_else(|| StoreError::corrupt("revision"))?.json("spec")
}
