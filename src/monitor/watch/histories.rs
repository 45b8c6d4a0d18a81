//! What is usual for each job, remembered for a while.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use quick_cache::sync::Cache;

use crate::{
    domain::{JobId, NotifySpec, ProjectId, Timestamp},
    monitor::History,
    store::{Store, StoreError},
};

/// How many jobs are remembered.
const MOST: usize = 1000;
/// For how long.
const FRESH: Duration = Duration::from_secs(60);

/// What is usual for each job.
#[derive(Debug)]
pub(super) struct Histories(Cache<JobId, Arc<Known>>);

/// What is known of a job.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) history: History,
    pub(super) notify: NotifySpec,
    /// Whether it starts runs by itself.
    pub(super) scheduled: bool,
    pub(super) enabled: bool,
    read_at: Timestamp,
    /// How many runs have ended since.
    since: std::sync::atomic::AtomicUsize,
}

impl Default for Histories {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl Histories {
    /// Whether what is known of a job is to be read again.
    pub(super) fn is_stale(&self, job: JobId, now: Timestamp) -> bool {
        self.0.peek(&job).is_none_or(|known| !known.is_fresh(now))
    }

    /// What is known of a job, at most a minute or a twentieth of its runs old. `None` when it is gone.
    pub(super) async fn of(
        &self,
        store: &Store,
        project: ProjectId,
        job: JobId,
        now: Timestamp,
    ) -> Result<Option<Arc<Known>>, StoreError> {
        if let Some(known) = self.0.get(&job)
            && known.is_fresh(now)
        {
            return Ok(Some(known));
        }
        let Some((_, revision, _)) = store.job(project, job).await? else { return Ok(None) };
        let spec = revision.spec;
        let zone = spec.schedule.as_ref().and_then(|schedule| TimeZone::get(&schedule.timezone).ok());
        let history = History::of(&store.samples(job).await?, &zone.unwrap_or(TimeZone::UTC));
        let (scheduled, since) = (spec.schedule.is_some(), Default::default());
        let known = Known { history, notify: spec.notify, scheduled, enabled: spec.enabled, read_at: now, since };
        let known = Arc::new(known);
        self.0.insert(job, Arc::clone(&known));
        Ok(Some(known))
    }
}

impl Known {
    fn is_fresh(&self, now: Timestamp) -> bool {
        let since = self.since.load(std::sync::atomic::Ordering::Relaxed);
        now.since(self.read_at) < FRESH && since <= self.history.samples / 20
    }

    /// One more run of it has ended.
    pub(super) fn ended(&self) {
        self.since.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}
