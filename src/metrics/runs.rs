//! Runs and launches.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use super::LastRuns;
use crate::domain::{Attempt, Run, RunState, Timestamp};

const WAITS: [f64; 12] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0, 3600.0];
const DURATIONS: [f64; 13] = [0.1, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 86_400.0];

/// What is counted and timed of runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RunMetrics {
    pub(super) triggered: Family<By, Counter>,
    pub(super) ended: Family<End, Counter>,
    pub(super) deleted: Counter,
    pub(super) queue: Histogram,
    pub(super) start: Histogram,
    pub(super) duration: Family<State, Histogram>,
    pub(super) launching: Gauge,
    pub(super) log_bytes: Counter,
    pub(super) last: LastRuns,
    rounds: Arc<Mutex<BTreeMap<&'static str, Timestamp>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct By {
    by: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct End {
    state: &'static str,
    error: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct State {
    state: &'static str,
}

impl Default for RunMetrics {
    fn default() -> Self {
        Self {
            triggered: Family::default(),
            ended: Family::default(),
            deleted: Counter::default(),
            queue: Histogram::new(WAITS),
            start: Histogram::new(WAITS),
            duration: Family::new_with_constructor((|| Histogram::new(DURATIONS)) as fn() -> Histogram),
            launching: Gauge::default(),
            log_bytes: Counter::default(),
            last: LastRuns::default(),
            rounds: Arc::default(),
        }
    }
}

impl RunMetrics {
    /// A run was made, by a request or by a schedule.
    pub fn triggered(&self, by_schedule: bool) {
        self.triggered.get_or_create(&By { by: if by_schedule { "schedule" } else { "request" } }).inc();
    }

    /// A run got its slots after it had waited in the queue.
    pub fn admitted(&self, run: &Run, attempt: &Attempt) {
        self.queue.observe(attempt.created_at.since(run.queued_at).as_secs_f64());
    }

    /// A launch begins; it is under way until the answer is dropped.
    #[must_use]
    pub fn launching(&self) -> Launching {
        self.launching.inc();
        Launching(self.launching.clone())
    }

    /// The container runs.
    pub fn started(&self, attempt: &Attempt, at: Timestamp) {
        self.start.observe(at.since(attempt.created_at).as_secs_f64());
    }

    /// A run has ended.
    pub fn ended(&self, run: &Run) {
        let state = run.life.state();
        let error = run.error.as_ref().map_or("", |error| error.code.as_str());
        self.ended.get_or_create(&End { state: state.as_str(), error }).inc();
        if let (Some(start), Some(end)) = (run.started_at, run.finished_at) {
            let histogram = self.duration.get_or_create(&State { state: state.as_str() });
            histogram.observe(end.since(start).as_secs_f64());
        }
        self.log_bytes.inc_by(run.log.bytes);
        self.last.ended(run, state == RunState::Succeeded);
    }

    /// So many runs were deleted, because their time was over.
    pub fn deleted(&self, runs: u64) {
        self.deleted.inc_by(runs);
    }

    /// A reconciler has done a round.
    pub fn round_done(&self, reconciler: &'static str, now: Timestamp) {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner).insert(reconciler, now);
    }

    /// How long ago each reconciler did its last round.
    #[must_use]
    pub fn lags(&self, now: Timestamp) -> Vec<(&'static str, Duration)> {
        let rounds = self.rounds.lock().unwrap_or_else(PoisonError::into_inner);
        rounds.iter().map(|(reconciler, at)| (*reconciler, now.since(*at))).collect()
    }

    /// The last run of each job.
    #[must_use]
    pub const fn last_runs(&self) -> &LastRuns {
        &self.last
    }
}

/// A launch under way.
#[derive(Debug)]
pub struct Launching(Gauge);

impl Drop for Launching {
    fn drop(&mut self) {
        self.0.dec();
    }
}
