//! Deletes runs that ended long ago, with all that belongs to them, and old audit entries.

use std::{collections::HashSet, error::Error, sync::Arc, time::Duration};

use futures::{StreamExt, stream};

use super::{Shared, retention::AT_A_TIME};
use crate::{
    domain::{ProjectId, RunId, Timestamp},
    store::StoreError,
};

/// How many runs one transaction deletes: whoever triggers a run meanwhile waits for no more.
const BATCH: usize = 100;
/// Between batches others get the database and the disk.
const PAUSE: Duration = Duration::from_millis(50);
/// How many runs of a project may be left for a later round, before this one leaves the others too.
const MOST_LEFT: usize = 1000;
/// How often a service forgets what another may have deleted.
const FORGET: Duration = Duration::from_secs(3600);
/// A year can be compared with the one before.
const KEPT: Duration = Duration::from_secs(400 * 86_400);

/// How long the history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Runs, from their end on; `None` = for ever.
    pub runs: Option<Duration>,
    /// Entries of the audit log; `None` = for ever.
    pub audit: Option<Duration>,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { runs: Some(KEPT), audit: Some(KEPT) }
    }
}

/// Deletes what is kept no longer.
pub(super) async fn round(shared: &Shared) -> Result<(), StoreError> {
    let now = shared.clock.now();
    if let Some(kept) = shared.history.runs {
        let end = now.minus(kept);
        let deleted = delete_runs(shared, end).await;
        shared.hub.forget_ended_before(end);
        let runs = deleted?;
        if runs > 0 {
            tracing::info!(runs, before = %end, "runs that ended long ago were deleted");
        }
    }
    if let Some(kept) = shared.history.audit {
        let end = now.minus(kept);
        let entries = delete_audit(shared, end).await?;
        if entries > 0 {
            tracing::info!(entries, before = %end, "old entries of the audit log were deleted");
        }
    }
    Ok(())
}

/// Where several services share a database: forgets what this one knows of runs that another deletes, and deletes their
/// logs that lie here, should the services not share a directory for them.
pub(super) async fn follow(shared: Arc<Shared>) {
    let Some(kept) = shared.history.runs else { return };
    let rounds = async {
        loop {
            tokio::time::sleep(FORGET).await;
            let end = shared.clock.now().minus(kept);
            shared.hub.forget_ended_before(end);
            if let Err(error) = delete_own_logs(&shared, end).await {
                tracing::warn!(error = &*error, "logs of deleted runs could not be deleted");
            }
        }
    };
    shared.shutdown.run_until_cancelled(rounds).await;
}

/// Deletes logs that lie here, of runs that were made before a moment and are there no more, and what others finished.
async fn delete_own_logs(shared: &Shared, end: Timestamp) -> Result<(), Box<dyn Error + Send + Sync>> {
    shared.logs.drop_finished_elsewhere().await?;
    for day in shared.logs.days_before(end).await? {
        for runs in shared.logs.finished_on(day).await?.chunks(BATCH) {
            for run in shared.store.missing_runs(runs).await? {
                shared.logs.delete(run).await?;
            }
        }
    }
    Ok(())
}

async fn delete_runs(shared: &Shared, end: Timestamp) -> Result<u64, StoreError> {
    let mut deleted = 0;
    for (project, _) in shared.store.projects().await? {
        deleted += delete_runs_of(shared, project.id, end).await?;
    }
    Ok(deleted)
}

async fn delete_runs_of(shared: &Shared, project: ProjectId, end: Timestamp) -> Result<u64, StoreError> {
    let mut deleted = 0;
    let mut left = HashSet::new();
    while left.len() < MOST_LEFT {
        let mut runs = shared.store.expired_runs(project, end, BATCH + left.len()).await?;
        runs.retain(|run| !left.contains(run));
        if runs.is_empty() {
            return Ok(deleted);
        }
        // What is not deleted by this is left for a later round.
        left.extend(runs.iter().copied());
        let ready = delete_logs(shared, runs).await;
        let gone = shared.store.delete_runs(ready, end).await?;
        for run in &gone {
            left.remove(run);
        }
        deleted += gone.len() as u64;
        shared.metrics.deleted(gone.len() as u64);
        tokio::time::sleep(PAUSE).await;
    }
    tracing::warn!(%project, left = left.len(), "many runs that ended long ago could not be deleted yet");
    Ok(deleted)
}

/// Deletes the logs of runs with which nobody here has anything to do any more; which they were. A log goes before its
/// run: a service that is killed in between leaves nothing that no run leads to.
async fn delete_logs(shared: &Shared, runs: Vec<RunId>) -> Vec<RunId> {
    let unfinished: HashSet<_> = match shared.logs.leftovers().await {
        Ok(runs) => runs.into_iter().collect(),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "unfinished logs cannot be listed");
            return Vec::new();
        }
    };
    let delete = async |run: RunId| {
        // Its workload is still being removed, or its log put away.
        if shared.lock_driven().contains_key(&run) || unfinished.contains(&run) {
            return None;
        }
        match shared.logs.delete(run).await {
            Ok(()) => Some(run),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%run, error, "an old run's log could not be deleted, so the run stays");
                None
            }
        }
    };
    let deleted = stream::iter(runs).map(delete).buffer_unordered(AT_A_TIME);
    deleted.filter_map(std::future::ready).collect().await
}

async fn delete_audit(shared: &Shared, end: Timestamp) -> Result<u64, StoreError> {
    let mut deleted = 0;
    loop {
        match shared.store.delete_audit(end).await? {
            0 => return Ok(deleted),
            entries => deleted += entries,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        domain::{AttemptId, Phase},
        runner::{Driven, fixture::Fixture},
        store::RunFilter,
    };

    const DAY: Duration = Duration::from_secs(86_400);

    async fn log(shared: &Shared, run: RunId, text: &str) {
        let writer = shared.logs.writer(run).await.unwrap();
        writer.note(shared.clock.now(), AttemptId { run, number: 1 }, text).await.unwrap();
    }

    async fn exists(shared: &Shared, run: RunId) -> bool {
        shared.store.run_by_id(run).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn runs_go_when_their_time_is_over() {
        let fixture = Fixture::new().await;
        let shared = fixture.shared();
        let live = fixture.trigger(|_| {}).await;
        let old = fixture.trigger(|_| {}).await;
        fixture.end(old).await;
        log(shared, old, "kept for a while").await;
        shared.logs.finish(old).await.unwrap();
        shared.hub.remember(fixture.run(old).await);
        shared.store.audit(None, "tester", "job.apply", "a", shared.clock.now()).await.unwrap();
        fixture.clock.advance(DAY * 399);
        let young = fixture.trigger(|_| {}).await;
        fixture.end(young).await;
        shared.hub.remember(fixture.run(young).await);
        round(shared).await.unwrap();
        assert!(exists(shared, old).await && shared.hub.latest(old).is_some());
        assert_eq!(shared.store.audit_log(None, None, 10).await.unwrap().len(), 1);

        fixture.clock.advance(DAY * 2);
        round(shared).await.unwrap();
        assert!(!exists(shared, old).await && shared.hub.latest(old).is_none());
        assert!(shared.logs.read(old, 0, 1000).await.unwrap().bytes.is_empty());
        assert!(exists(shared, young).await && shared.hub.latest(young).is_some());
        assert_eq!(fixture.run(live).await.life.phase, Phase::Starting);
        assert!(shared.store.audit_log(None, None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_somebody_works_on_is_left_for_later() {
        let fixture = Fixture::new().await;
        let shared = fixture.shared();
        let mut runs = Vec::new();
        for _ in 0..3 {
            runs.push(fixture.trigger(|_| {}).await);
            fixture.end(*runs.last().unwrap()).await;
        }
        let [driven, unfinished, other] = runs[..] else { unreachable!() };
        let work = Driven { attempt: 1, stop: CancellationToken::new(), waits: None };
        shared.lock_driven().insert(driven, work);
        log(shared, unfinished, "not put away").await;
        fixture.clock.advance(DAY * 401);
        round(shared).await.unwrap();
        let there =
            async || [exists(shared, driven).await, exists(shared, unfinished).await, exists(shared, other).await];
        assert_eq!(there().await, [true, true, false]);
        shared.forget(AttemptId { run: driven, number: 1 });
        shared.logs.finish(unfinished).await.unwrap();
        round(shared).await.unwrap();
        assert_eq!(there().await, [false, false, false]);
    }

    #[tokio::test]
    async fn a_run_stays_as_long_as_its_log() {
        let fixture = Fixture::new().await;
        let shared = fixture.shared();
        let run = fixture.trigger(|_| {}).await;
        fixture.end(run).await;
        log(shared, run, "cannot be deleted").await;
        shared.logs.finish(run).await.unwrap();
        let day = std::fs::read_dir(fixture.dir().join("logs/done")).unwrap().next().unwrap().unwrap().path();
        let file = std::fs::read_dir(&day).unwrap().next().unwrap().unwrap().path();
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        fixture.clock.advance(DAY * 401);
        round(shared).await.unwrap();
        assert!(exists(shared, run).await);
        std::fs::remove_dir(&file).unwrap();
        round(shared).await.unwrap();
        assert!(!exists(shared, run).await);
    }

    #[tokio::test]
    async fn logs_that_lie_here_go_when_another_service_has_deleted_the_run() {
        let fixture = Fixture::new().await;
        let shared = fixture.shared();
        let mut runs = Vec::new();
        for _ in 0..2 {
            let run = fixture.trigger(|_| {}).await;
            fixture.end(run).await;
            log(shared, run, "written here").await;
            shared.logs.finish(run).await.unwrap();
            runs.push(run);
        }
        let now = shared.clock.now();
        assert_eq!(shared.store.delete_runs(vec![runs[0]], now.plus(DAY)).await.unwrap(), [runs[0]]);
        let lengths = async |end| {
            delete_own_logs(shared, end).await.unwrap();
            let length = async |run| shared.logs.read(run, 0, 1000).await.unwrap().bytes.len();
            [length(runs[0]).await, length(runs[1]).await]
        };
        assert!(lengths(now).await.iter().all(|length| *length > 0), "they are of today");
        let [gone, kept] = lengths(now.plus(DAY)).await;
        assert!(gone == 0 && kept > 0);
    }

    #[tokio::test]
    async fn one_round_deletes_all_batch_by_batch() {
        let fixture = Fixture::new().await;
        let shared = fixture.shared();
        let later = Some(shared.clock.now().plus(DAY));
        futures::future::join_all((0..BATCH + 50).map(|_| fixture.trigger(|run| run.not_before = later))).await;
        // All at the same moment, as when a job is archived.
        let stop = async || shared.store.stop_matching(RunFilter::default(), "test", shared.clock.now()).await.unwrap();
        while !stop().await.is_empty() {}
        fixture.clock.advance(DAY * 401);
        round(shared).await.unwrap();
        assert!(shared.store.runs(&RunFilter::default(), None, 1).await.unwrap().runs.is_empty());
    }

    #[tokio::test]
    async fn the_history_may_be_kept_for_ever() {
        let fixture = Fixture::keeping(HistoryLimits { runs: None, audit: None }).await;
        let shared = fixture.shared();
        let run = fixture.trigger(|_| {}).await;
        fixture.end(run).await;
        shared.store.audit(None, "tester", "job.apply", "a", shared.clock.now()).await.unwrap();
        fixture.clock.advance(DAY * 20_000);
        round(shared).await.unwrap();
        assert!(exists(shared, run).await);
        assert_eq!(shared.store.audit_log(None, None, 10).await.unwrap().len(), 1);
    }
}
