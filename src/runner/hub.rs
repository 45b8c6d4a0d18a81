//! Where changes of runs are told, so that nobody has to ask the database for them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;
use quick_cache::sync::Cache;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};

use crate::domain::{Run, RunId, Timestamp};

/// Runs kept in memory for status reads.
const CACHED: usize = 20_000;
/// How far a listener to all changes may fall behind before it is told that it missed some.
const BEHIND: usize = 1024;

/// Tells changes of runs, and remembers the latest.
#[derive(Debug)]
pub struct Hub {
    watched: Mutex<HashMap<RunId, watch::Sender<Option<Arc<CachedRun>>>>>,
    all: broadcast::Sender<Arc<CachedRun>>,
    cache: Cache<RunId, Arc<CachedRun>>,
    caches_live_runs: bool,
}

/// A run as it was at one moment, with room for its JSON form.
#[derive(Debug)]
pub struct CachedRun {
    /// The run.
    pub run: Run,
    /// Its JSON form, once somebody made it.
    pub body: OnceLock<Bytes>,
}

/// Listens to one run. Its place is given up when it is dropped.
#[derive(Debug)]
pub struct RunWatch<'h> {
    hub: &'h Hub,
    run: RunId,
    changes: watch::Receiver<Option<Arc<CachedRun>>>,
}

/// Waits until a run has ended, or may have.
pub async fn some_run_ended(changes: &mut broadcast::Receiver<Arc<CachedRun>>) {
    loop {
        match changes.recv().await {
            Ok(changed) if changed.run.life.phase.is_terminal() => return,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Hub {
    /// `caches_live_runs` must be false when other services change the same database.
    #[must_use]
    pub fn new(caches_live_runs: bool) -> Self {
        Self {
            watched: Mutex::default(),
            all: broadcast::channel(BEHIND).0,
            cache: Cache::new(CACHED),
            caches_live_runs,
        }
    }

    /// A run has changed. Call it after the commit. What is older than what is known is passed over: those who
    /// commit and those who tell are not always in the same order.
    pub fn publish(&self, run: Run) {
        let watched = self.lock();
        let Some(cached) = self.keep_newer(run) else { return };
        if let Some(sender) = watched.get(&cached.run.id) {
            sender.send_replace(Some(Arc::clone(&cached)));
        }
        drop(watched);
        let _ = self.all.send(cached);
    }

    /// Keeps a run that was read from the database; gives back the latest that is known of it.
    pub fn remember(&self, run: Run) -> Arc<CachedRun> {
        let _watched = self.lock();
        let id = run.id;
        let fresh = Arc::new(CachedRun { run: run.clone(), body: OnceLock::new() });
        self.keep_newer(run).or_else(|| self.cache.get(&id)).unwrap_or(fresh)
    }

    /// The run to tell of, unless a later state is known. Call it under the lock.
    fn keep_newer(&self, run: Run) -> Option<Arc<CachedRun>> {
        let known = self.cache.peek(&run.id);
        if known.is_some_and(|known| known.run.life.order() > run.life.order()) {
            return None;
        }
        let cached = Arc::new(CachedRun { run, body: OnceLock::new() });
        if cached.run.life.phase.is_terminal() || self.caches_live_runs {
            self.cache.insert(cached.run.id, Arc::clone(&cached));
        }
        Some(cached)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, watch::Sender<Option<Arc<CachedRun>>>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what is known of live runs is always the latest.
    #[must_use]
    pub const fn knows_all_changes(&self) -> bool {
        self.caches_live_runs
    }

    /// The latest that is known of a run without asking the database.
    #[must_use]
    pub fn latest(&self, run: RunId) -> Option<Arc<CachedRun>> {
        self.cache.get(&run)
    }

    /// Forgets runs that ended before a moment: they may have been deleted.
    pub fn forget_ended_before(&self, end: Timestamp) {
        self.cache.retain(|_, cached| cached.run.finished_at.is_none_or(|at| at >= end));
    }

    /// Listens to a run. Begin to listen before you read it, else a change in between is missed.
    #[must_use]
    pub fn watch(&self, run: RunId) -> RunWatch<'_> {
        let mut watched = self.lock();
        let changes = watched.entry(run).or_insert_with(|| watch::channel(None).0).subscribe();
        RunWatch { hub: self, run, changes }
    }

    /// Listens to all runs of all projects.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<CachedRun>> {
        self.all.subscribe()
    }
}

impl RunWatch<'_> {
    /// The next change.
    pub async fn changed(&mut self) -> Option<Arc<CachedRun>> {
        self.changes.changed().await.ok()?;
        self.changes.borrow_and_update().clone()
    }
}

impl Drop for RunWatch<'_> {
    fn drop(&mut self) {
        let mut watched = self.hub.lock();
        // This receiver is still counted.
        if watched.get(&self.run).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.run);
        }
    }
}
