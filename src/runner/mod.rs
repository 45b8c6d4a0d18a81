//! The reconcilers: from a run in the queue to its stored answer.
//!
//! - `queue` hands out slots whenever something may have changed, and ends what waited too long;
//! - `schedules` starts runs whose time has come;
//! - `drive` brings one attempt from its stored intent to a workload that runs, `follow` to its end, which `conclude`
//!   stores;
//! - `observer` looks at an engine's workloads, woken by the engine's events and by a timer;
//! - `sweep` removes what is left on the engines, `lease` cancels what nobody asks for any more, `retention` deletes
//!   old logs, `history` old runs and audit entries;
//! - `lead` lets one service do all this where several share a database.
//!
//! All of it is level-triggered: what to do follows from what is stored and observed, never from a message that could
//! be lost. A service that is killed anywhere and started again goes on from there.

mod collector;
mod conclude;
mod drive;
mod end;
mod engines;
#[cfg(test)]
mod fixture;
mod follow;
mod history;
mod hub;
mod launch;
mod lead;
mod lease;
mod observer;
mod queue;
mod retention;
mod schedules;
mod sweep;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use engines::{EngineEntry, EngineStatus, Engines};
pub use history::HistoryLimits;
pub use hub::{CachedRun, Hub, RunWatch, some_run_ended};

use crate::{
    domain::{AttemptId, Clock, RunId, StopCause, WaitReason},
    logs::LogStore,
    metrics::RunMetrics,
    store::{Admitted, LiveAttempt, Stopped, Store, StoreError},
    telemetry::Tracer,
    vault::ProjectKeys,
};

/// Launches and watches runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Runner(Arc<Shared>);

/// What all reconcilers share.
#[derive(Debug)]
struct Shared {
    store: Store,
    engines: Engines,
    keys: ProjectKeys,
    logs: LogStore,
    history: HistoryLimits,
    hub: Hub,
    clock: Arc<dyn Clock>,
    /// Attempts that have a task of their own.
    driven: Mutex<HashMap<RunId, Driven>>,
    /// Something may be admitted.
    queue_changed: Notify,
    /// A job's schedule may be due earlier.
    schedules_changed: Notify,
    leases: lease::Leases,
    metrics: RunMetrics,
    tracer: Tracer,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    /// While this service leads.
    term: Mutex<Option<Arc<Term>>>,
}

/// A time for which this service leads.
#[derive(Debug, Default)]
struct Term {
    end: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Debug)]
struct Driven {
    attempt: u32,
    stop: CancellationToken,
    waits: Option<(WaitReason, String)>,
}

impl Runner {
    /// A runner that does nothing yet.
    #[must_use]
    pub fn new(
        store: Store,
        engines: Engines,
        keys: ProjectKeys,
        logs: LogStore,
        history: HistoryLimits,
        clock: Arc<dyn Clock>,
        tracer: Tracer,
    ) -> Self {
        let caches_live_runs = !store.is_shared();
        Self(Arc::new(Shared {
            store,
            engines,
            keys,
            logs,
            history,
            hub: Hub::new(caches_live_runs),
            clock,
            driven: Mutex::default(),
            queue_changed: Notify::new(),
            schedules_changed: Notify::new(),
            leases: lease::Leases::default(),
            metrics: RunMetrics::default(),
            tracer,
            shutdown: CancellationToken::new(),
            tasks: TaskTracker::new(),
            term: Mutex::default(),
        }))
    }

    /// Begins to work: takes up what a service before this one left, as soon as no other leads.
    pub fn start(&self) {
        self.0.tasks.spawn(lead::run(Arc::clone(&self.0)));
        let shared = Arc::clone(&self.0);
        self.0.tasks.spawn(async move { shared.logs.put_away(shared.shutdown.clone()).await });
        if self.0.store.is_shared() {
            self.0.tasks.spawn(history::follow(Arc::clone(&self.0)));
        }
    }

    /// Where changes of runs are told.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.0.hub
    }

    /// What is counted and timed of runs.
    #[must_use]
    pub fn metrics(&self) -> &RunMetrics {
        &self.0.metrics
    }

    /// Whether this service launches and watches runs.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.0.term().is_some()
    }

    /// The engines.
    #[must_use]
    pub fn engines(&self) -> &Engines {
        &self.0.engines
    }

    /// Launches what was admitted in a caller's transaction, and looks whether more can be.
    pub fn launch(&self, admitted: Vec<Admitted>) {
        self.0.launch(admitted);
    }

    /// Something that admission depends on has changed.
    pub fn queue_changed(&self) {
        self.0.queue_changed.notify_one();
    }

    /// A job has another specification.
    pub fn job_changed(&self) {
        self.queue_changed();
        self.0.schedules_changed.notify_one();
    }

    /// Carries out what was stored: ends the workloads of these runs, tells the world.
    pub fn stopped(&self, stopped: &[Stopped]) {
        self.0.stopped(stopped);
    }

    /// Somebody asked for this run: its lease begins anew.
    pub fn renew_lease(&self, run: RunId) {
        self.0.leases.renew(run, self.0.clock.now());
    }

    /// What an active run waits for, if it does.
    #[must_use]
    pub fn waits_for(&self, run: RunId) -> Option<(WaitReason, String)> {
        let driven = self.0.lock_driven();
        driven.get(&run).and_then(|driven| driven.waits.clone())
    }

    /// Ends the work, leaving all containers as they are: the next service takes them up.
    pub async fn shutdown(&self) {
        self.0.shutdown.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(Duration::from_secs(5), self.0.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time; what they did is taken up at the next start");
        }
    }
}

impl Shared {
    /// The present term, if this service leads.
    fn term(&self) -> Option<Arc<Term>> {
        self.term.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives an attempt a task of its own, unless it has one. Where another service leads, that one does.
    fn drive(self: &Arc<Self>, attempt: AttemptId, engine: &str, stop: bool) {
        let Some(term) = self.term() else { return };
        let token = CancellationToken::new();
        if stop {
            token.cancel();
        }
        {
            let mut driven = self.lock_driven();
            if let Some(other) = driven.get(&attempt.run)
                && other.attempt >= attempt.number
            {
                if stop {
                    other.stop.cancel();
                }
                return;
            }
            driven.insert(attempt.run, Driven { attempt: attempt.number, stop: token.clone(), waits: None });
        }
        let (shared, engine, end) = (Arc::clone(self), engine.to_owned(), term.end.clone());
        term.tasks.spawn(async move {
            tokio::select! {
                () = drive::run(&shared, attempt, &engine, token) => {}
                () = end.cancelled() => {}
            }
            shared.forget(attempt);
        });
    }

    fn launch(self: &Arc<Self>, admitted: Vec<Admitted>) {
        for one in admitted {
            self.drive(one.attempt, &one.engine, false);
        }
    }

    /// Gives a task to each live attempt that has none, and stops those that are to end.
    async fn take_up(self: &Arc<Self>) -> Result<(), StoreError> {
        let to_do = |live: &LiveAttempt| live.stop || !self.is_driven(live.id);
        for live in self.store.live_attempts(to_do).await? {
            self.drive(live.id, &live.engine, live.stop);
        }
        Ok(())
    }

    fn lock_driven(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Driven>> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, attempt: AttemptId) {
        let mut driven = self.lock_driven();
        if driven.get(&attempt.run).is_some_and(|driven| driven.attempt == attempt.number) {
            driven.remove(&attempt.run);
        }
    }

    fn set_waits(&self, attempt: AttemptId, waits: Option<(WaitReason, String)>) {
        let mut driven = self.lock_driven();
        if let Some(driven) = driven.get_mut(&attempt.run)
            && driven.attempt == attempt.number
        {
            driven.waits = waits;
        }
    }

    fn is_driven(&self, attempt: AttemptId) -> bool {
        let driven = self.lock_driven();
        driven.get(&attempt.run).is_some_and(|driven| driven.attempt == attempt.number)
    }

    fn stopped(&self, stopped: &[Stopped]) {
        for one in stopped {
            if one.run.life.stop.is_some() && !one.run.life.phase.is_terminal() {
                let driven = self.lock_driven();
                if let Some(driven) = driven.get(&one.run.id) {
                    driven.stop.cancel();
                }
            }
            if one.run.life.stop == Some(StopCause::Abandoned) {
                tracing::warn!(run = %one.run.id, job = %one.run.job_name, "nobody asked for the run, so it was cancelled");
            }
            if one.ended {
                self.metrics.ended(&one.run);
            }
            self.hub.publish(one.run.clone());
        }
        if !stopped.is_empty() {
            self.queue_changed.notify_one();
        }
    }
}
