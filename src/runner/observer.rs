//! Looks at an engine's workloads: woken by its events, and by a timer in case an event was missed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use tokio::{sync::Notify, time::Instant};

use super::engines::EngineEntry;
use crate::{
    domain::AttemptId,
    engines::{Change, Engine, Handle, Observation},
    latest::Latest,
};

/// How often everything is looked at, events or not.
const FULL_ROUND: Duration = Duration::from_secs(15);
/// How long after a launch it is looked at, should its event not come.
const FIRST_LOOK: Duration = Duration::from_millis(1500);
/// How many workloads are asked for at once.
const BATCH: usize = 500;

/// What is watched on one engine.
#[derive(Debug)]
pub(super) struct Observer {
    engine: Arc<dyn Engine>,
    watched: Mutex<HashMap<AttemptId, Watched>>,
    dirty: Mutex<HashSet<AttemptId>>,
    woken: Notify,
}

#[derive(Debug)]
struct Watched {
    handle: Option<Arc<Handle>>,
    seen: Arc<Latest<Option<Observation>>>,
    look_at: Option<Instant>,
}

/// Watches one workload; ends with its value.
#[derive(Debug)]
pub(super) struct Watch {
    observer: Arc<Observer>,
    attempt: AttemptId,
    pub(super) seen: Arc<Latest<Option<Observation>>>,
}

impl Observer {
    pub(super) fn new(engine: Arc<dyn Engine>) -> Self {
        Self { engine, watched: Mutex::default(), dirty: Mutex::default(), woken: Notify::new() }
    }

    /// Begins to listen for an attempt. Begin before the launch, so that its events cannot be missed.
    pub(super) fn watch(self: &Arc<Self>, attempt: AttemptId) -> Watch {
        let seen = Arc::<Latest<_>>::default();
        self.lock().insert(attempt, Watched { handle: None, seen: Arc::clone(&seen), look_at: None });
        Watch { observer: Arc::clone(self), attempt, seen }
    }

    pub(super) fn watched(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AttemptId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, attempts: impl IntoIterator<Item = AttemptId>) {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner).extend(attempts);
        self.woken.notify_one();
    }

    /// The marked attempts that can be looked at; the others stay marked.
    fn take_dirty(&self) -> Vec<Handle> {
        let watched = self.lock();
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        let mut handles = Vec::new();
        dirty.retain(|attempt| match watched.get(attempt) {
            Some(Watched { handle: Some(handle), .. }) if handles.len() < BATCH => {
                handles.push(Handle::clone(handle));
                false
            }
            Some(_) => true,
            None => false,
        });
        handles
    }

    fn everything(&self) -> Vec<AttemptId> {
        self.lock().keys().copied().collect()
    }

    /// Marks those whose first look is due; when the next one is.
    fn mark_due(&self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut due = Vec::new();
        for (attempt, watched) in self.lock().iter_mut() {
            match watched.look_at {
                Some(at) if at <= now => {
                    watched.look_at = None;
                    due.push(*attempt);
                }
                Some(at) => next = Some(next.map_or(at, |other| other.min(at))),
                None => {}
            }
        }
        if !due.is_empty() {
            self.mark(due);
        }
        next
    }

    async fn look(&self) {
        loop {
            let handles = self.take_dirty();
            if handles.is_empty() {
                return;
            }
            match self.engine.observe(&handles).await {
                Ok(mut seen) => {
                    let watched = self.lock();
                    for handle in &handles {
                        if let (Some(Ok(observation)), Some(watched)) =
                            (seen.remove(&handle.attempt), watched.get(&handle.attempt))
                        {
                            watched.seen.update(Some(observation));
                        }
                    }
                }
                Err(error) => {
                    // What is known stays as it is until the engine answers again; the next round asks for all.
                    tracing::debug!(error = &error as &dyn std::error::Error, "the engine could not be observed");
                    return;
                }
            }
        }
    }
}

impl Watch {
    /// The workload exists: it can be looked at.
    pub(super) fn launched(&self, handle: Arc<Handle>, look_now: bool) {
        if let Some(watched) = self.observer.lock().get_mut(&self.attempt) {
            watched.handle = Some(handle);
            watched.look_at = (!look_now).then(|| Instant::now() + FIRST_LOOK);
        }
        if look_now {
            self.look_again();
        } else {
            self.observer.woken.notify_one();
        }
    }

    /// Something may have changed.
    pub(super) fn look_again(&self) {
        self.observer.mark([self.attempt]);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.observer.lock().remove(&self.attempt);
    }
}

/// Observes one engine.
pub(super) async fn run(name: String, entry: EngineEntry) {
    tokio::join!(listen(&name, &entry), rounds(&entry));
}

/// Passes the engine's events on, and opens a new stream whenever one ends.
async fn listen(name: &str, entry: &EngineEntry) {
    let observer = &entry.observer;
    let mut pause = Duration::from_millis(100);
    loop {
        let mut changes = entry.engine.changes();
        let opened = Instant::now();
        while let Some(change) = changes.next().await {
            match change {
                Change::Workload(attempt) => observer.mark([attempt]),
                Change::Everything => observer.mark(observer.everything()),
            }
        }
        pause = if opened.elapsed() > Duration::from_secs(10) { Duration::from_millis(100) } else { pause * 2 };
        pause = pause.min(Duration::from_secs(10));
        tracing::debug!(engine = name, "the stream of events ended; another is opened");
        tokio::time::sleep(pause).await;
        observer.mark(observer.everything());
    }
}

async fn rounds(entry: &EngineEntry) {
    let observer = &entry.observer;
    let mut next_round = Instant::now() + FULL_ROUND;
    loop {
        let now = Instant::now();
        if now >= next_round {
            next_round = now + FULL_ROUND;
            observer.mark(observer.everything());
        }
        let due = observer.mark_due(now);
        observer.look().await;
        let until = due.map_or(next_round, |due| due.min(next_round));
        tokio::select! {
            () = observer.woken.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}
