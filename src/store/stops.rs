//! Ending runs early: by hand, by lease, by queue timeout, because a newer one takes the place.

use super::{
    RunFilter, Session, Store, StoreError, run_list,
    runs::{add_event, load, lock, save},
    session::values,
};
use crate::domain::{JobId, Run, RunEventKind, RunId, StopCause, Timestamp};

/// How many runs one transaction stops at the most.
const BATCH: u32 = 200;

/// A run that was asked to end.
#[derive(Debug, Clone)]
pub struct Stopped {
    /// The run as it is now: ended if it waited in the queue, else on its way.
    pub run: Run,
    /// Whether it ended by this, at once.
    pub ended: bool,
}

impl Store {
    /// Asks a run to end. One that has ended already is left as it is, and given back.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stop(
        &self,
        run: RunId,
        cause: StopCause,
        by: &str,
        now: Timestamp,
    ) -> Result<Option<Stopped>, StoreError> {
        let by = by.to_owned();
        self.write(move |session| {
            let by = by.clone();
            Box::pin(async move {
                match stop_one(session, run, cause, &by, now).await? {
                    Some(stopped) => Ok(Some(stopped)),
                    None => Ok(load(session, run).await?.map(|run| Stopped { run, ended: false })),
                }
            })
        })
        .await
    }

    /// Asks runs that match the filter to end, at most 200 at a time: call again until none are given back.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stop_matching(&self, filter: RunFilter, by: &str, now: Timestamp) -> Result<Vec<Stopped>, StoreError> {
        let (by, filter) = (by.to_owned(), RunFilter { unstopped: true, ..filter });
        self.write(move |session| {
            let (by, filter) = (by.clone(), filter.clone());
            Box::pin(async move {
                let mut stopped = Vec::new();
                for run in run_list::select(session, &filter, None, BATCH).await? {
                    stopped.extend(stop_one(session, run.id, StopCause::Cancelled, &by, now).await?);
                }
                Ok(stopped)
            })
        })
        .await
    }

    /// Ends queued runs whose time in the queue is up, a batch of them.
    ///
    /// # Errors
    /// The database failed.
    pub async fn stop_overdue_in_queue(&self, now: Timestamp) -> Result<Vec<Stopped>, StoreError> {
        self.write(move |session| {
            Box::pin(async move {
                let sql = "SELECT id FROM runs WHERE phase = 'queued' AND queue_deadline IS NOT NULL \
                           AND queue_deadline <= $1 LIMIT $2";
                let rows = session.all(sql, values![now, BATCH]).await?;
                let mut stopped = Vec::new();
                for row in &rows {
                    let run = RunId(row.get("id")?);
                    stopped.extend(stop_one(session, run, StopCause::QueueTimeout, "haulier", now).await?);
                }
                Ok(stopped)
            })
        })
        .await
    }

    /// Live runs that have a lease, with its length and when they were triggered.
    ///
    /// # Errors
    /// The database failed.
    pub async fn leased_runs(&self) -> Result<Vec<(RunId, u32, Timestamp)>, StoreError> {
        let sql = "SELECT id, abandon_after_seconds, created_at FROM runs \
                   WHERE phase IN ('queued', 'starting', 'running') AND abandon_after_seconds IS NOT NULL \
                   AND stop IS NULL LIMIT 100000";
        let rows = self.read().await?.all(sql, Vec::new()).await?;
        rows.iter()
            .map(|row| Ok((RunId(row.get("id")?), row.number("abandon_after_seconds")?, row.time("created_at")?)))
            .collect()
    }
}

/// Asks one run to end; `None` when there is none or it has ended or was asked before.
pub(super) async fn stop_one(
    session: &mut Session,
    run: RunId,
    cause: StopCause,
    by: &str,
    now: Timestamp,
) -> Result<Option<Stopped>, StoreError> {
    let Some(mut run) = lock(session, run).await? else { return Ok(None) };
    let before = run.life;
    if before.stop.is_some() {
        return Ok(None);
    }
    let Ok(life) = before.request_stop(cause) else { return Ok(None) };
    run.life = life;
    run.stopped_by = Some(by.to_owned());
    if life.phase.is_terminal() {
        run.finished_at = Some(now);
        run.error = Some(cause.error());
    }
    if !save(session, before, &run).await? {
        return Ok(None);
    }
    let detail = format!("{} by {by}", cause.as_str());
    let attempt = (life.attempt > 0).then_some(life.attempt);
    add_event(session, run.id, now, RunEventKind::StopRequested, attempt, &detail).await?;
    Ok(Some(Stopped { ended: life.phase.is_terminal(), run }))
}

/// Ends all runs of a job that wait in the queue: it is being archived.
pub(super) async fn stop_queued_of(
    session: &mut Session,
    job: JobId,
    by: &str,
    now: Timestamp,
) -> Result<Vec<Stopped>, StoreError> {
    let rows = session.all("SELECT id FROM runs WHERE job_id = $1 AND phase = 'queued'", values![job]).await?;
    let mut stopped = Vec::with_capacity(rows.len());
    for row in &rows {
        stopped.extend(stop_one(session, RunId(row.get("id")?), StopCause::Cancelled, by, now).await?);
    }
    Ok(stopped)
}
