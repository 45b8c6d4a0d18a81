//! Where changes of runs are told, so that nobody has to ask the database for them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use quick_cache::sync::Cache;
use tokio::sync::{broadcast, watch};

use crate::domain::{Run, RunId};

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

    /// A run has changed. Call it after the commit.
    pub fn publish(&self, run: Run) {
        let cached = self.remember(run);
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = watched.get(&cached.run.id) {
            sender.send_replace(Some(Arc::clone(&cached)));
        }
        drop(watched);
        let _ = self.all.send(cached);
    }

    /// Keeps a run that was read from the database, unless a later state of it is known.
    pub fn remember(&self, run: Run) -> Arc<CachedRun> {
        let cached = Arc::new(CachedRun { run, body: OnceLock::new() });
        if cached.run.life.phase.is_terminal() || self.caches_live_runs {
            self.cache.insert(cached.run.id, Arc::clone(&cached));
        }
        cached
    }

    /// The latest that is known of a run without asking the database.
    #[must_use]
    pub fn latest(&self, run: RunId) -> Option<Arc<CachedRun>> {
        self.cache.get(&run)
    }

    /// Listens to a run. Begin to listen before you read it, else a change in between is missed.
    #[must_use]
    pub fn watch(&self, run: RunId) -> RunWatch<'_> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut watched = self.hub.watched.lock().unwrap_or_else(PoisonError::into_inner);
        // This receiver is still counted.
        if watched.get(&self.run).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.run);
        }
    }
}
