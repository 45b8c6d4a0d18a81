//! What is told of each job's last run.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::metrics::counter::Counter;

use crate::domain::{JobId, Name, ProjectId, Run, Timestamp};

/// How many jobs are told of.
const MOST_JOBS: usize = 1000;
/// How many reported metrics of a job are told.
const MOST_REPORTED: usize = 20;

/// The last run of each job, since this service leads. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct LastRuns {
    jobs: Arc<Mutex<BTreeMap<JobId, LastRun>>>,
    pub(super) left_out: Counter,
}

/// A job's last run.
#[derive(Debug, Clone, PartialEq)]
pub struct LastRun {
    /// The project.
    pub project: ProjectId,
    /// The job's name.
    pub job: Name,
    /// When it ended.
    pub ended_at: Timestamp,
    /// Whether it ended well.
    pub succeeded: bool,
    /// How long it ran, in seconds; `None` when it never started.
    pub seconds: Option<f64>,
    /// What its script reported.
    pub reported: BTreeMap<String, f64>,
}

impl LastRuns {
    /// A run has ended.
    pub(super) fn ended(&self, run: &Run, succeeded: bool) {
        let Some(ended_at) = run.finished_at else { return };
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() >= MOST_JOBS && !jobs.contains_key(&run.job) {
            self.left_out.inc();
            return;
        }
        let reported: BTreeMap<_, _> = run.metrics.clone().into_iter().take(MOST_REPORTED).collect();
        self.left_out.inc_by(u64::try_from(run.metrics.len() - reported.len()).unwrap_or(u64::MAX));
        let seconds = run.started_at.map(|start| ended_at.since(start).as_secs_f64());
        let last = LastRun { project: run.project, job: run.job_name.clone(), ended_at, succeeded, seconds, reported };
        jobs.insert(run.job, last);
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<LastRun> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Clock as _, SystemClock};

    #[test]
    fn series_are_bounded_and_what_is_left_out_is_counted() {
        let (last, project, now) = (LastRuns::default(), ProjectId::generate(), SystemClock.now());
        let run = |job, metrics: usize| {
            let name = "job".parse().unwrap();
            let mut run = Run::fresh(project, job, name, 1, "sim".to_owned(), "test".to_owned(), now);
            run.finished_at = Some(now);
            run.metrics = (0..metrics).map(|n| (format!("m{n:03}"), 1.0)).collect();
            run
        };
        for _ in 0..MOST_JOBS {
            last.ended(&run(JobId::generate(), 0), true);
        }
        last.ended(&run(JobId::generate(), 0), true);
        let known = *last.jobs.lock().unwrap().keys().next().unwrap();
        last.ended(&run(known, MOST_REPORTED + 5), true);
        assert_eq!((last.all().len(), last.left_out.get()), (MOST_JOBS, 6));
    }
}
