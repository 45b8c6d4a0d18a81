//! Triggering: a run, its idempotency key and, where there is room, its first attempt, in one transaction.

use super::{
    Admitted, NewCallback, Session, Stopped, Store, StoreError,
    admission::{ADMISSION_LOCK, admit},
    callbacks,
    runs::{adding_labels, load, lock},
    session::{Row, Statement, json_text, values},
    stops,
};
use crate::domain::{IfExists, JobId, Phase, Run, RunId, StopCause, TraceParent, WhenFull};

/// A run to be made.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// The run as it is when it waits in the queue. Its revision must be the job's present one, unless `repeats`.
    pub run: Run,
    /// Its own environment, sealed.
    pub env: Option<Vec<u8>>,
    /// The revision's rule.
    pub when_full: WhenFull,
    /// The caller's key, a fingerprint of what it asked for, and what to do when the key is known.
    pub key: Option<(String, Vec<u8>, IfExists)>,
    /// Who is to be told its end.
    pub callback: Option<NewCallback>,
    /// Whether it repeats an earlier run, with that run's revision.
    pub repeats: bool,
}

/// What came of a trigger.
#[derive(Debug)]
pub enum TriggerOutcome {
    /// A run was made.
    Created {
        /// The run.
        run: Box<Run>,
        /// Attempts to launch: its own, or of runs that could be admitted on this occasion.
        admitted: Vec<Admitted>,
        /// Runs that have to make room for it.
        stopped: Vec<Stopped>,
    },
    /// The key was used before, for the same.
    Existing(Box<Run>),
    /// The key was used before, for something else.
    KeyReused(RunId),
    /// The job is full and its rule says `reject`. Who holds it.
    Full(Vec<RunId>),
    /// The job has another revision now: read it again.
    Stale,
    /// The job is archived or gone.
    Gone,
}

impl Store {
    /// Makes a run, durably, and admits it at once where there is room.
    ///
    /// # Errors
    /// The database failed; then there is no run.
    pub async fn trigger(&self, new: NewRun) -> Result<TriggerOutcome, StoreError> {
        let new = std::sync::Arc::new(new);
        self.write(move |session| {
            let new = std::sync::Arc::clone(&new);
            Box::pin(async move { trigger(session, &new).await })
        })
        .await
    }
}

pub(super) async fn trigger(session: &mut Session, new: &NewRun) -> Result<TriggerOutcome, StoreError> {
    let run = &new.run;
    let key = new.key.as_ref().map(|(key, ..)| key.as_str());
    // What others store at the same time decides about this.
    if let Some(key) = key {
        session.serialize(lock_of(run.job, key)).await?;
    }
    if new.when_full != WhenFull::Queue {
        session.serialize(ADMISSION_LOCK).await?;
    }
    let Some(row) = session
        .first(
            "SELECT jobs.revision, jobs.max_parallel, jobs.archived_at, idempotency.fingerprint, idempotency.run_id, \
             EXISTS (SELECT 1 FROM job_limits WHERE job_id = $1) AS shares FROM jobs \
             LEFT JOIN idempotency ON idempotency.job_id = jobs.id AND idempotency.key = $2 WHERE jobs.id = $1",
            values![run.job, key],
        )
        .await?
    else {
        return Ok(TriggerOutcome::Gone);
    };
    if row.time_opt("archived_at")?.is_some() {
        return Ok(TriggerOutcome::Gone);
    }
    if row.number("revision")? != run.revision && !new.repeats {
        return Ok(TriggerOutcome::Stale);
    }
    if let Some(outcome) = known_key(session, new, &row).await? {
        if let (TriggerOutcome::Existing(run), Some(callback)) = (&outcome, &new.callback) {
            session.execute_all(vec![callbacks::keeping(callback, run)]).await?;
        }
        return Ok(outcome);
    }
    let mut stopped = Vec::new();
    if let Some(max) = row.number_opt("max_parallel")?
        && new.when_full != WhenFull::Queue
    {
        match make_room(session, new, max).await? {
            Ok(runs) => stopped = runs,
            Err(holders) => return Ok(TriggerOutcome::Full(holders)),
        }
    }
    let mut statements = vec![inserting(new)?];
    statements.extend(keeping_key(new));
    statements.extend(new.callback.as_ref().map(|callback| callbacks::keeping(callback, run)));
    statements.extend(adding_labels(run, &run.labels, ""));
    statements.extend(adding_labels(run, &run.source, "source:"));
    session.execute_all(statements).await?;
    let mut run = run.clone();
    let held = run.not_before.is_some_and(|time| time > run.queued_at);
    let mut admitted = Vec::new();
    if !held {
        let shares: bool = row.get("shares")?;
        admitted = admit(session, (!shares).then_some(run.job), run.created_at).await?;
        if admitted.iter().any(|other| other.attempt.run == run.id) {
            run.life = run.life.admit().map_err(|_| StoreError::corrupt("a new run"))?;
        }
    }
    Ok(TriggerOutcome::Created { run: Box::new(run), admitted, stopped })
}

/// What a key that was used before leads to.
async fn known_key(session: &mut Session, new: &NewRun, row: &Row) -> Result<Option<TriggerOutcome>, StoreError> {
    let Some((_, fingerprint, if_exists)) = &new.key else { return Ok(None) };
    let Some(earlier) = row.get::<Option<uuid::Uuid>>("run_id")?.map(RunId) else { return Ok(None) };
    if row.get::<Vec<u8>>("fingerprint")? != *fingerprint {
        return Ok(Some(TriggerOutcome::KeyReused(earlier)));
    }
    // Whoever is to be called back keeps the run from being deleted meanwhile. One that was deleted since the key was
    // read has taken the key with it.
    let found = if new.callback.is_some() { lock(session, earlier).await? } else { load(session, earlier).await? };
    let Some(run) = found else { return Ok(None) };
    let ended_badly = run.life.phase.is_terminal() && run.life.phase != Phase::Succeeded;
    let stands = *if_exists == IfExists::Return || !ended_badly;
    Ok(stands.then(|| TriggerOutcome::Existing(Box::new(run))))
}

/// From now on the key stands for this run.
fn keeping_key(new: &NewRun) -> Option<Statement> {
    let (key, fingerprint, _) = new.key.as_ref()?;
    Some((
        "INSERT INTO idempotency (job_id, key, fingerprint, run_id, created_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (job_id, key) DO UPDATE SET run_id = excluded.run_id, created_at = excluded.created_at",
        values![new.run.job, key.as_str(), fingerprint.as_slice(), new.run.id, new.run.created_at],
    ))
}

/// PostgreSQL's advisory lock for one key of a job (FNV-1a: all services must come to the same number).
fn lock_of(job: JobId, key: &str) -> i64 {
    let (high, low) = job.0.as_u64_pair();
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    key.bytes().fold(high ^ low, hash).cast_signed()
}

/// Applies `when_full`: the runs that are stopped for the new one, or `Err` with those for whom it is refused.
async fn make_room(
    session: &mut Session,
    new: &NewRun,
    max: u32,
) -> Result<Result<Vec<Stopped>, Vec<RunId>>, StoreError> {
    let job = new.run.job;
    let active = runs_of(
        session,
        "SELECT id FROM runs WHERE job_id = $1 AND phase IN ('starting', 'running') \
                                   AND stop IS NULL ORDER BY id LIMIT 10001",
        job,
    )
    .await?;
    let waiting = runs_of(
        session,
        "SELECT id FROM runs WHERE job_id = $1 AND phase = 'queued' ORDER BY id \
                                    LIMIT 10001",
        job,
    )
    .await?;
    let full = active.len() + waiting.len() >= max as usize;
    let leave = match new.when_full {
        WhenFull::Queue => Vec::new(),
        WhenFull::Reject if full => {
            return Ok(Err(active.into_iter().chain(waiting).take(10).collect()));
        }
        WhenFull::Reject => Vec::new(),
        // The oldest go, until the new one fits.
        WhenFull::Replace => {
            let excess = (active.len() + waiting.len() + 1).saturating_sub(max as usize);
            active.into_iter().chain(waiting).take(excess).collect()
        }
        WhenFull::KeepNewest => waiting,
    };
    let mut stopped = Vec::with_capacity(leave.len());
    for run in leave {
        let by = format!("run {}", new.run.id);
        stopped.extend(stops::stop_one(session, run, StopCause::Superseded, &by, new.run.created_at).await?);
    }
    Ok(Ok(stopped))
}

async fn runs_of(session: &mut Session, sql: &'static str, job: JobId) -> Result<Vec<RunId>, StoreError> {
    session.all(sql, values![job]).await?.iter().map(|row| row.get("id").map(RunId)).collect()
}

fn inserting(new: &NewRun) -> Result<Statement, StoreError> {
    let run = &new.run;
    Ok((
        "INSERT INTO runs (id, project_id, job_id, job_name, revision, engine, phase, attempt, slice, \
             own_failures, infrastructure_failures, parameters, env, labels, source, created_by, retry_of, priority, \
             not_before, hold_until, timeout_seconds, queue_deadline, abandon_after_seconds, created_at, queued_at, traceparent) \
             VALUES ($1, $2, $3, $4, $5, $6, 'queued', 0, 1, 0, 0, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
             $17, $18, $19, $20, $21)",
        values![
            run.id,
            run.project,
            run.job,
            run.job_name.as_str(),
            run.revision,
            run.engine.as_str(),
            run.parameters.as_str(),
            new.env.clone(),
            json_text(&run.labels)?,
            json_text(&run.source)?,
            run.created_by.as_str(),
            run.retry_of,
            run.priority,
            run.not_before,
            run.not_before.filter(|time| *time > run.queued_at),
            run.timeout_seconds,
            run.queue_deadline,
            run.abandon_after_seconds,
            run.created_at,
            run.queued_at,
            run.traceparent.as_ref().map(TraceParent::as_str),
        ],
    ))
}
