//! Who may start: slots are rows owned by active runs, counted in the transaction that hands them out.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    Session, Store, StoreError,
    capacities::EngineCapacities,
    session::{Row, Statement, values},
};
use crate::domain::{AttemptId, JobId, ProjectId, RunId, Timestamp};

/// PostgreSQL's advisory lock under which slots are handed out.
pub(super) const ADMISSION_LOCK: i64 = 0x6861_756c_6965_7201;
/// How many runs one transaction admits at the most; more wait for the next round.
const MOST_AT_ONCE: usize = 200;
/// How many jobs' queues one round looks at.
const MOST_JOBS: i64 = 10_000;

/// A run that got its slots, and the attempt that is intended for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted {
    /// The attempt.
    pub attempt: AttemptId,
    /// The project.
    pub project: ProjectId,
    /// The engine's name.
    pub engine: String,
}

/// A run at the head of its job's queue.
#[derive(Debug)]
struct Candidate {
    run: RunId,
    project: ProjectId,
    job: JobId,
    engine: String,
    priority: i64,
    queued_at: Timestamp,
    attempt: u32,
    slice: u32,
    shares_limits: bool,
    capped: bool,
}

impl Store {
    /// Hands out free slots to those who wait, by priority and then by age. Level-triggered: call it whenever
    /// something may have changed; calling it too often is no harm.
    ///
    /// # Errors
    /// The database failed.
    pub async fn admit(&self, now: Timestamp) -> Result<Vec<Admitted>, StoreError> {
        self.write(move |session| {
            Box::pin(async move {
                release_held(session, now).await?;
                admit(session, None, now).await
            })
        })
        .await
    }

    /// The earliest moment at which a held run becomes ready or a queued one's time is up.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_queue_event(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut session = self.read().await?;
        let held = "SELECT MIN(hold_until) AS n FROM runs WHERE phase = 'queued' AND hold_until IS NOT NULL";
        let deadline =
            "SELECT MIN(queue_deadline) AS n FROM runs WHERE phase = 'queued' AND queue_deadline IS NOT NULL";
        let mut earliest: Option<i64> = None;
        for sql in [held, deadline] {
            if let Some(row) = session.first(sql, Vec::new()).await?
                && let Some(at) = row.get::<Option<i64>>("n")?
            {
                earliest = Some(earliest.map_or(at, |other| other.min(at)));
            }
        }
        Ok(earliest.map(Timestamp::from_micros))
    }
}

async fn release_held(session: &mut Session, now: Timestamp) -> Result<(), StoreError> {
    let sql = "UPDATE runs SET hold_until = NULL \
               WHERE phase = 'queued' AND hold_until IS NOT NULL AND hold_until <= $1";
    session.execute(sql, values![now]).await.map(|_| ())
}

/// Admits runs of one job, or of all. With a job that shares no named limits, nobody else can be overtaken.
pub(super) async fn admit(
    session: &mut Session,
    only: Option<JobId>,
    now: Timestamp,
) -> Result<Vec<Admitted>, StoreError> {
    session.serialize(ADMISSION_LOCK).await?;
    let jobs = match only {
        Some(job) => vec![job],
        None => jobs_with_queue(session).await?,
    };
    let mut candidates = Vec::new();
    for job in jobs {
        candidates.extend(heads(session, job).await?);
    }
    candidates.sort_by_key(|candidate| (-candidate.priority, candidate.queued_at, candidate.run));
    let (mut limits, mut capacities) = (NamedLimits::default(), EngineCapacities::default());
    let mut admitted = Vec::new();
    for candidate in candidates {
        if admitted.len() == MOST_AT_ONCE {
            break;
        }
        if candidate.capped && !capacities.fit(session, &candidate.engine).await? {
            continue;
        }
        if candidate.shares_limits && !limits.fit(session, candidate.job).await? {
            continue;
        }
        let (job, run, shares_limits) = (candidate.job, candidate.run, candidate.shares_limits);
        let Some(one) = start(session, candidate, now).await? else { continue };
        capacities.take(&one.engine);
        if shares_limits {
            limits.take(session, job, run).await?;
        }
        admitted.push(one);
    }
    Ok(admitted)
}

/// The jobs that have ready runs, found by jumping from job to job in the index: the length of their queues plays no
/// part. (SQLite has no skip scan of its own; the loose index scan is described in PostgreSQL's wiki.)
pub(super) async fn jobs_with_queue(session: &mut Session) -> Result<Vec<JobId>, StoreError> {
    let rows = session
        .all(
            "WITH RECURSIVE step (job_id) AS ( \
               SELECT * FROM (SELECT job_id FROM runs WHERE phase = 'queued' AND hold_until IS NULL \
                              ORDER BY job_id LIMIT 1) AS earliest \
               UNION ALL \
               SELECT (SELECT job_id FROM runs WHERE phase = 'queued' AND hold_until IS NULL \
                       AND runs.job_id > step.job_id ORDER BY job_id LIMIT 1) \
               FROM step WHERE step.job_id IS NOT NULL) \
             SELECT job_id FROM step WHERE job_id IS NOT NULL LIMIT $1",
            values![MOST_JOBS],
        )
        .await?;
    rows.iter().map(|row| row.get("job_id").map(JobId)).collect()
}

/// As many runs from the head of a job's queue as the job itself has slots for.
async fn heads(session: &mut Session, job: JobId) -> Result<Vec<Candidate>, StoreError> {
    let Some(row) = session
        .first(
            "SELECT max_parallel, (SELECT COUNT(*) FROM slots WHERE limit_id = $1) AS held, \
             EXISTS (SELECT 1 FROM job_limits WHERE job_id = $1) AS shares, \
             EXISTS (SELECT 1 FROM engine_capacities) AS capped FROM jobs WHERE id = $1",
            values![job],
        )
        .await?
    else {
        return Ok(Vec::new());
    };
    let most = i64::try_from(MOST_AT_ONCE).unwrap_or(i64::MAX);
    let free =
        row.get::<Option<i64>>("max_parallel")?.map_or(Ok(most), |max| row.get("held").map(|held: i64| max - held))?;
    if free <= 0 {
        return Ok(Vec::new());
    }
    let (shares_limits, capped) = (row.get("shares")?, row.get("capped")?);
    let rows = session
        .all(
            "SELECT id, project_id, engine, priority, queued_at, attempt, slice FROM runs \
             WHERE phase = 'queued' AND hold_until IS NULL AND job_id = $1 \
             ORDER BY priority DESC, queued_at, id LIMIT $2",
            values![job, free.min(most)],
        )
        .await?;
    rows.iter().map(|row| candidate(row, job, shares_limits, capped)).collect()
}

fn candidate(row: &Row, job: JobId, shares_limits: bool, capped: bool) -> Result<Candidate, StoreError> {
    Ok(Candidate {
        run: RunId(row.get("id")?),
        project: ProjectId(row.get("project_id")?),
        job,
        engine: row.get("engine")?,
        priority: row.get("priority")?,
        queued_at: row.time("queued_at")?,
        attempt: row.number("attempt")?,
        slice: row.number("slice")?,
        shares_limits,
        capped,
    })
}

/// What is left of the named limits within one round.
#[derive(Debug, Default)]
struct NamedLimits {
    of_job: HashMap<JobId, Vec<(Uuid, i64)>>,
    free: HashMap<Uuid, i64>,
}

impl NamedLimits {
    /// Whether there is what a run of the job needs of each of its limits.
    ///
    /// A limit that cannot serve the first who waits for it serves nobody behind: else a heavy run would be overtaken
    /// by light ones for ever.
    async fn fit(&mut self, session: &mut Session, job: JobId) -> Result<bool, StoreError> {
        if !self.of_job.contains_key(&job) {
            let uses = self.load(session, job).await?;
            self.of_job.insert(job, uses);
        }
        let uses = &self.of_job[&job];
        let fits = uses.iter().all(|(limit, weight)| self.free[limit] >= *weight);
        if !fits {
            for (limit, weight) in uses {
                self.free.entry(*limit).and_modify(|free| *free = if *free < *weight { 0 } else { *free });
            }
        }
        Ok(fits)
    }

    /// Takes it for this run.
    async fn take(&mut self, session: &mut Session, job: JobId, run: RunId) -> Result<(), StoreError> {
        let uses = &self.of_job[&job];
        for (limit, weight) in uses {
            self.free.entry(*limit).and_modify(|free| *free -= weight);
        }
        let held = uses.iter().map(|(limit, weight)| holding(*limit, run, *weight)).collect();
        session.execute_all(held).await.map(|_| ())
    }

    async fn load(&mut self, session: &mut Session, job: JobId) -> Result<Vec<(Uuid, i64)>, StoreError> {
        let rows = session
            .all(
                "SELECT job_limits.limit_id, job_limits.weight, CAST(limits.capacity - COALESCE((SELECT \
                 SUM(slots.weight) FROM slots WHERE slots.limit_id = limits.id), 0) AS BIGINT) AS free FROM job_limits JOIN limits ON limits.id = job_limits.limit_id WHERE job_limits.job_id = $1",
                values![job],
            )
            .await?;
        let mut uses = Vec::with_capacity(rows.len());
        for row in &rows {
            let limit: Uuid = row.get("limit_id")?;
            uses.push((limit, row.get("weight")?));
            let free = row.get("free")?;
            self.free.entry(limit).or_insert(free);
        }
        Ok(uses)
    }
}

fn holding(limit: Uuid, run: RunId, weight: i64) -> Statement {
    ("INSERT INTO slots (limit_id, run_id, weight) VALUES ($1, $2, $3)", values![limit, run, weight])
}

/// Starts a run; `None` when somebody has stopped it meanwhile (on PostgreSQL, that takes no part in the order here).
async fn start(session: &mut Session, candidate: Candidate, now: Timestamp) -> Result<Option<Admitted>, StoreError> {
    let attempt = AttemptId { run: candidate.run, number: candidate.attempt + 1 };
    // The same condition that made it a candidate: `Lifecycle::admit` takes a queued run that nobody wants to stop.
    let moved = session
        .first(
            "UPDATE runs SET phase = 'starting', attempt = $1, requeue_reason = NULL \
             WHERE id = $2 AND phase = 'queued' AND stop IS NULL AND attempt = $3 RETURNING id",
            values![attempt.number, candidate.run, candidate.attempt],
        )
        .await?;
    if moved.is_none() {
        return Ok(None);
    }
    let intent = (
        "INSERT INTO attempts (run_id, number, slice, engine, phase, nonce, state_version, created_at) \
         VALUES ($1, $2, $3, $4, 'intended', $5, (SELECT MAX(version) FROM job_states WHERE job_id = $6), $7)",
        values![
            candidate.run,
            attempt.number,
            candidate.slice,
            candidate.engine.as_str(),
            fresh_nonce(),
            candidate.job,
            now
        ],
    );
    session.execute_all(vec![holding(candidate.job.0, candidate.run, 1), intent]).await?;
    Ok(Some(Admitted { attempt, project: candidate.project, engine: candidate.engine }))
}

/// 96 random bits: data that a script echoes cannot guess them.
fn fresh_nonce() -> String {
    format!("{:024x}", rand::random::<u128>() >> 32)
}
